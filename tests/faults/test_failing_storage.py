"""A storage that is full, or not there for a while: nothing is lost that is not said to be."""

import errno
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
from etils import epath

from spanbert_jax.config import CheckpointConfig, PretrainConfig
from spanbert_jax.training.checkpoint import Checkpoints, DataPosition, newest_step, saved_steps
from spanbert_jax.training.metrics import JsonLines, TensorBoard, read_metrics
from spanbert_jax.training.patient_file import PatientFile
from spanbert_jax.training.saving import Saving

POSITION = DataPosition(8, 16)


def state_of(step: int) -> dict[str, Any]:
    return {"params": jax.random.normal(jax.random.key(step), (100, 100))}


def checkpoints_of(folder: Path) -> Checkpoints:
    return Checkpoints(folder, PretrainConfig(), tokenizer_fingerprint="abc")


def saving_of(checkpoints: Checkpoints, said: list[str]) -> Saving:
    config = CheckpointConfig(retry_seconds=0.1, give_up_seconds=20.0)
    return Saving(checkpoints, config, start_step=0, say=said.append, sleep=lambda _: None)


def save(saving: Saving, step: int) -> None:
    saving.save(step, state_of(step), position=POSITION, score=None)


def is_saved(checkpoints: Checkpoints, step: int) -> bool:
    restored, position = checkpoints.restore(step, jax.eval_shape(lambda: state_of(step)))
    return position == POSITION and np.array_equal(restored["params"], state_of(step)["params"])


def child(script: str, folder: Path) -> subprocess.Popen[str]:
    """A process that knows what is in this file, by the name of tests_of_storage."""
    place = folder.parent / "scripts"
    place.mkdir(exist_ok=True)
    (place / "tests_of_storage.py").write_text(Path(__file__).read_text())
    return subprocess.Popen(
        [sys.executable, "-c", script, str(folder)], stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(place), *sys.path])},
    )  # fmt: skip


FULL_DISK = """
import resource
from spanbert_jax.training.metrics import open_metrics
from tests_of_storage import *


def room(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

folder, said = Path(sys.argv[1]), []
with checkpoints_of(folder) as checkpoints, open_metrics(folder, say=said.append) as writer:
    saving = saving_of(checkpoints, said)
    save(saving, 1)
    saving.settle()
    writer.write(1, {"loss": 1.0})
    room(100)
    save(saving, 2)
    saving.settle()
    for step in range(2, 40):
        writer.write(step, {"loss": 1.0})
    print((folder / "metrics.jsonl").stat().st_size)
    room(resource.RLIM_INFINITY)
    saving.save_at_end(3, state_of(3), position=POSITION, score=None)
    writer.write(40, {"loss": 1.0})
    print(json.dumps(sorted(path.name for path in (folder / "checkpoints").iterdir())))
    assert is_saved(checkpoints, 1) and is_saved(checkpoints, 3)
print(json.dumps(said))
"""


def test_on_a_full_disk_training_goes_on_and_all_is_written_once_there_is_room(
    tmp_path: Path,
) -> None:
    """A limit on the size of files stands in for the disk, in a process of its own."""
    with child(FULL_DISK, tmp_path / "run") as process:
        out, err = process.communicate()
    assert process.returncode == 0, err
    size, left, said = out.splitlines()
    # Nothing of the one that failed.
    assert json.loads(left) == ["1", "3"]
    # Two lines, and none in part.
    assert 0 < int(size) <= 100
    failed, *others = json.loads(said)
    assert failed.startswith("step 2 could not be saved (") and "File too large" in failed
    assert "step 3 is saved" in others
    assert any("metrics.jsonl cannot be written ([Errno 27] File" in text for text in others)
    assert "Traceback" not in err and "Event loop" not in err, err
    records = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert [record["step"] for record in records] == list(range(1, 41))
    assert saved_steps(tmp_path / "run") == [1, 3]


def test_a_save_that_has_no_room_is_not_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of several processes, one that finds no room in the middle of it holds up the others."""
    said: list[str] = []
    size = state_of(2)["params"].nbytes
    with checkpoints_of(tmp_path) as checkpoints:
        saving = saving_of(checkpoints, said)
        with monkeypatch.context() as full:
            full.setattr(
                shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, size // 2 - 1)
            )
            save(saving, 2)
        assert saving.saved_step == 0 and list((tmp_path / "checkpoints").iterdir()) == []
        saving.save_at_end(3, state_of(3), position=POSITION, score=None)
        assert is_saved(checkpoints, 3)
    failed, saved = said
    assert failed.startswith("step 2 could not be saved ([Errno 28] No space left on device: ")
    assert saved == "step 3 is saved"


def test_a_folder_that_is_gone_for_a_while_is_used_again_once_it_is_back(tmp_path: Path) -> None:
    """A file in its place stands in for a folder that cannot be written: root may write all."""
    folder, said = tmp_path / "checkpoints", []
    with checkpoints_of(tmp_path) as checkpoints:
        saving = saving_of(checkpoints, said)
        save(saving, 1)
        saving.settle()
        folder.rename(tmp_path / "elsewhere")
        folder.write_text("")
        save(saving, 2)
        saving.settle()
        assert saving.saved_step == 1
        (message,) = said
        assert message.startswith("step 2 could not be saved (")
        folder.unlink()
        (tmp_path / "elsewhere").rename(folder)
        saving.save_at_end(3, state_of(3), position=POSITION, score=None)
        assert is_saved(checkpoints, 1) and is_saved(checkpoints, 3)
    assert said[1:] == ["step 3 is saved"]


GONE = """
from tests_of_storage import *

folder, said = Path(sys.argv[1]), []
with checkpoints_of(folder) as checkpoints:
    saving = saving_of(checkpoints, said)
    (folder / "checkpoints").rename(folder / "elsewhere")
    (folder / "checkpoints").write_text("")
    save(saving, 1)
    saving.settle()
print(len(said))
"""


def test_a_program_whose_save_has_failed_ends_without_waiting_for_what_never_comes(
    tmp_path: Path,
) -> None:
    """Threads of Orbax wait ten minutes for the one that failed."""
    with child(GONE, tmp_path / "run") as process:
        out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (0, "1\n"), err


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EROFS, "Read-only file system"),
        ValueError('UNAVAILABLE: Error writing "params/0.0" at gs://bucket/run/: try again'),
    ],
)
def test_writes_that_fail_now_and_then_are_made_up_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    original, left = ocp.CheckpointManager.save, [error, error]

    def fail_twice(*args: Any, **kwargs: Any) -> Any:
        if left:
            raise left.pop()
        return original(*args, **kwargs)

    monkeypatch.setattr(ocp.CheckpointManager, "save", fail_twice)
    said: list[str] = []
    with checkpoints_of(tmp_path) as checkpoints:
        saving = saving_of(checkpoints, said)
        for step in (1, 2, 3):
            save(saving, step)
        saving.settle()
        assert is_saved(checkpoints, 3)
    assert saved_steps(tmp_path) == [3]
    assert [text.split(" (")[0] for text in said] == [
        "step 1 could not be saved", "step 3 is saved",
    ]  # fmt: skip


def test_what_a_killed_run_began_to_save_is_removed_by_the_next_save(tmp_path: Path) -> None:
    leftover = tmp_path / "checkpoints" / "7.orbax-checkpoint-tmp" / "state"
    leftover.mkdir(parents=True)
    (leftover / "data").write_bytes(b"half")
    with checkpoints_of(tmp_path) as checkpoints:
        assert checkpoints.latest_step() is None
        checkpoints.check_place(state_of(8))
        assert not leftover.exists()
        checkpoints.save(8, state_of(8), position=POSITION, score=None)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["8"]


def test_what_cannot_be_removed_is_found_out_before_a_save_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of several processes one removes: it must not fail where the others wait for it."""
    leftover = tmp_path / "checkpoints" / "7.orbax-checkpoint-tmp"
    leftover.mkdir(parents=True)
    remove = shutil.rmtree
    refusals = [FileNotFoundError(errno.ENOENT, "No such file or directory", "ocdbt.process_1")] * 2
    begun: list[int] = []
    begin = ocp.CheckpointManager.save

    def refuse(path: Any, *args: Any, **kwargs: Any) -> None:
        if Path(path) == leftover and refusals:
            raise refusals.pop()
        remove(path, *args, **kwargs)

    def recorded(manager: Any, step: int, **kwargs: Any) -> Any:
        begun.append(step)
        return begin(manager, step, **kwargs)

    monkeypatch.setattr(shutil, "rmtree", refuse)
    monkeypatch.setattr(ocp.CheckpointManager, "save", recorded)
    said: list[str] = []
    with checkpoints_of(tmp_path) as checkpoints:
        saving = saving_of(checkpoints, said)
        save(saving, 8)
        assert leftover.exists() and not begun
        save(saving, 9)
        assert begun == [9] and is_saved(checkpoints, 9)
    assert said[0].startswith("step 8 could not be saved ([Errno 2] No such file or directory: 'oc")
    assert said[1:] == ["step 9 is saved"]


SAVES_FOR_EVER = """
from tests_of_storage import *

with checkpoints_of(Path(sys.argv[1])) as checkpoints:
    step = checkpoints.latest_step() or 0
    while True:
        step += 1
        checkpoints.wait()
        checkpoints.check_place(state_of(step))
        checkpoints.save(step, state_of(step), position=POSITION, score=None)
        print(step, flush=True)
"""


def test_killed_at_any_moment_a_run_goes_on_from_its_newest_complete_checkpoint(
    tmp_path: Path,
) -> None:
    """kill -9 while it does nothing but save: each time it is half done with some checkpoint."""
    rng = np.random.default_rng(0)
    begun = 0
    for _ in range(2):
        with child(SAVES_FOR_EVER, tmp_path) as process:
            assert process.stdout is not None
            for _ in range(rng.integers(2, 9)):
                begun = int(process.stdout.readline())
            time.sleep(rng.uniform(0, 0.05))
            process.kill()
        newest = newest_step(tmp_path)
        # A save waits for the one before.
        assert newest is not None and newest >= begun - 1
        with checkpoints_of(tmp_path) as checkpoints:
            assert is_saved(checkpoints, newest)


class Disk:
    """Files that take `room` bytes in all, of which the last write may take a part."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
        self.room = room
        original = PatientFile._open

        def limited(file: PatientFile) -> Any:
            opened = original(file)
            write = opened.write

            def part(data: bytes) -> None:
                taken = data[: self.room]
                self.room -= len(taken)
                write(taken)
                if len(taken) < len(data):
                    raise OSError(errno.ENOSPC, "No space left on device")

            return type("File", (), {"write": staticmethod(part), "flush": opened.flush,
                                     "close": opened.close})  # fmt: skip

        monkeypatch.setattr(PatientFile, "_open", limited)


def test_a_line_that_is_half_written_is_cut_off_and_written_whole_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, said = tmp_path / "metrics.jsonl", []
    disk = Disk(monkeypatch, room=50)
    sink = JsonLines(epath.Path(path), clock=lambda: 0.0, say=said.append)
    for step in range(1, 5):
        sink.write(step, {"loss": 1.0})
    first = '{"step": 1, "time": 0.0, "loss": 1.0}\n'
    assert path.read_text() == first
    (message,) = said
    assert message.startswith(f"{path} cannot be written ([Errno 28] No space left on device); ")
    disk.room = 1_000
    sink.write(5, {"loss": 1.0})
    assert [record["step"] for record in read_metrics(path)] == [1, 2, 3, 4, 5]
    disk.room = 10
    sink.write(6, {"loss": 1.0})
    sink.close()
    assert said[1].startswith(f"{path} cannot be written")
    assert said[2] == f"{path}: its last {len(first)} bytes are lost"
    assert len(read_metrics(path)) == 5


def test_tensorboard_on_a_full_disk_holds_up_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its thread takes ten events; a run that it does not take them from would wait for ever."""
    said: list[str] = []
    disk = Disk(monkeypatch, room=0)
    sink = TensorBoard(epath.Path(tmp_path), say=said.append)
    for step in range(50):
        sink.write(step, {"loss": 1.0})
    # As its thread does every two minutes.
    sink._writer.flush()
    for step in range(50, 100):
        sink.write(step, {"loss": 1.0})
    disk.room = 1_000_000
    sink.close()
    (file,) = tmp_path.iterdir()
    assert file.stat().st_size > 100 * 30
    (message,) = said
    assert "cannot be written ([Errno 28] No space left on device)" in message


def test_the_digest_of_a_state_that_is_saved_is_that_of_its_moment(tmp_path: Path) -> None:
    """Though the next step takes its memory over while it is written."""
    step = jax.jit(lambda state: jax.tree.map(lambda leaf: leaf + 1, state), donate_argnums=0)
    state = step({"params": jnp.zeros((512, 512))})
    abstract = jax.eval_shape(lambda: {"params": jnp.zeros((512, 512))})
    with checkpoints_of(tmp_path) as checkpoints:
        for number in range(1, 4):
            checkpoints.save(number, state, position=POSITION, score=None)
            for _ in range(5):
                state = step(state)
        checkpoints.wait()
        for number in range(1, 4):
            restored, _ = checkpoints.restore(number, abstract)
            assert float(restored["params"][0, 0]) == 5 * number - 4
