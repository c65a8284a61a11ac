"""A clock that jumps, data that are slow, a pipe that nobody reads: they change nothing of a run.

Real runs, each beside the same one that nothing disturbs.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

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
# Every batch comes a tenth of a second after the loop has begun to wait for it.
SLOW = """
import contextlib, sys, threading, time
from spanbert_jax.__main__ import main
from spanbert_jax.commands.run_data import RunData
from spanbert_jax.training.meter import Meter
asked, batches, waiting = threading.Semaphore(0), RunData.batches, Meter.waiting_for_data
@contextlib.contextmanager
def waiting_and_asking(meter):
    with waiting(meter):
        asked.release()
        yield
def slowly(data):
    for batch in batches(data):
        asked.acquire()
        time.sleep(0.1)
        yield batch
RunData.batches, Meter.waiting_for_data = slowly, waiting_and_asking
sys.exit(main(sys.argv[1:]))
"""
NUM_STEPS, TOKENS_OF_STEP = 20, 8 * 32
FLAGS = (
    "--training.num-steps", f"{NUM_STEPS}", "--training.eval-every", "10",
    "--checkpoint.every-steps", "5",
)  # fmt: skip
Train = Callable[..., Path]


@pytest.fixture(scope="module")
def train(tiny: Path, finished: object, tmp_path_factory: pytest.TempPathFactory) -> Train:
    """train("name", "-c", program): the folder of a run of the program that began with nothing."""
    folder = tmp_path_factory.mktemp("disturbed")

    def run(name: str, *program: str, output: int = subprocess.DEVNULL) -> Path:
        command = [*program, "pretrain", f"{tiny}/tiny.py:tiny", "--workdir", name, *FLAGS]
        shards = ["--prepare.source", "--data.shards", f"{tiny}/shards"]
        subprocess.run(
            [sys.executable, *command, *shards], check=True, cwd=folder, timeout=300,
            stdout=output, stderr=output,
            # Where it is set, nothing waits in a buffer at the end.
            env=os.environ | {"PYTHONUNBUFFERED": ""},
        )  # fmt: skip
        return folder / name

    return run


@pytest.fixture(scope="module")
def steady(train: Train) -> Any:
    """The last parameters of a run that nothing disturbs."""
    return load_run(train("steady", "-m", "spanbert_jax")).params


def assert_same(run: Path, steady: Any) -> None:
    found = load_run(run)
    assert found.step == NUM_STEPS
    jax.tree.map(np.testing.assert_array_equal, found.params, steady)


def lines_of(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def spent_by(run: Path) -> dict[str, float]:
    return json.loads((run / "goodput.json").read_text())["seconds"]


def test_a_clock_that_jumps_changes_neither_parameters_nor_what_time_was_spent_on(
    train: Train, steady: Any
) -> None:
    jumping = train("jumping", "-c", JUMPING)
    assert_same(jumping, steady)
    assert sum(spent_by(jumping).values()) < 3_600
    times = [line["time"] for line in lines_of(jumping)]
    assert max(times) - times[-1] > 80_000, "the clock did jump"


def test_data_that_come_slowly_change_no_parameter_and_the_wait_for_them_is_told(
    train: Train, steady: Any
) -> None:
    slow = train("slow", "-c", SLOW)
    assert_same(slow, steady)
    assert spent_by(slow)["waiting for data"] >= 0.1 * NUM_STEPS
    windows = [line for line in lines_of(slow) if "data_wait" in line]
    assert len(windows) == NUM_STEPS // 2
    # Of each its share by its length; together, since steps are on the devices where one ends.
    waited = (
        line["data_wait"] * 2 * TOKENS_OF_STEP / line["tokens_per_second"] for line in windows
    )
    # A thousandth is left to rounding.
    assert sum(waited) > 0.1 * NUM_STEPS * 0.999


def test_output_that_nobody_reads_changes_no_parameter_and_the_run_ends(
    train: Train, steady: Any, unread_pipe: int
) -> None:
    """The pipe is full from the first word on, of stdout and stderr alike."""
    unread = train("unread", "-m", "spanbert_jax", output=unread_pipe)
    assert_same(unread, steady)
    assert [line["step"] for line in lines_of(unread)][-1] == NUM_STEPS
