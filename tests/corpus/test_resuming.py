"""A run that is killed at any moment, and run again, makes what an undisturbed one makes."""

import contextlib
import dataclasses
import errno
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from etils import epath

from spanbert_jax.config import PrepareConfig
from spanbert_jax.corpus import files, local_runner, local_survey, spilling, units
from spanbert_jax.corpus.files import FullDisk
from spanbert_jax.corpus.prepare import prepare
from spanbert_jax.corpus.progress import SilentProgress
from spanbert_jax.errors import UserError

# Units and tasks so small that there are many of them.
# Once there are so many files of a pattern, the next one is half written, and the rest never comes.
PROGRAM = """
import time
from pathlib import Path

from spanbert_jax.config import PrepareConfig
from spanbert_jax.corpus import files, spilling, units
from spanbert_jax.corpus.prepare import prepare
from spanbert_jax.corpus.progress import SilentProgress

if __name__ == "__main__":
    units.UNIT_BYTES, spilling.TASK_CHARACTERS = 8_000, 3_000
    config, write_bytes = PrepareConfig(**{config!r}), files.write_bytes

    def write_or_wait(path, *parts):
        if {number} and len(list(Path(config.out).glob({pattern!r}))) >= {number}:
            write_bytes(path, parts[0][: len(parts[0]) // 2])
            time.sleep(600)
        write_bytes(path, *parts)

    files.write_bytes = write_or_wait
    prepare(config, progress=SilentProgress())
"""
SIZES = [1, 40, 3, 300, 1, 1, 150]


class Recorder(SilentProgress):
    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, message: str) -> None:
        self.said.append(message)


@pytest.fixture
def config(write_stories, tmp_path) -> PrepareConfig:
    paths = write_stories(SIZES)
    return PrepareConfig(
        source=(f"text:{paths[0].parent}/*.txt",), out=str(tmp_path / "shards"), vocab_size=120,
        sentencepiece_type="bpe", held_out=0.05, shard_tokens=3_000, num_workers=1,
    )  # fmt: skip


@pytest.fixture
def small_units(monkeypatch):
    monkeypatch.setattr(units, "UNIT_BYTES", 8_000)
    monkeypatch.setattr(spilling, "TASK_CHARACTERS", 3_000)


def run(config: PrepareConfig, progress=None, **values):
    return prepare(dataclasses.replace(config, **values), progress=progress or SilentProgress())


def interrupt(*arguments):
    raise KeyboardInterrupt


# Behind a file of every stage: its name, and how many of its kind there are to be.
MOMENTS = {
    "prepare.json": 1,
    "in_progress/scanned-*.unit": 1,
    "in_progress/scanned-??????.unit": 4,
    "tokenizer.model": 1,
    "in_progress/encoded-*.unit": 1,
    "in_progress/encoded-??????.unit": 5,
    "train-*.json": 3,
    "unigram.npy": 1,
}


def test_killed_at_a_moment_of_every_stage_it_makes_the_same_bytes(config, tmp_path, folder_bytes):
    folder, source = tmp_path / "shards", random.Random(0)

    def start(out: str, pattern: str = "", number: int = 0) -> subprocess.Popen:
        values = vars(config) | {
            "out": str(tmp_path / out), "num_workers": 2, "near_duplicates": 0.8,
        }  # fmt: skip
        program = PROGRAM.format(config=values, pattern=pattern, number=number)
        return subprocess.Popen([sys.executable, "-c", program])

    assert start("whole").wait() == 0
    for pattern, number in MOMENTS.items():
        assert len(list(folder.glob(pattern))) < number, pattern
        killed = start("shards", pattern, number)
        while killed.poll() is None and len(list(folder.glob(pattern))) < number:
            time.sleep(0.002)
        time.sleep(source.uniform(0.0, 0.1))
        assert killed.poll() is None, f"ended before it was killed behind {pattern}"
        killed.kill()
        assert killed.wait() == -signal.SIGKILL
        assert not (folder / "manifest.json").exists()
    assert start("shards").wait() == 0
    assert folder_bytes(folder) == folder_bytes(tmp_path / "whole")


def test_killed_while_it_writes_its_first_file_it_leaves_nothing_to_the_next_run(
    config, tmp_path, folder_bytes
):
    run(config, out=str(tmp_path / "whole"))
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / f"prepare.json.spanbert-{ended.pid}.tmp").write_text("half")
    run(config)
    assert folder_bytes(tmp_path / "shards") == folder_bytes(tmp_path / "whole")


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
def test_processes_end_with_one_that_is_killed(config, tmp_path):
    values = vars(config) | {"num_workers": 2}
    program = PROGRAM.format(config=values, pattern="", number=0)
    folder = tmp_path / "here"
    folder.mkdir()
    killed = subprocess.Popen([sys.executable, "-c", program], cwd=folder)
    while not list(tmp_path.glob("shards/in_progress/*.unit")):
        time.sleep(0.01)
    assert processes_in(folder) > 1
    killed.kill()
    killed.wait()
    deadline = time.monotonic() + 10.0
    while processes_in(folder) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert processes_in(folder) == 0


def processes_in(folder: Path) -> int:
    """Processes that work there."""
    links = []
    for process in Path("/proc").glob("[0-9]*/cwd"):
        with contextlib.suppress(OSError):
            links.append(os.readlink(process))
    return links.count(str(folder))


def test_units_that_are_complete_are_not_encoded_again(
    config, small_units, tmp_path, folder_bytes, monkeypatch
):
    run(config, out=str(tmp_path / "whole"))
    encoded: list[str] = []
    encode = local_runner.encode_documents
    stop_at = 250

    def encode_some(raws):
        if len(encoded) > stop_at:
            raise KeyboardInterrupt
        encoded.extend(raw.where for raw in raws)
        return encode(raws)

    monkeypatch.setattr(local_runner, "encode_documents", encode_some)
    with pytest.raises(KeyboardInterrupt):
        run(config)
    before = len(list((tmp_path / "shards" / "in_progress").glob("*.unit")))
    assert before > 5
    # One in the middle is damaged, and is made anew from where it begins.
    damaged = tmp_path / "shards" / "in_progress" / "encoded-000003.unit"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    encoded_at_first, encoded[:], stop_at = set(encoded), [], sum(SIZES)
    recorder = Recorder()
    run(config, recorder)
    assert any(f"{before - 1} parts of the text are done" in line for line in recorder.said)
    assert len(encoded) == len(set(encoded))
    again = encoded_at_first & set(encoded)
    assert 0 < len(again) < 60 and len(encoded_at_first | set(encoded)) == sum(SIZES)
    assert folder_bytes(tmp_path / "shards") == folder_bytes(tmp_path / "whole")


@pytest.mark.parametrize("unit_bytes", [3_000, 1 << 30])
@pytest.mark.parametrize("values", [{}, {"near_duplicates": 0.8}])
def test_units_that_were_cut_otherwise_are_made_anew(
    config, small_units, tmp_path, folder_bytes, monkeypatch, unit_bytes, values
):
    config = dataclasses.replace(config, **values)
    run(config, out=str(tmp_path / "whole"))
    with monkeypatch.context() as patch:
        patch.setattr(local_runner, "gather", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run(config)
    for damaged in (tmp_path / "shards" / "in_progress").glob("*-000003.unit"):
        damaged.write_bytes(b"")
    monkeypatch.setattr(units, "UNIT_BYTES", unit_bytes)
    run(config)
    assert folder_bytes(tmp_path / "shards") == folder_bytes(tmp_path / "whole")


@pytest.mark.parametrize("values", [{}, {"near_duplicates": 0.8}])
def test_units_of_short_documents_are_cut_by_their_number(
    config, tmp_path, folder_bytes, monkeypatch, values
):
    config = dataclasses.replace(config, **values)
    run(config, out=str(tmp_path / "whole"))
    monkeypatch.setattr(units, "UNIT_DOCUMENTS", 100)
    written = Written()
    monkeypatch.setattr(spilling, "write_unit", written)
    run(config)
    num_units = -(-sum(SIZES) // 100)
    assert written.num_documents == ([100] * (num_units - 1) + [sum(SIZES) % 100]) * (
        2 if values else 1
    )
    assert folder_bytes(tmp_path / "shards") == folder_bytes(tmp_path / "whole")


class Written:
    """Remembers how many documents the units are of that it writes."""

    def __init__(self) -> None:
        self.num_documents: list[int] = []

    def __call__(self, path, arrays, **header) -> None:
        self.num_documents.append(header["counts"]["documents"])
        units.write_unit(path, arrays, **header)


def test_a_unit_is_opened_once_for_each_shard(config, small_units, monkeypatch):
    opened: list[str] = []

    class Opened(type(epath.Path(config.out))):
        def open(self, *arguments, **options):
            opened.append(self.name)
            return super().open(*arguments, **options)

    def gather(found, ranges):
        watched = [dataclasses.replace(it, path=Opened(it.path)) for it in found]
        num_opened.append(len(watched) * (1 + len(ranges)))
        return original(watched, ranges)

    num_opened: list[int] = []
    original = local_runner.gather
    monkeypatch.setattr(local_runner, "gather", gather)
    run(config)
    assert [len(opened)] == num_opened and num_opened[0] > 50


def test_a_unit_that_vanishes_is_never_passed_over(config, small_units, monkeypatch):
    def without_the_third(folder, kind):
        return {number: unit for number, unit in find(folder, kind).items() if number != 2}

    find = spilling.find_units
    monkeypatch.setattr(spilling, "find_units", without_the_third)
    with pytest.raises(AssertionError, match="unit 2 is missing"):
        run(config)


def test_only_documents_of_missing_shards_are_encoded_again(config, tmp_path, monkeypatch):
    manifest = run(config)
    lost = manifest.splits["train"][1]
    path = tmp_path / "shards" / lost.file("tokens")
    content = path.read_bytes()
    path.unlink()
    tokenized = []
    encode = local_runner.encode_documents

    def encode_and_count(raws):
        result = encode(raws)
        tokenized.append(int((result.document_lengths > 0).sum()))
        return result

    monkeypatch.setattr(local_runner, "encode_documents", encode_and_count)
    assert run(config) == manifest
    assert path.read_bytes() == content
    assert sum(tokenized) == lost.num_documents


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_the_number_of_processes_changes_nothing(
    config, small_units, tmp_path, folder_bytes, workers
):
    run(config, num_workers=workers)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(units, "UNIT_BYTES", 1 << 30)
        run(config, out=str(tmp_path / "whole"))
    assert folder_bytes(tmp_path / "shards") == folder_bytes(tmp_path / "whole")


def test_the_same_documents_in_other_files_make_the_same_shards(config, write_stories, tmp_path):
    first = run(config)
    write_stories([200, 1, 96, 198, 1], folder="others")
    tokenizer = str(tmp_path / "shards" / "tokenizer.model")
    second = run(
        config, source=(f"text:{tmp_path}/others/*.txt",), out=str(tmp_path / "second"),
        tokenizer=tokenizer,
    )  # fmt: skip
    third = run(config, out=str(tmp_path / "third"), tokenizer=tokenizer)
    assert first.splits == second.splits == third.splits


class FullAfter:
    """A disk on which only so many more files can be written."""

    def __init__(self, num_files: int, *, when: str) -> None:
        self.left = num_files
        self.when = when

    def __call__(self, path, *parts) -> None:
        self.left -= 1
        if self.left < 0:
            if self.when == "closing":
                path.write_text("half")
            raise OSError(errno.ENOSPC, "No space left on device")
        path.write_bytes(b"".join(parts))


SURVEYED = {"near_duplicates": 0.8, "mixture": (1.0,)}


@pytest.mark.parametrize("when", ["writing", "closing"])
@pytest.mark.parametrize("num_files", [0, 1, 4, 12, 70])
@pytest.mark.parametrize("values", [{}, SURVEYED], ids=["as it comes", "surveyed"])
def test_without_room_what_is_complete_is_kept(
    config, small_units, tmp_path, folder_bytes, monkeypatch, num_files, when, values
):
    config = dataclasses.replace(config, **values)
    run(config, out=str(tmp_path / "whole"))
    with monkeypatch.context() as patch:
        patch.setattr(files, "write_bytes", FullAfter(num_files, when=when))
        with pytest.raises(FullDisk, match=r"must be written, found no room .*MB free.* goes on"):
            run(config)
    left = folder_bytes(tmp_path / "shards")
    assert len(left) == num_files
    assert not any(name.endswith(".tmp") for name in left)
    run(config)
    assert folder_bytes(tmp_path / "shards") == folder_bytes(tmp_path / "whole")


def test_killed_behind_its_manifest_it_leaves_no_progress_to_the_next_run(
    config, tmp_path, folder_bytes, monkeypatch
):
    manifest = run(config, out=str(tmp_path / "whole"))
    with monkeypatch.context() as patch:
        patch.setattr("spanbert_jax.corpus.prepare.remove_progress", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run(config)
    assert (tmp_path / "shards" / "in_progress").exists()
    assert run(config) == manifest
    assert not (tmp_path / "shards" / "in_progress").exists()
    assert folder_bytes(tmp_path / "shards") == folder_bytes(tmp_path / "whole")


@pytest.mark.parametrize("values", [{"near_duplicates": 0.8}, {"mixture": (1.0,)}])
@pytest.mark.parametrize("step", ["survey_corpus", "_collect", "tokenizer_sentences"])
def test_interrupted_before_the_tokenizer_it_goes_on(
    config, small_units, tmp_path, folder_bytes, monkeypatch, values, step
):
    config = dataclasses.replace(config, **values)
    run(config, out=str(tmp_path / "whole"))
    module = local_survey if step == "_collect" else local_runner
    with monkeypatch.context() as patch:
        patch.setattr(module, step, interrupt)
        with pytest.raises(KeyboardInterrupt, match="the same command goes on from there"):
            run(config)
    run(config)
    assert folder_bytes(tmp_path / "shards") == folder_bytes(tmp_path / "whole")


def test_a_folder_named_in_progress_of_another_is_not_touched(config, tmp_path):
    (tmp_path / "shards" / "in_progress").mkdir(parents=True)
    with pytest.raises(UserError, match="found in_progress of no earlier run"):
        run(config)
    assert (tmp_path / "shards" / "in_progress").exists()
