"""A grid of fine-tuning runs, by one process and by two: the same scores, one set of files."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

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


def test_two_processes_fine_tune_as_one(start: Start, golden: Path) -> None:
    results = []
    for processes in (1, 2):
        workdir = f"tuned_by_{processes}"
        pod = start(processes, 1, "--workdir", workdir, command="finetune", config="golden.py")
        assert pod.wait() == 0, pod.said
        assert pod.said.count("best on dev") == 1
        grid = json.loads((golden / workdir / "grid.json").read_text())
        results.append([run["score"] for run in grid["runs"]])
        best = golden / workdir / grid["best"]
        assert (best / "dev").exists() and (best / "checkpoints").exists()
    # Of 20 examples, one may stand so near the border that rounding decides.
    assert results[0] == pytest.approx(results[1], abs=5.0)
    assert len(results[0]) == 2
