"""`spanbert pretrain` as its user runs, interrupts and resumes it: real processes, real signals."""

import json
import os
import re
import signal
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from spanbert_jax.config import PretrainConfig
from spanbert_jax.config.files import load_config
from spanbert_jax.training.saved_run import load_run

NUM_STEPS = 400
# What differs between two runs of the same numbers.
CLOCK = (
    "time", "tokens_per_second", "data_wait", "eta_seconds", "mfu", "goodput", "host_seconds",
    "step_seconds_p50", "step_seconds_p95",
)  # fmt: skip


def figures(run: Path) -> list[dict[str, Any]]:
    """metrics.jsonl without what a clock measured."""
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{name: x for name, x in each.items() if name not in CLOCK} for each in records]


def joined(records: list[dict[str, Any]], *, stopped: int) -> list[dict[str, Any]]:
    """`records`, where a stop in the middle of a window of two steps logged it in two halves."""
    (at,) = (i for i, x in enumerate(records) if x["step"] == stopped and "loss" in x)
    if stopped % 2 == 0:
        return records
    first, second = records[at : at + 2]
    assert second["step"] == stopped + 1
    means = ("loss", "mlm_loss", "sbo_loss", "mlm_accuracy", "sbo_accuracy", "grad_norm")
    whole = second | {name: (first[name] + second[name]) / 2 for name in means}
    return [*records[:at], whole, *records[at + 2 :]]


def read_until(stream, pattern: str) -> str:
    """Everything up to the line that `pattern` finds."""
    lines = []
    for line in stream:
        lines.append(line)
        if re.search(pattern, line):
            return "".join(lines)
    raise AssertionError(f"{pattern} never came:\n" + "".join(lines))


@pytest.fixture(scope="module")
def interrupted(finished, tiny, start_spanbert):
    """What a run in tiny/resumed said until Ctrl-C at about step 40 ended it."""
    process = start_spanbert("pretrain", "tiny.py:tiny", "--workdir", "resumed", cwd=tiny)
    with process:
        said = read_until(process.stderr, r"^step 40/")
        os.killpg(process.pid, signal.SIGINT)
        said += process.stderr.read()
    return process.returncode, said


@pytest.fixture(scope="module")
def resumed(interrupted, tiny, spanbert):
    done = spanbert("pretrain", "tiny.py:tiny", "--workdir", "resumed", cwd=tiny)
    assert done.returncode == 0, done.stderr
    return done


def test_the_run_drops_out_units_so_that_its_random_numbers_count(tiny):
    model = load_config(f"{tiny}/tiny.py:tiny", PretrainConfig).model
    assert model.dropout_rate > 0 and model.attention_dropout_rate > 0


def test_ctrl_c_saves_and_says_how_to_go_on(interrupted, tiny):
    code, said = interrupted
    assert code == 130
    assert "Ctrl-C: stopping after this step to save; once more stops at once" in said
    saved = re.search(r"^saved at step ([\d,]+) of 400 in resumed; the same command", said, re.M)
    assert saved, said
    step = int(saved[1].replace(",", ""))
    assert 40 <= step < NUM_STEPS
    assert (tiny / "resumed" / "checkpoints" / str(step) / "state").is_dir()
    # Where the time went, of which every line but this one shows the share alone.
    assert re.search(r"^goodput [\d.]+% of (\d+m )?\d+s: .*\bstarting ", said, re.M), said
    assert "Traceback" not in said


def test_ctrl_c_before_the_first_step_saves_nothing_and_says_so(finished, tiny, start_spanbert):
    process = start_spanbert("pretrain", "tiny.py:tiny", "--workdir", "early", cwd=tiny)
    with process:
        read_until(process.stderr, r"^starting from random parameters")
        os.killpg(process.pid, signal.SIGINT)
        said = process.stderr.read()
    assert process.returncode == 130
    assert said.splitlines()[1:] == ["stopped before the first step; the same command starts again"]
    assert list((tiny / "early" / "checkpoints").iterdir()) == []


def test_a_resumed_run_logs_the_very_numbers_of_one_that_never_stopped(interrupted, resumed, tiny):
    stopped = int(re.search(r"saved at step ([\d,]+)", interrupted[1])[1].replace(",", ""))
    assert f"going on from the checkpoint of step {stopped:,}" in resumed.stderr
    expected, actual = figures(tiny / "run"), figures(tiny / "resumed")
    assert [x["step"] for x in expected if "loss" in x] == list(range(2, NUM_STEPS + 1, 2))
    assert [x["step"] for x in expected if "held_out_loss" in x] == [0, 100, 200, 300, 400]
    assert {"mlm_loss", "sbo_loss", "learning_rate", "grad_norm"} <= expected[1].keys()
    assert len({x["loss"] for x in expected if "loss" in x}) > NUM_STEPS / 4
    assert joined(actual, stopped=stopped) == expected


def test_a_resumed_run_ends_with_the_very_parameters_of_one_that_never_stopped(resumed, tiny):
    expected, actual = load_run(tiny / "run"), load_run(tiny / "resumed")
    assert expected.step == actual.step == NUM_STEPS
    leaves = jax.tree_util.tree_leaves_with_path(expected.params)
    others = jax.tree_util.tree_leaves_with_path(actual.params)
    assert len(leaves) == len(others) > 20
    for (path, leaf), (other_path, other) in zip(leaves, others, strict=True):
        assert path == other_path
        name = jax.tree_util.keystr(path)
        assert np.asarray(leaf).tobytes() == np.asarray(other).tobytes(), name


def test_started_after_its_end_a_run_says_so_and_changes_nothing(
    finished, tiny, spanbert, snapshot
):
    before = snapshot(tiny / "run"), snapshot(tiny / "shards")
    again = spanbert("pretrain", "tiny.py:tiny", cwd=tiny)
    assert again.returncode == 0
    assert "the run has taken all of its steps" in again.stderr
    assert "done: run holds" in again.stderr
    assert not re.search(r"^(step|held out) ", again.stderr, re.M)
    assert (snapshot(tiny / "run"), snapshot(tiny / "shards")) == before


def test_a_run_says_only_what_its_user_wants_to_know(finished):
    assert finished.stdout == ""
    expected = [
        "training a sentencepiece tokenizer on ", "made shards of ", "train: ", "held_out: ",
        "read: ", "left out: ", "model: ", "data: ",
        "devices: 1 x cpu", "state: ", "run: run", "starting from random parameters; ",
        "held out at step ", "step ", "goodput ", "done: ", "curves: ",
        "next: spanbert predict fill ",
    ]  # fmt: skip
    lines = finished.stderr.splitlines()
    noise = [line for line in lines if not line.startswith(tuple(expected))]
    assert noise == []
    for start in expected:
        assert any(line.startswith(start) for line in lines), start


def test_ctrl_c_while_preparing_says_what_is_kept_and_the_same_command_goes_on(
    tiny, start_spanbert, tmp_path
):
    """Twelve million words: many seconds of work, of which the signal meets the first."""
    text = (tiny / "text.txt").read_text()
    (tmp_path / "text.txt").write_text("\n".join([text] * 1_200))
    (tmp_path / "tiny.py").write_text((tiny / "tiny.py").read_text())
    process = start_spanbert(
        "pretrain", "tiny.py:tiny", "--prepare.num-workers", "2",
        "--prepare.tokenizer-sample-mb", "0.05", cwd=tmp_path,
    )  # fmt: skip
    with process:
        said = read_until(process.stderr, "training a sentencepiece tokenizer")
        os.killpg(process.pid, signal.SIGINT)
        said += process.stderr.read()
    assert process.returncode == 130, said
    # Before it there may be lines that say how far it came.
    assert said.splitlines()[-1] == (
        "spanbert: interrupted: while preparing text; what is complete in shards is kept, and the "
        "same command goes on from there"
    )
    assert "Traceback" not in said
    assert not (tmp_path / "run").exists()
