"""Progress: plain lines where there is no terminal, a bar where there is one."""

import io

import pytest
from rich.console import Console

from spanbert_jax.corpus import progress
from spanbert_jax.corpus.progress import BarProgress, LineProgress, progress_line, show_progress


def test_the_example_of_the_docstring():
    assert progress_line("encoding", 3e6, 12e6, 2.0) == "encoding: 25%, 1.5 MB/s, 6 s left"


def test_nothing_done_yet_is_no_division_by_zero():
    assert progress_line("encoding", 0.0, 0.0, 1.0) == "encoding: 0%, 0.0 MB/s, inf s left"


def test_lines_come_every_few_seconds_not_with_every_update(monkeypatch, capsys):
    now = iter([0.0, 1.0, 2.0, 6.0, 7.0, 8.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(now))
    lines = LineProgress()
    for done in range(5):
        lines.update("encoding", done * 1e6, 10e6)
    lines.update("counting", 1e6, 10e6)
    assert capsys.readouterr().err == "encoding: 30%, 0.5 MB/s, 14 s left\n"


def test_a_terminal_gets_a_bar_with_speed_and_time_left():
    bar = BarProgress()
    bar.bar.live.console = Console(file=io.StringIO(), force_terminal=True, width=100)
    bar.update("encoding", 5e6, 10e6)
    (task,) = bar.bar.tasks
    assert (task.description, task.completed, task.total) == ("encoding", 5e6, 10e6)
    bar.update("encoding", 10e6, 10e6)
    assert task.finished


@pytest.mark.parametrize(("terminal", "kind"), [(True, BarProgress), (False, LineProgress)])
def test_the_kind_follows_the_terminal(monkeypatch, terminal, kind):
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: terminal, raising=False)
    with show_progress() as shown:
        assert isinstance(shown, kind)
