"""A run of the modern encoder on the whole road: training, longer rows, filling in, a task."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import spanbert_jax

Run = Callable[..., subprocess.CompletedProcess[str]]
SENTIMENT = f"{Path(__file__).resolve().parents[2]}/configs/text_classification.py:sentiment"
MODERN = (
    "--model.encoder modern --model.num-segments 0 --model.num-layers 4 --model.local-attention 8 "
    "--optimizer.warmup-steps 2 --training.eval-every 4"
).split()

pytestmark = pytest.mark.usefixtures("finished")


@pytest.fixture(scope="module")
def modern(tiny: Path, spanbert: Run) -> Path:
    """A run in tiny/modern that was made longer once."""
    for num_steps in ("4", "8"):
        done = spanbert(
            "pretrain", "tiny.py:tiny", *MODERN, "--workdir", "modern", "--training.num-steps",
            num_steps, cwd=tiny,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    assert "4 layers of width 16" in done.stderr
    return tiny / "modern"


def test_longer_rows_begin_with_the_weights_of_shorter_ones(
    tiny: Path, spanbert: Run, modern: Path
) -> None:
    done = spanbert(
        "pretrain", "tiny.py:tiny", *MODERN, "--workdir", "longer", "--init-from", "modern",
        "--training.num-steps", "2", "--model.max-positions", "64", "--data.sequence-length", "64",
        "--model.global-theta", "500000", cwd=tiny,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    num_matched, num_all = done.stderr.split("weights: ")[1].split(" matched")[0].split(" of ")
    assert num_matched == num_all


def test_it_fills_in_and_is_loaded(tiny: Path, spanbert: Run, modern: Path) -> None:
    filled = spanbert(
        "predict", "fill", "--checkpoint", "modern", "--json", "The [MASK] .", cwd=tiny
    )
    assert filled.returncode == 0, filled.stderr
    assert json.loads(filled.stdout)["text"] == "The [MASK] ."
    encoded = spanbert_jax.load(modern).encode(["The bridge", "The"])
    assert encoded.hidden_states.shape[2] == 16 and np.isfinite(encoded.hidden_states).all()


def test_a_task_is_learnt_from_it_and_its_layers_are_not_looped_over(
    tiny: Path, spanbert: Run, modern: Path
) -> None:
    rows = [{"sentence": f"The bridge {word}", "label": word} for word in ("a", "b")] * 8
    (tiny / "reviews.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = (
        "finetune", SENTIMENT, "--init-from", "modern", "--task.train", "reviews.jsonl",
        "--task.dev", "reviews.jsonl", "--task.max-length", "16", "--training.num-epochs", "1",
        "--workdir", "of_modern",
    )  # fmt: skip
    refused = spanbert(*command, "--compute.scan-layers", cwd=tiny)
    assert refused.returncode == 2
    assert "wants layers that are all alike, which those of the modern encoder" in refused.stderr
    done = spanbert(*command, cwd=tiny)
    assert done.returncode == 0, done.stderr
    found = spanbert("predict", "classify", "--checkpoint", "of_modern", "The bridge a", cwd=tiny)
    assert found.returncode == 0, found.stderr


def test_transformers_has_no_such_model(tiny: Path, spanbert: Run, modern: Path) -> None:
    done = spanbert("export", "modern", "--out", "of_modern_exported", cwd=tiny)
    assert done.returncode == 2
    assert "--model.encoder modern: Transformers must have the model" in done.stderr
    assert not (tiny / "of_modern_exported").exists()
