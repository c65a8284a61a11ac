"""What becomes of the figures of a run: a line for people, files for tools."""

import io
import json
from pathlib import Path

import pytest

from spanbert_jax.config import PretrainConfig
from spanbert_jax.training.activity import Activity
from spanbert_jax.training.console import Console
from spanbert_jax.training.goodput import GOODPUT_FILE, Ledger
from spanbert_jax.training.host_times import HostFigures, combined
from spanbert_jax.training.meter import Record
from spanbert_jax.training.metrics import open_metrics, read_metrics
from spanbert_jax.training.watching import RunWatcher, watching


def test_of_several_processes_the_line_names_the_host_and_files_keep_the_numbers(
    tmp_path: Path,
) -> None:
    processes = (HostFigures(0.5, 0.6, 0.01), HostFigures(0.5, 0.7, 0.03))
    stream, ledger = io.StringIO(), Ledger(tmp_path, Activity("training"), from_step=0)
    with open_metrics(tmp_path) as writer:
        watcher = RunWatcher(Console(9, stream), writer, ledger, hosts=("host-a", "host-b"))
        watcher.train(Record(4, {"loss": 2.5} | combined(processes), processes=processes))
    line = stream.getvalue()
    assert line.startswith("step 4/9 · loss 2.500 · goodput ")
    assert line.endswith(" · slowest: process 1 on host-b, 30 ms a step\n")
    (record,) = read_metrics(tmp_path / "metrics.jsonl")
    assert (record["slowest_process"], record["step_seconds_p95_process"]) == (1.0, 1.0)
    kept = json.loads((tmp_path / GOODPUT_FILE).read_text())["processes"]
    assert [(each["host"], each["step_seconds_p95"]) for each in kept] == [
        ("host-a", 0.6), ("host-b", 0.7),
    ]  # fmt: skip


@pytest.mark.parametrize("error", [None, RuntimeError("out of memory")])
def test_where_the_time_went_is_said_at_the_end_however_it_ends(
    tmp_path: Path, error: RuntimeError | None
) -> None:
    stream, activity = io.StringIO(), Activity("training")
    config = PretrainConfig(workdir=str(tmp_path))
    try:
        with watching(config, start_step=5, console=Console(9, stream), activity=activity):
            # A start that dies here is one too.
            (start,) = json.loads((tmp_path / GOODPUT_FILE).read_text())["starts"]
            assert (start["from_step"], start["to_step"]) == (5, 5)
            activity.step = 7
            if error is not None:
                raise error
    except RuntimeError as raised:
        assert raised is error
    assert stream.getvalue().startswith("goodput 100.0% of ")
    (start,) = json.loads((tmp_path / GOODPUT_FILE).read_text())["starts"]
    assert start["to_step"] == 7


def test_a_start_that_took_no_step_says_nothing_of_its_time(tmp_path: Path) -> None:
    stream, config = io.StringIO(), PretrainConfig(workdir=str(tmp_path))
    with watching(config, start_step=0, console=Console(9, stream), activity=Activity()):
        pass
    assert stream.getvalue() == ""
