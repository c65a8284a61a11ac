"""What a run leaves on disk: each step once, readable after a crash."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from etils import epath

from spanbert_jax.errors import UserError
from spanbert_jax.training.metrics import (
    JsonLines,
    TensorBoard,
    _EventFiles,
    open_metrics,
    read_metrics,
    tensorboard_tag,
)


def steps_of(path: Path) -> list[int]:
    return [json.loads(line)["step"] for line in path.read_text().splitlines()]


def write_steps(path: Path, steps: range) -> None:
    path.write_text("".join(json.dumps({"step": step, "loss": 1.0}) + "\n" for step in steps))


def test_a_line_is_one_json_object_with_step_and_time(tmp_path):
    sink = JsonLines(epath.Path(tmp_path) / "metrics.jsonl", clock=lambda: 1234.56789)
    sink.write(3, {"loss": 2.5, "grad_norm": float("inf")})
    # Before the file is closed: a run is watched while it goes.
    text = (tmp_path / "metrics.jsonl").read_text()
    assert text == '{"step": 3, "time": 1234.568, "loss": 2.5, "grad_norm": null}\n'
    sink.close()


def test_numbers_of_the_device_are_read_and_null_comes_back_as_nan(tmp_path):
    with open_metrics(tmp_path) as writer:
        writer.write(1, {"loss": np.float32(0.5), "grad_norm": np.float64("nan")})
    record = read_metrics(tmp_path / "metrics.jsonl")[0]
    assert record["step"] == 1
    assert record["loss"] == 0.5
    assert np.isnan(record["grad_norm"])


def test_resuming_drops_the_lines_of_later_steps_so_that_each_step_is_there_once(tmp_path):
    path = tmp_path / "metrics.jsonl"
    write_steps(path, range(10, 60, 10))
    with open_metrics(tmp_path, start_step=30) as writer:
        assert steps_of(path) == [10, 20, 30]
        writer.write(40, {"loss": 1.0})
    assert steps_of(path) == [10, 20, 30, 40]
    assert not list(tmp_path.glob("*.tmp"))


def test_starting_over_keeps_no_line(tmp_path):
    path = tmp_path / "metrics.jsonl"
    write_steps(path, range(0, 30, 10))
    open_metrics(tmp_path).close()
    assert path.read_text() == ""


def test_a_line_cut_short_by_a_crash_is_dropped_on_resuming(tmp_path):
    path = tmp_path / "metrics.jsonl"
    write_steps(path, range(1, 4))
    with path.open("a") as file:
        file.write('{"step": 4, "lo')
    assert [record["step"] for record in read_metrics(path)] == [1, 2, 3]
    open_metrics(tmp_path, start_step=4).close()
    assert steps_of(path) == [1, 2, 3]


def test_damage_elsewhere_is_an_error_that_names_file_and_line(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"loss": 2}\n{"step": 3}\n')
    with pytest.raises(UserError, match=r"metrics\.jsonl:2 is no JSON object"):
        read_metrics(path)


def test_tensorboard_shows_training_and_held_out_figures_side_by_side():
    assert tensorboard_tag("mlm_loss") == "mlm_loss/train"
    assert tensorboard_tag("held_out_mlm_loss") == "mlm_loss/held_out"


def events_of(folder: Path) -> list:
    """Read event files as TensorBoard does: length, its checksum, bytes, their checksum."""
    from tensorboardX.proto.event_pb2 import Event

    events = []
    for path in sorted(folder.iterdir()):
        data, start = path.read_bytes(), 0
        while start < len(data):
            (length,) = struct.unpack_from("<Q", data, start)
            events.append(Event.FromString(data[start + 12 : start + 12 + length]))
            start += 16 + length
    return events


def test_tensorboard_files_hold_the_figures_and_hide_the_steps_of_a_crash(tmp_path):
    sink = TensorBoard(epath.Path(tmp_path), start_step=30)
    sink.write(31, {"mlm_loss": 2.5, "held_out_mlm_loss": 3.5})
    sink.close()
    events = events_of(tmp_path)
    values = {
        (value.tag, event.step): value.simple_value
        for event in events
        for value in event.summary.value
    }
    assert values == {("mlm_loss/train", 31): 2.5, ("mlm_loss/held_out", 31): 3.5}
    restarts = [event.step for event in events if event.session_log.status == 1]
    assert restarts == [31]


def test_event_files_are_opened_with_the_path_library_of_the_run(tmp_path):
    folder = tmp_path / "tensorboard"
    files = _EventFiles(print)
    files.directory_check(f"run:{folder}")
    file = files.open(f"run:{folder}/events")
    file.write(b"record")
    file.close()
    assert (folder / "events").read_bytes() == b"record"
