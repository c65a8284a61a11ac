"""A clock that jumps under a run changes nothing of it."""

import json
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np

from spanbert_jax.training.saved_run import load_run

# A clock that is set forth by a day at every tenth look, and back at the next one.
JUMPING = """
import itertools, sys, time
true, looks = time.time, itertools.count()
time.time = lambda: true() + (86_400 if next(looks) % 20 > 9 else 0)
from spanbert_jax.__main__ import main
sys.exit(main(sys.argv[1:]))
"""
FLAGS = (
    "--training.num-steps",
    "20",
    "--training.eval-every",
    "10",
    "--checkpoint.every-steps",
    "5",
)


def test_a_clock_that_jumps_changes_neither_parameters_nor_what_time_was_spent_on(
    tiny: Path, finished: object, tmp_path: Path
) -> None:
    for name, program in (("steady", ["-m", "spanbert_jax"]), ("jumping", ["-c", JUMPING])):
        run = ["pretrain", f"{tiny}/tiny.py:tiny", "--workdir", name, *FLAGS]
        shards = ["--prepare.source", "--data.shards", f"{tiny}/shards"]
        subprocess.run(
            [sys.executable, *program, *run, *shards], check=True, capture_output=True, cwd=tmp_path
        )
    steady, jumping = (load_run(tmp_path / name).params for name in ("steady", "jumping"))
    jax.tree.map(np.testing.assert_array_equal, jumping, steady)
    kept = json.loads((tmp_path / "jumping" / "goodput.json").read_text())
    assert sum(kept["seconds"].values()) < 3_600
