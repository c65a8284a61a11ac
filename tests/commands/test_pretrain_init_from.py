"""`spanbert pretrain --init-from`: a new run begins where the weights are."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = pytest.mark.usefixtures("finished")


def held_out(run: Path) -> list[dict[str, Any]]:
    lines = (run / "metrics.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    return [record for record in records if "held_out_mlm_loss" in record]


def test_a_run_begins_with_the_losses_that_another_ended_with(tiny: Path, spanbert: Run) -> None:
    exported = spanbert("export", "run", "--out", "exported", cwd=tiny)
    assert exported.returncode == 0, exported.stderr
    flags = ("--training.num-steps", "2", "--training.eval-every", "2")
    for origin in ("run", "hf:exported"):
        workdir = origin.replace(":", "_") + "_again"
        done = spanbert(
            "pretrain", "tiny.py:tiny", "--init-from", origin, "--workdir", workdir, *flags,
            "--optimizer.warmup-steps", "1", cwd=tiny,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert f"starting from {origin}; the first step compiles" in done.stderr
        assert "weights: 32 of 32 matched\n" in done.stderr
        end, begin = held_out(tiny / "run")[-1], held_out(tiny / workdir)[0]
        assert begin["step"] == 0
        for name in ("held_out_mlm_loss", "held_out_sbo_loss"):
            assert begin[name] == pytest.approx(end[name], rel=1e-5)


@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        (("--init-from", "run", "--model.num-layers", "2"),
         ("--init-from run: the model must be of the sizes", "add --model.num-layers 1")),
        (("--init-from", "hf:nowhere"), ("nowhere",)),
        (("--init-from", "other_words"), ("--init-from other_words: the shards must be made with",
                                          "run `spanbert prepare` with the --tokenizer")),
    ],
    ids=["sizes", "no model", "vocabulary"],
)  # fmt: skip
def test_weights_that_do_not_fit_are_refused_and_nothing_is_written(
    tiny: Path, spanbert: Run, flags: tuple[str, ...], parts: tuple[str, ...]
) -> None:
    if "other_words" in flags:
        done = spanbert(
            "pretrain", "tiny.py:tiny", "--data.shards", "other_shards", "--workdir", "other_words",
            "--prepare.vocab-size", "180", "--training.num-steps", "2",
            "--optimizer.warmup-steps", "1", cwd=tiny,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    refused = spanbert("pretrain", "tiny.py:tiny", "--workdir", "refused", *flags, cwd=tiny)
    assert refused.returncode == 2
    *_, error = refused.stderr.splitlines()
    assert error.startswith("spanbert: error: ") and "Traceback" not in refused.stderr
    assert all(part in error for part in parts), error
    assert not (tiny / "refused").exists()


def test_a_run_that_goes_on_keeps_its_origin_and_takes_no_other(tiny: Path, spanbert: Run) -> None:
    first = ("pretrain", "tiny.py:tiny", "--workdir", "kept", "--optimizer.warmup-steps", "1")
    done = spanbert(*first, "--init-from", "run", "--training.num-steps", "2", cwd=tiny)
    assert done.returncode == 0, done.stderr
    refused = spanbert(*first, "--init-from", "shards", "--training.num-steps", "4", cwd=tiny)
    assert refused.returncode == 2
    assert "began with run; leave --init-from out" in refused.stderr
    done = spanbert(*first, "--training.num-steps", "4", cwd=tiny)
    assert done.returncode == 0, done.stderr
    assert json.loads((tiny / "kept" / "config.json").read_text())["init_from"] == "run"
    card = spanbert("export", "kept", "--out", "kept_exported", cwd=tiny)
    assert card.returncode == 0, card.stderr
    text = (tiny / "kept_exported" / "README.md").read_text()
    assert "began with the weights of run." in text
    assert "licence of the weights it began with" in text
