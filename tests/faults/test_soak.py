"""A run that is killed again and again, also while it saves, ends as one that nobody touched.

SPANBERT_KILLS says how often (3 in continuous integration; 20 and more before a release):
`SPANBERT_KILLS=20 pytest -s -m soak`, which also says where the kills met it.
"""

import os
import random
import re
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest

from spanbert_jax.training.checkpoint import checkpoint_folder, saved_steps
from spanbert_jax.training.saved_run import load_run

Start = Callable[..., Any]
NUM_KILLS = int(os.environ.get("SPANBERT_KILLS", "3"))
# Saved so often that a moment at random is as good as any to be in the middle of it.
FLAGS = (
    "--training.num-steps", "60", "--training.eval-every", "30", "--checkpoint.every-steps", "3",
)  # fmt: skip
FIRST_STEP = r"\nstep \d+/60 |done: "
# The last line that a run says before it restores, and then compiles.
OPENED = r"\nrun: "


class Moment(NamedTuple):
    """When a start is killed: up to `seconds` after it says `word`, or once it saves after that."""

    word: str
    seconds: float
    while_saving: bool = False


class Kill(NamedTuple):
    """Where it met the run."""

    at: str
    left_half_written: bool


def half_written(folder: Path) -> set[tuple[str, int]]:
    """Checkpoints that are not complete: their names, and what makes another one of that name."""
    checkpoints = checkpoint_folder(folder)
    if not checkpoints.exists():
        return set()
    return {(entry.name, entry.inode()) for entry in os.scandir(checkpoints) if "tmp" in entry.name}


def kill_at(moment: Moment, start: Start, folder: Path, rng: random.Random) -> Kill | None:
    """Go on with the run and kill it; None where it was over before."""
    left_before = half_written(folder)
    pod = start(1, 1, "--workdir", folder.name, *FLAGS)
    pod.wait_for(moment.word)
    end = time.monotonic() + rng.uniform(0.0, moment.seconds)
    while time.monotonic() < end or (
        moment.while_saving and not half_written(folder) - left_before
    ):
        if pod.process.poll() is not None:
            assert pod.process.returncode == 0, pod.said
            return None
        time.sleep(0.002)
    os.kill(pod.pids[0], signal.SIGKILL)
    assert pod.wait() == 128 + signal.SIGKILL, pod.said
    at = "starting" if not re.search(OPENED, pod.said) else "restoring or compiling"
    if re.search(FIRST_STEP, pod.said):
        at = "training"
    return Kill(at, bool(half_written(folder) - left_before))


@pytest.mark.soak
def test_a_run_that_is_killed_at_random_moments_ends_bit_for_bit_as_an_undisturbed_one(
    start: Start, small: Path
) -> None:
    begun = time.monotonic()
    undisturbed = start(1, 1, "--workdir", "undisturbed", *FLAGS)
    undisturbed.wait_for(OPENED)
    moments = (
        Moment(FIRST_STEP, 1.0),
        Moment(FIRST_STEP, 1.0, while_saving=True),
        Moment(OPENED, 1.0),
        # From the first instruction of the program to about here.
        Moment("pids: ", time.monotonic() - begun),
    )
    assert undisturbed.wait() == 0, undisturbed.said
    rng, folder = random.Random(0), small / "soaked"
    kills: list[Kill] = []
    while len(kills) < NUM_KILLS:
        kill = kill_at(moments[len(kills) % len(moments)], start, folder, rng)
        if kill is None:
            # Over before it was killed: once more from the beginning, with as many kills to go.
            folder.rename(small / f"over_{len(kills)}_{rng.random()}")
        else:
            kills.append(kill)
    last = start(1, 1, "--workdir", "soaked", *FLAGS)
    assert last.wait() == 0, last.said

    num_half_written = sum(kill.left_half_written for kill in kills)
    print(f"{NUM_KILLS} kills: {dict(Counter(kill.at for kill in kills))}")
    print(f"checkpoints that they left half written: {num_half_written}")
    if NUM_KILLS >= 10:
        # A save that was seen may be over before it is cut off, but not every one of them.
        assert num_half_written > 0
        assert any(kill.at != "training" for kill in kills)
    assert saved_steps(folder)[-1] == saved_steps(small / "undisturbed")[-1] == 60
    found, expected = load_run(folder, step=60), load_run(small / "undisturbed", step=60)
    for (path, one), other in zip(
        jax.tree_util.tree_leaves_with_path(found.params),
        jax.tree.leaves(expected.params),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other, err_msg=jax.tree_util.keystr(path))
    assert not half_written(folder), "what a kill left half written is cleaned away"
