"""A run that is killed again and again, also while it saves, ends as one that nobody touched.

SPANBERT_KILLS says how often (3 in continuous integration; 20 and more before a release):
`SPANBERT_KILLS=20 pytest -m soak`.
"""

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

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


def is_saving(folder: Path) -> bool:
    """Whether a checkpoint is half written."""
    checkpoints = checkpoint_folder(folder)
    return checkpoints.exists() and any("tmp" in path.name for path in checkpoints.iterdir())


def kill_at_random(start: Start, folder: Path, rng: random.Random, *, while_saving: bool) -> bool:
    """Go on with the run and kill it after a step; whether it was over before."""
    pod = start(1, 1, "--workdir", folder.name, *FLAGS)
    pod.wait_for(r"\nstep \d+/60 |done: ")
    end = time.monotonic() + rng.uniform(0.0, 1.0)
    while time.monotonic() < end or (while_saving and not is_saving(folder)):
        if pod.process.poll() is not None:
            assert pod.process.returncode == 0, pod.said
            return True
    os.kill(pod.pids[0], signal.SIGKILL)
    assert pod.wait() == 128 + signal.SIGKILL, pod.said
    return False


@pytest.mark.soak
def test_a_run_that_is_killed_at_random_moments_ends_bit_for_bit_as_an_undisturbed_one(
    start: Start, small: Path
) -> None:
    undisturbed = start(1, 1, "--workdir", "undisturbed", *FLAGS)
    assert undisturbed.wait() == 0, undisturbed.said
    rng, folder = random.Random(0), small / "soaked"
    kills = 0
    while kills < NUM_KILLS:
        if kill_at_random(start, folder, rng, while_saving=kills % 2 == 1):
            # Over before it was killed: once more from the beginning, with as many kills to go.
            folder.rename(small / f"over_{kills}_{rng.random()}")
        else:
            kills += 1
    last = start(1, 1, "--workdir", "soaked", *FLAGS)
    assert last.wait() == 0, last.said

    assert saved_steps(folder)[-1] == saved_steps(small / "undisturbed")[-1] == 60
    found, expected = load_run(folder, step=60), load_run(small / "undisturbed", step=60)
    for (path, one), other in zip(
        jax.tree_util.tree_leaves_with_path(found.params),
        jax.tree.leaves(expected.params),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other, err_msg=jax.tree_util.keystr(path))
    assert not is_saving(folder), "what a kill left half written is cleaned away"
