"""The lines of a run, in a terminal and elsewhere."""

import io
import re

import pytest
from rich.console import Console as RichConsole

from spanbert_jax.training.console import (
    Console,
    TerminalConsole,
    duration,
    evaluation_line,
    open_console,
    train_line,
    wrapped,
)
from spanbert_jax.training.device_peaks import peak_flops

METRICS = {
    "loss": 9.1, "mlm_loss": 4.5, "mlm_accuracy": 0.25, "sbo_loss": 4.6,
    "tokens_per_second": 52_100.0, "eta_seconds": 130.0,
}  # fmt: skip


def test_a_training_line_shows_the_figures_that_are_there():
    assert train_line(1200, 4000, METRICS) == (
        "step 1,200/4,000 · loss 9.100 · MLM 4.500 25.0% · SBO 4.600 · 52.1k tokens/s · ETA 2m 10s"
    )


def test_a_training_line_shows_skipped_steps_waiting_and_utilisation():
    more = {"skipped_steps": 2.0, "data_wait": 0.034, "mfu": 0.4321, "learning_rate": 1e-4,
            "grad_norm": 1.25, "epoch": 2.5}  # fmt: skip
    assert train_line(1, 9, more) == (
        "step 1/9 · 2 steps skipped · data wait 3% · MFU 43.2% · lr 1.00e-04 · grad 1.2 · "
        "epoch 2.50"
    )
    assert "skipped" not in train_line(1, 9, {"skipped_steps": 0.0})


def test_a_training_line_names_the_process_that_the_others_wait_for():
    slowest = "process 3 on host-3, 41 ms a step"
    line = train_line(1, 9, {"loss": 2.0, "data_wait": 0.1}, slowest=slowest)
    assert line == f"step 1/9 · loss 2.000 · data wait 10% · slowest: {slowest}"


def test_an_evaluation_line_says_where_and_what():
    metrics = {"held_out_loss": 8.3, "held_out_mlm_loss": 8.3, "held_out_mlm_accuracy": 0.015}
    assert evaluation_line(0, 9, metrics) == "held out at step 0/9 · loss 8.300 · MLM 8.300 1.5%"


def test_scores_of_a_task_are_shown_until_they_are_too_many():
    assert evaluation_line(4, 9, {"dev_f1": 71.25}) == "dev at step 4/9 · f1 71.25"
    scores = {f"dev_{name}": 1.0 for name in "abcdefgh"}
    line = evaluation_line(4, 9, scores)
    assert line.endswith(" · e 1.00 · f 1.00 · 2 more in metrics.jsonl")


@pytest.mark.parametrize(
    "seconds, text",
    [(0, "0s"), (9.4, "9s"), (59.6, "1m 0s"), (130, "2m 10s"), (7_260, "2h 1m"),
     (100_000, "1d 3h"), (86_400 * 40, "40d 0h")],
)  # fmt: skip
def test_durations_have_two_units(seconds, text):
    assert duration(seconds) == text


def test_elsewhere_every_line_is_plain_and_stays():
    stream = io.StringIO()
    with open_console(4000, stream) as console:
        assert type(console) is Console
        console.message("reads [MASK] as it is")
        console.train(1200, METRICS)
        console.evaluation(1200, {"held_out_mlm_loss": 4.0})
    lines = stream.getvalue().splitlines()
    assert lines[0] == "reads [MASK] as it is"
    assert lines[1].startswith("step 1,200/4,000 · loss 9.100")
    assert lines[2] == "held out at step 1,200/4,000 · MLM 4.000"
    assert "\x1b" not in stream.getvalue()


ALL_METRICS = METRICS | {
    "sbo_accuracy": 0.125, "skipped_steps": 2.0, "data_wait": 0.034, "mfu": 0.4321,
    "learning_rate": 1e-4, "grad_norm": 1.25, "epoch": 2.5,
}  # fmt: skip


def test_a_line_breaks_between_figures_alone():
    assert wrapped("step 1/9 · loss 9.100 · ETA 2m 10s", 24) == "step 1/9 · loss 9.100\nETA 2m 10s"
    assert wrapped("step 1/9 · loss 9.100 · ETA 2m 10s", 34) == "step 1/9 · loss 9.100 · ETA 2m 10s"


@pytest.mark.parametrize("width", [80, 40])
def test_a_terminal_shows_every_figure_however_narrow_it_is(width):
    stream = io.StringIO()
    terminal = RichConsole(file=stream, force_terminal=True, width=width, legacy_windows=False)
    with TerminalConsole(2_400_000, terminal) as console:
        console.train(1_234_500, ALL_METRICS)
    shown = re.sub(r"\x1b\[[^a-z]*[a-z]", "", stream.getvalue()).splitlines()
    assert all(len(line) <= width for line in shown)
    figures = [figure for line in shown if line for figure in line.strip().split(" · ")]
    expected = train_line(1_234_500, 2_400_000, ALL_METRICS).split(" · ")
    assert len(expected) == 12
    assert figures[: len(expected)] == expected


def test_in_a_terminal_messages_stand_above_the_live_figures():
    stream = io.StringIO()
    terminal = RichConsole(file=stream, force_terminal=True, width=60, legacy_windows=False)
    with TerminalConsole(4000, terminal) as console:
        console.message("before [MASK] the first step")
        assert "before [MASK] the first step\n" in stream.getvalue()
        console.train(1200, METRICS)
        console.evaluation(1200, {"held_out_mlm_loss": 4.0})
        console.train(1300, METRICS)
    text = stream.getvalue()
    before = text.index("step 1,200/4,000")
    evaluation = text.index("held out at step")
    # The live figures are drawn again below what was printed.
    assert before < evaluation < text.index("step 1,200/4,000", evaluation)
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1  # cursor hidden, then shown


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_is_recognised_and_a_dumb_one_gets_plain_lines(monkeypatch):
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    assert type(open_console(1, Terminal())) is TerminalConsole
    monkeypatch.setenv("TERM", "dumb")
    assert type(open_console(1, Terminal())) is Console


@pytest.mark.parametrize(
    "kind, dtype, tera",
    [
        ("TPU v2", "bfloat16", 22.5),
        ("TPU v4", "bfloat16", 275.0),
        ("TPU v4 lite", "bfloat16", 138.0),
        ("TPU v5 lite", "bfloat16", 197.0),
        ("TPU v5", "bfloat16", 459.0),
        ("TPU v5p", "bfloat16", 459.0),
        ("TPU v6 lite", "bfloat16", 918.0),
        ("TPU7x", "bfloat16", 1153.5),
        ("NVIDIA A100-SXM4-80GB", "bfloat16", 312.0),
        ("NVIDIA H100 80GB HBM3", "bfloat16", 989.5),
        ("NVIDIA H100 PCIe", "bfloat16", 756.0),
        ("NVIDIA H200", "bfloat16", 989.5),
        ("NVIDIA L4", "bfloat16", 121.0),
        ("NVIDIA L40S", "bfloat16", None),
        ("Tesla V100-SXM2-16GB", "bfloat16", None),
        ("Tesla V100-SXM2-16GB", "float16", 125.0),
        ("Tesla T4", "float16", 65.0),
        ("TPU v4", "float32", None),
        ("cpu", "bfloat16", None),
    ],
)
def test_peaks_are_the_published_ones_and_unknown_where_none_is(kind, dtype, tera):
    expected = None if tera is None else tera * 1e12
    assert peak_flops(kind, dtype) == expected
