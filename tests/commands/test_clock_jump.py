"""A clock that jumps under a run changes nothing of it."""

import json
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np

from spanbert_jax.training.saved_run import load_run

# A clock that is set forth by a day after the first step, and back while checkpoints are written.
JUMPING = """
import sys, time
from spanbert_jax.__main__ import main
from spanbert_jax.training.meter import Meter
true, add, ahead = time.time, Meter.add, 0
def add_and_jump(meter, step, metrics):
    global ahead
    add(meter, step, metrics)
    ahead = 86_400 if 1 <= step < 13 else 0
Meter.add = add_and_jump
time.time = lambda: true() + ahead
sys.exit(main(sys.argv[1:]))
"""
FLAGS = (
    "--training.num-steps", "20", "--training.eval-every", "10", "--checkpoint.every-steps", "5",
)  # fmt: skip


def test_a_clock_that_jumps_changes_neither_parameters_nor_what_time_was_spent_on(
    tiny: Path, finished: object, tmp_path: Path
) -> None:
    for name, program in (("steady", ["-m", "spanbert_jax"]), ("jumping", ["-c", JUMPING])):
        run = ["pretrain", f"{tiny}/tiny.py:tiny", "--workdir", name, *FLAGS]
        shards = ["--prepare.source", "--data.shards", f"{tiny}/shards"]
        subprocess.run(
            [sys.executable, *program, *run, *shards], check=True, capture_output=True,
            cwd=tmp_path, timeout=300,
        )  # fmt: skip
    steady, jumping = (load_run(tmp_path / name).params for name in ("steady", "jumping"))
    jax.tree.map(np.testing.assert_array_equal, jumping, steady)
    kept = json.loads((tmp_path / "jumping" / "goodput.json").read_text())
    assert sum(kept["seconds"].values()) < 3_600
    lines = (tmp_path / "jumping" / "metrics.jsonl").read_text().splitlines()
    times = [json.loads(line)["time"] for line in lines]
    assert max(times) - times[-1] > 80_000, "the clock did jump"
