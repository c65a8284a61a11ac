"""Seconds from the start of the program to its first step, new and going on, cold and with a cache.

    python tests/benchmarks/restarting.py --shards DIR

A run of the quickstart's model is started, stopped after its first steps and started again, each
time by a process of its own: without JAX's persistent compilation cache, with an empty one, and
with the one that the start before has filled. One JSON line a start.
"""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "quickstart.py"
FLAGS = (
    "--prepare.source", "--fill", "--training.num-steps", "100000", "--training.log-every", "1",
    "--training.eval-every", "100000",
)  # fmt: skip


def seconds_to_step(shards: str, workdir: str, cache: str) -> float:
    """Start the run, stop it after its first step, wait until it has saved."""
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "spanbert_jax", "pretrain", str(CONFIG), "--data.shards", shards,
         "--workdir", workdir, "--compute.compilation-cache", cache, *FLAGS],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("step "):
            break
    else:
        sys.exit("the run ended before its first step")
    seconds = time.perf_counter() - start
    process.send_signal(signal.SIGTERM)
    process.communicate()
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--shards", required=True, help="of `spanbert prepare`")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for what, cache in (("none", ""), ("empty", "cache"), ("filled", "cache")):
            where = str(Path(folder) / cache) if cache else ""
            for run in ("new", "going on"):
                workdir = str(Path(folder) / what)
                seconds = seconds_to_step(args.shards, workdir, where)
                # The second start with an empty cache finds what the first one compiled.
                found = "filled" if (what, run) == ("empty", "going on") else what
                row = {"benchmark": "restarting", "run": run, "cache": found}
                print(json.dumps(row | {"seconds": round(seconds, 1)}), flush=True)


if __name__ == "__main__":
    main()
