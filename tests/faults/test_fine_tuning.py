"""A grid of fine-tuning runs: by two processes, killed, its newest checkpoint damaged. It comes to
what one process comes to that nobody touches.
"""

import contextlib
import json
import os
import random
import shutil
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
CONFIG = """
from spanbert_jax.config import *
from spanbert_jax.config.tasks import TextClassificationConfig


def golden():
    return FinetuneConfig(
        init_from="weights",
        task=TextClassificationConfig(train="train.jsonl", dev="dev.jsonl", max_length=32),
        optimizer=OptimizerConfig(
            name="adamw", learning_rate=1e-2, schedule="warmup_linear", warmup_steps=0,
            warmup_fraction=0.1, no_decay=("bias", "norm"),
        ),
        training=FineTuningConfig(
            num_epochs=3, batch_size=8, evaluations_per_epoch=1, eval_batch_size=8, log_every=5
        ),
        seeds=2,
    )
"""
SECOND = "lr0.01_batch8_seed43"
# What a run may change on its way, and does not change what it comes to.
EACH_STEP = ("--training.log-every", "1")
OFTEN = ("--checkpoint.every-steps", "4", "--checkpoint.keep-latest", "2")


@pytest.fixture(scope="module")
def golden(start: Start, small: Path) -> Path:
    """The folder of pods with a task's config and data, and a run of one step to begin with."""
    (small / "golden.py").write_text(CONFIG)
    rng, words = random.Random(0), "bridge castle forest garden harbour island".split()
    for name, number in (("train", 80), ("dev", 20)):
        lines = []
        for index in range(number):
            text = rng.choices(words, k=6) + ["golden"] * (index % 2)
            lines.append(json.dumps({"text": " ".join(text), "label": f"{index % 2}"}) + "\n")
        (small / f"{name}.jsonl").write_text("".join(lines))
    flags = ("--training.num-steps", "1", "--optimizer.warmup-steps", "1")
    assert start(1, 1, "--workdir", "weights", *flags).wait() == 0
    return small


def grid(start: Start, workdir: str, *flags: str, processes: int = 1) -> Any:
    """Begin the grid, or go on with it."""
    flags = ("--workdir", workdir, *flags)
    return start(processes, 1, *flags, command="finetune", config="golden.py")


@pytest.fixture(scope="module")
def undisturbed(start: Start, golden: Path) -> Path:
    """The grid as one process with one device runs it."""
    pod = grid(start, "undisturbed", *EACH_STEP)
    assert pod.wait() == 0, pod.said
    assert pod.said.count("best on dev") == 1
    return golden / "undisturbed"


@pytest.fixture(scope="module")
def killed(start: Start, golden: Path) -> Path:
    """The same grid, killed in its second run, of which there are two checkpoints or more."""
    folder = golden / "killed"
    for _ in range(5):
        if kill_in_second_run(grid(start, "killed", *EACH_STEP, *OFTEN), folder):
            return folder
        # Over before it was killed: once more from the beginning.
        shutil.rmtree(folder)
    pytest.fail("the second run of the grid was over five times before it could be killed")


def kill_in_second_run(pod: Any, folder: Path) -> bool:
    """Kill the process once that run has saved twice; whether it was not over before."""
    checkpoints = checkpoint_folder(folder / SECOND)
    while not checkpoints.exists() or sum(p.name.isdigit() for p in checkpoints.iterdir()) < 2:
        if pod.process.poll() is not None:
            assert pod.process.returncode == 0, pod.said
            return False
        time.sleep(0.01)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pod.pids[0], signal.SIGKILL)
    return pod.wait() == 128 + signal.SIGKILL and not (folder / SECOND / "results.json").exists()


def read_grid(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "grid.json").read_text())


def losses(run: Path) -> dict[int, float]:
    """Of every step; of one that was taken twice as it was the last time."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return {line["step"]: line["loss"] for line in lines if "loss" in line}


def test_two_processes_fine_tune_as_one(start: Start, golden: Path, undisturbed: Path) -> None:
    pod = grid(start, "tuned_by_2", processes=2)
    assert pod.wait() == 0, pod.said
    assert pod.said.count("best on dev") == 1
    results = []
    for folder in (undisturbed, golden / "tuned_by_2"):
        content = read_grid(folder)
        results.append([run["score"] for run in content["runs"]])
        best = folder / content["best"]
        assert (best / "dev").exists() and (best / "checkpoints").exists()
    # Of 20 examples, one may stand so near the border that rounding decides.
    assert results[0] == pytest.approx(results[1], abs=5.0)
    assert len(results[0]) == 2


@pytest.mark.parametrize("newest", ["as it was left", "cut to half"])
def test_a_grid_that_is_killed_goes_on_and_ends_bit_for_bit_as_an_undisturbed_one(
    start: Start, golden: Path, undisturbed: Path, killed: Path, newest: str
) -> None:
    folder = Path(shutil.copytree(killed, golden / newest.replace(" ", "_")))
    *_, before, step = saved_steps(folder / SECOND)
    if newest == "cut to half":
        arrays = (folder / SECOND / "checkpoints" / f"{step}" / "state").rglob("d/*")
        file = max(arrays, key=lambda path: path.stat().st_size)
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    pod = grid(start, folder.name, *EACH_STEP, *OFTEN)
    assert pod.wait() == 0, pod.said
    if newest == "cut to half":
        assert f"the checkpoint of step {step} is damaged" in pod.said
        assert (folder / SECOND / "damaged" / f"{step}").exists()
        step = before
    assert f"going on from the checkpoint of step {step}\n" in pod.said

    assert read_grid(folder) == read_grid(undisturbed)
    assert losses(folder / SECOND) == losses(undisturbed / SECOND)
    best = read_grid(undisturbed)["best"]
    found, expected = load_run(folder / best), load_run(undisturbed / best)
    assert (found.step, found.settings) == (expected.step, expected.settings)
    for (path, one), other in zip(
        jax.tree_util.tree_leaves_with_path(found.params),
        jax.tree.leaves(expected.params),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other, err_msg=jax.tree_util.keystr(path))
    scores = [(each / best / "results.json").read_text() for each in (folder, undisturbed)]
    assert scores[0] == scores[1]
