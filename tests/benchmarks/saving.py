"""How long a save keeps the loop waiting, and how long it is written in the background.

    python tests/benchmarks/saving.py --size base    # 12 x 768, V 28,996: 1.3 GB
    python tests/benchmarks/saving.py --size large   # 24 x 1024: 4 GB

The state of a pretraining, parameters and moments, is saved as the loop does it, again and again.
One JSON line a save: `stall_seconds` until the loop goes on, `written_seconds` until the checkpoint
is complete. The first one opens what the others find open.
"""

import argparse
import dataclasses
import json
import tempfile
import time

SIZES = ("base", "large")


def measure(size: str, *, folder: str, num_saves: int) -> None:
    import jax

    from spanbert_jax.config import ModelConfig, PretrainConfig
    from spanbert_jax.training.checkpoint import Checkpoints, DataPosition
    from spanbert_jax.training.mesh import make_mesh
    from spanbert_jax.training.pretraining import build

    sizes = {
        "base": ModelConfig(vocab_size=28_996),
        "large": ModelConfig(
            vocab_size=28_996, hidden_size=1_024, num_layers=24, num_heads=16, mlp_size=4_096
        ),
    }
    config = dataclasses.replace(PretrainConfig(workdir=folder), model=sizes[size])
    mesh = make_mesh(config.mesh)
    with jax.set_mesh(mesh), Checkpoints(folder, config, tokenizer_fingerprint="") as checkpoints:
        state = jax.block_until_ready(build(config, mesh).init())
        num_bytes = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
        for step in range(1, num_saves + 1):
            start = time.perf_counter()
            checkpoints.save(step, state, position=DataPosition(step), score=None)
            stalled = time.perf_counter()
            checkpoints.wait()
            row = {
                "benchmark": "saving", "size": size, "gigabytes": round(num_bytes / 1e9, 2),
                "save": step, "stall_seconds": round(stalled - start, 3),
                "written_seconds": round(time.perf_counter() - start, 3),
            }  # fmt: skip
            print(json.dumps(row), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", choices=SIZES, default="base")
    parser.add_argument("--saves", type=int, default=5)
    parser.add_argument("--folder", help="where to write; a temporary folder if left out")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        measure(args.size, folder=args.folder or temporary, num_saves=args.saves)


if __name__ == "__main__":
    main()
