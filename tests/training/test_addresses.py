"""What a run writes to gs:// while it goes, with the files of TensorFlow by which that happens."""

from pathlib import Path

import pytest
from etils import epath

from spanbert_jax.training import patient_file
from spanbert_jax.training.activity import Activity
from spanbert_jax.training.goodput import GOODPUT_FILE, Ledger
from spanbert_jax.training.metrics import JsonLines, open_metrics, read_metrics
from spanbert_jax.training.patient_file import Uploads


def test_figures_of_a_run_are_written_as_they_come_and_gone_on_with(
    tmp_path: Path, as_addresses: None
) -> None:
    for start_step, steps in ((0, (1, 2, 3)), (2, (3, 4))):
        ledger = Ledger(tmp_path, Activity("training"), from_step=start_step)
        with open_metrics(tmp_path, start_step=start_step) as writer:
            for step in steps:
                ledger.update(step)
                writer.write(step, {"loss": 1.0 / step})
                assert read_metrics(tmp_path / "metrics.jsonl")[-1]["step"] == step
    assert [line["step"] for line in read_metrics(tmp_path / "metrics.jsonl")] == [1, 2, 3, 4]
    assert (tmp_path / GOODPUT_FILE).read_text().count("from_step") == 2
    # A file of events for each start, or one for both where they begin in the same second.
    events = (tmp_path / "tensorboard").iterdir()
    assert sum(file.stat().st_size for file in events) > 5 * 30


def test_what_an_outage_keeps_from_it_is_written_after_it(
    tmp_path: Path, as_addresses: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tensorflow as tf

    def refuse(*_: object) -> None:
        raise tf.errors.UnavailableError(None, None, "503 while writing to gs://bucket/run")

    said: list[str] = []
    sink = JsonLines(epath.Path(tmp_path) / "metrics.jsonl", say=said.append)
    sink.write(1, {"loss": 1.0})
    with monkeypatch.context() as outage:
        # A file that could not be written fails once more where it is closed.
        outage.setattr(tf.io.gfile.GFile, "write", refuse)
        outage.setattr(tf.io.gfile.GFile, "close", refuse)
        for step in (2, 3):
            sink.write(step, {"loss": 1.0})
    sink.write(4, {"loss": 1.0})
    sink.close()
    assert [line["step"] for line in read_metrics(tmp_path / "metrics.jsonl")] == [1, 2, 3, 4]
    (message,) = said
    assert "metrics.jsonl cannot be written (503 while writing to gs://bucket/run); " in message


def test_what_is_sent_whole_is_sent_now_and_then_and_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patient_file, "is_address", lambda _: True)
    ledger = Ledger(tmp_path, Activity("training"), from_step=0)
    sink = JsonLines(epath.Path(tmp_path) / "metrics.jsonl")
    for step in (1, 2, 3):
        sink.write(step, {"loss": 1.0})
        ledger.update(step)
    lines, goodput = tmp_path / "metrics.jsonl", tmp_path / GOODPUT_FILE
    assert [line["step"] for line in read_metrics(lines)] == [1]
    assert '"to_step": 1' in goodput.read_text()
    sink.close()
    ledger.update(3, is_last=True)
    assert [line["step"] for line in read_metrics(lines)] == [1, 2, 3]
    assert '"to_step": 3' in goodput.read_text()


def test_uploads_are_due_every_half_minute_and_writes_to_a_disk_always() -> None:
    now = [0.0]
    far = Uploads(epath.Path("gs://bucket/metrics.jsonl"), clock=lambda: now[0])
    near = Uploads(epath.Path("/runs/metrics.jsonl"), clock=lambda: now[0])
    due = []
    for now[0] in (0.0, 1.0, 29.0, 31.0, 60.0, 61.0):
        due.append(far.are_due())
        assert near.are_due()
    assert due == [True, False, False, True, False, True]
