"""Training curves of small models that differ in one thing, at equal data, steps and parameters.

    spanbert prepare --source 'text:/data/*.txt' --vocab-size 4000 --held-out 0.02 --out SHARDS
    python tests/benchmarks/curves.py --shards SHARDS --workdir RUNS

The faithful blocks with dropout as published, without it in attention (what `spanbert_base_fast`
changes), without any; and the modern blocks, which have none, so that blocks are compared with
blocks. All have 4 layers of width 128, the same optimizer, and see the same rows and masks. One
JSON line a model at the end: parameters, and held-out losses by step; curves and all else are in
the folders of the runs, which go on where they were stopped.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import jax

import spanbert_jax

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "quickstart.py"
COMMON = (
    "--prepare.source", "--fill", "--data.blocks", "packed", "--data.batch-size", "16",
    "--model.num-layers", "4", "--model.hidden-size", "128", "--optimizer.warmup-steps", "200",
    "--training.log-every", "100", "--training.eval-every", "250", "--training.eval-batches", "32",
    "--checkpoint.every-steps", "500",
)  # fmt: skip
NO_DROPOUT = ("--model.dropout-rate", "0", "--model.attention-dropout-rate", "0")
MODELS = {
    "spanbert": ("--model.mlp-size", "512"),
    "spanbert_fast": ("--model.mlp-size", "512", "--model.attention-dropout-rate", "0"),
    "spanbert_no_dropout": ("--model.mlp-size", "512", *NO_DROPOUT),
    # Three matrices where the faithful blocks have two: 3 x 344 = 2 x 512, and no biases.
    "modern_spanbert": (
        "--model.mlp-size", "344", "--model.encoder", "modern", "--model.num-segments", "0",
        "--model.layer-norm-epsilon", "1e-5", *NO_DROPOUT,
    ),
}  # fmt: skip
LOSSES = ("held_out_mlm_loss", "held_out_sbo_loss")


def train(name: str, shards: str, workdir: Path, *, steps: int, seed: int) -> None:
    """What a run says goes to the same place as what this program says."""
    command = [
        sys.executable, "-m", "spanbert_jax", "pretrain", str(CONFIG), "--data.shards", shards,
        "--workdir", str(workdir), "--training.num-steps", str(steps),
        "--training.seed", str(seed), *COMMON, *MODELS[name],
    ]  # fmt: skip
    subprocess.run(command, check=True)


def result(name: str, workdir: Path, seed: int) -> dict[str, object]:
    """Parameters of the model, and its held-out losses."""
    rows = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
    curve = {
        row["step"]: [round(row[loss], 3) for loss in LOSSES] for row in rows if LOSSES[0] in row
    }
    params = jax.tree.leaves(spanbert_jax.load(str(workdir)).params)
    num_parameters = sum(array.size for array in params)
    about = {"benchmark": "curves", "model": name, "seed": seed, "parameters": num_parameters}
    return about | {"losses": "held-out MLM and SBO, nats, by step", "curve": curve}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--shards", required=True, help="of `spanbert prepare`")
    parser.add_argument("--workdir", required=True, type=Path, help="a run's folder for each model")
    parser.add_argument("--steps", type=int, default=1_500)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    args = parser.parse_args()
    for seed in args.seeds:
        for name in args.models:
            workdir = args.workdir / f"{name}_{seed}"
            train(name, args.shards, workdir, steps=args.steps, seed=seed)
            print(json.dumps(result(name, workdir, seed)), flush=True)


if __name__ == "__main__":
    main()
