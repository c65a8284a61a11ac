"""On Beam the shards are the same bytes as those that one machine makes."""

import dataclasses
import errno
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from etils import epath

from spanbert_jax.config import PrepareConfig
from spanbert_jax.corpus import beam_runner, job
from spanbert_jax.corpus import files as corpus_files
from spanbert_jax.corpus.files import FullDisk
from spanbert_jax.corpus.prepare import prepare
from spanbert_jax.corpus.progress import SilentProgress
from spanbert_jax.corpus.record import Record
from spanbert_jax.corpus.sources import find_source
from spanbert_jax.errors import UserError

# Beam is full of them, at our expense.
pytestmark = pytest.mark.filterwarnings("ignore")

IN_THIS_PROCESS = "--runner=DirectRunner --direct_running_mode=in_memory"
IN_TWO = "--runner=DirectRunner --direct_running_mode=multi_processing --direct_num_workers=2"
WORDS = (
    "river mountain window garden letter winter summer bridge castle forest market kitchen engine "
    "doctor teacher village ocean island desert planet silver copper golden quiet narrow ancient"
).split()


def story(number: int) -> str:
    source = random.Random(number)
    sentences = (source.choices(WORDS, k=source.randint(5, 12)) for _ in range(8))
    return " ".join(f"{' '.join(words).capitalize()}." for words in sentences)


@pytest.fixture
def config(tmp_path, monkeypatch) -> PrepareConfig:
    monkeypatch.setattr(job, "TASK_CHARACTERS", 4_000)
    for name, numbers in {"a": range(100), "b": range(90, 200), "c": range(200, 203)}.items():
        texts = list(map(story, numbers))
        # One word of another story: a near duplicate.
        texts += [text.replace("river", "stream", 1) for text in texts[:10]] + ["\x07", "Short."]
        (tmp_path / f"{name}.txt").write_text("\n\n".join(texts))
    return PrepareConfig(
        source=(f"text:{tmp_path}/a.txt", f"text:{tmp_path}/[bc].txt"), vocab_size=110,
        out=str(tmp_path / "local"), sentencepiece_type="bpe", held_out=0.1, shard_tokens=2_000,
        tokenizer_sample_mb=0.02, num_workers=1,
    )  # fmt: skip


def on_beam(config: PrepareConfig, tmp_path, options: str = IN_THIS_PROCESS):
    config = dataclasses.replace(
        config, out=str(tmp_path / "beam"), runner="beam", beam_options=options
    )
    return prepare(config, progress=SilentProgress())


def files(folder) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


@pytest.mark.parametrize("options", [IN_THIS_PROCESS, IN_TWO], ids=["in_memory", "two processes"])
@pytest.mark.parametrize(
    "values",
    [
        {},
        {"min_characters": 20, "near_duplicates": 0.8, "mixture": (0.5, 0.5)},
        {"exact_duplicates": "keep", "near_duplicates": 0.8},
    ],
    ids=["plain", "everything", "copies kept"],
)
def test_shards_are_the_same_bytes_as_on_one_machine(config, tmp_path, options, values):
    config = dataclasses.replace(config, **values)
    manifest = prepare(config, progress=SilentProgress())
    assert len(manifest.splits["train"]) > 3 and manifest.splits["held_out"]
    if values.get("mixture"):
        assert manifest.counts["near duplicates"] >= 8
        assert manifest.counts["documents beyond the mixture"] > 0
    assert on_beam(config, tmp_path, options) == manifest
    assert files(tmp_path / "beam") == files(tmp_path / "local")


def test_what_is_gone_is_made_anew_by_either_runner(config, tmp_path):
    manifest = on_beam(config, tmp_path)
    before = files(tmp_path / "beam")
    names = [shard.file("tokens") for shard in manifest.splits["train"]]
    (tmp_path / "beam" / names[1]).unlink()
    assert on_beam(config, tmp_path) == manifest
    assert files(tmp_path / "beam") == before
    (tmp_path / "beam" / names[0]).unlink()
    again = dataclasses.replace(config, out=str(tmp_path / "beam"))
    assert prepare(again, progress=SilentProgress()) == manifest
    assert files(tmp_path / "beam") == before


@pytest.mark.parametrize("values", [{}, {"near_duplicates": 0.8}], ids=["tokenizer", "places"])
def test_a_later_run_in_the_same_process_takes_nothing_from_an_earlier_one(
    config, tmp_path, values
):
    config = dataclasses.replace(config, **values)
    on_beam(config, tmp_path)
    shutil.rmtree(tmp_path / "beam")
    for name in "abc":
        text = (tmp_path / f"{name}.txt").read_text().replace("garden", "meadow")
        # Other places are left out.
        (tmp_path / f"{name}.txt").write_text(f"{story(7)}\n\n{text}")
    manifest = prepare(config, progress=SilentProgress())
    assert on_beam(config, tmp_path) == manifest
    assert files(tmp_path / "beam") == files(tmp_path / "local")


@pytest.mark.parametrize(
    "options",
    [IN_THIS_PROCESS, "--runner=DirectRunner --direct_running_mode=multi_threading"],
    ids=["in_memory", "threads"],
)
def test_without_room_what_is_complete_is_kept(config, tmp_path, monkeypatch, options):
    write_bytes = corpus_files.write_bytes

    def full(path, *parts):
        if path.name.startswith("train-00001."):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write_bytes(path, *parts)

    with monkeypatch.context() as patched:
        patched.setattr(corpus_files, "write_bytes", full)
        with pytest.raises(FullDisk, match=r"^\S*train-00001\S*: must be written.*goes on from"):
            on_beam(config, tmp_path, options)
    kept = files(tmp_path / "beam")
    assert {"prepare.json", "tokenizer.model"} <= kept.keys()
    assert not any(name.endswith(".tmp") for name in kept)
    manifest = prepare(config, progress=SilentProgress())
    assert on_beam(config, tmp_path) == manifest
    assert files(tmp_path / "beam") == files(tmp_path / "local")


@pytest.mark.parametrize("options", [IN_THIS_PROCESS, IN_TWO], ids=["in_memory", "two processes"])
def test_bad_input_is_named_and_leaves_nothing(config, tmp_path, options):
    (tmp_path / "b.txt").write_bytes((tmp_path / "b.txt").read_bytes() + b"\n\nbad \xff byte")
    with pytest.raises(UserError, match=r"^\S*b.txt:\d+: text must be UTF-8.*latin1 -t utf-8`$"):
        on_beam(config, tmp_path, options)
    assert not (tmp_path / "beam").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--runner=NoSuchRunner", "--beam-options --runner=NoSuchRunner: .*NoSuchRunner"),
        (
            "--runner=DataflowRunner --project=mine",
            "--out .*must be a place that all workers reach",
        ),
        ("--runner='Direct", "--beam-options .*No closing quotation"),
        ("--direct_num_workers=abc", "--beam-options .*argument --direct_num_workers: invalid int"),
        ("FlinkRunner", "--beam-options .*'FlinkRunner' does not begin with --"),
        ("--direct_num_wrkers=2", "--direct_num_wrkers is unknown, perhaps .*--direct_num_workers"),
        ("--runner=FlinkRunner --its_own 2", "--out .*all workers reach with FlinkRunner"),
        ("--runner=spark", "--out .*must be a place that all workers reach with spark"),
    ],
)
def test_mistakes_in_the_options_are_named(config, tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        on_beam(config, tmp_path, options)
    assert not (tmp_path / "beam").exists()


def test_nothing_left_is_an_error(config, tmp_path):
    with pytest.raises(UserError, match="nothing is left of its 242 documents"):
        on_beam(dataclasses.replace(config, min_characters=100_000), tmp_path)
    shutil.rmtree(tmp_path / "beam", ignore_errors=True)
    with pytest.raises(UserError, match=r"nothing is left of its 242 documents \(242 "):
        on_beam(dataclasses.replace(config, min_characters=100_000, near_duplicates=0.8), tmp_path)
    assert not (tmp_path / "beam").exists()


def test_a_graph_grows_with_the_number_of_files_not_with_its_square(config, tmp_path):
    def graph_bytes(num_files: int, kind: str) -> int:
        folder = tmp_path / f"{kind}-{num_files}"
        folder.mkdir()
        for number in range(num_files):
            (folder / f"part-{number:05d}.txt").write_text("A b c.")
        source = find_source(f"{kind}:{folder}/*.txt")
        record = Record([source.spec], {it.name: it.size for it in source.inputs}, {})
        run = job.Job(config, epath.Path(folder), [source], record, SilentProgress())
        pipeline = beam_runner.new_pipeline(config)
        beam_runner._batches(pipeline, run)
        return pipeline.to_runner_api().ByteSize()

    for kind in ("text", "jsonl", "wikipedia"):
        small, middle, large = (graph_bytes(number, kind) for number in (1, 201, 401))
        assert large - middle < 1.2 * (middle - small)


@pytest.mark.skipif(shutil.which("prism") is None, reason="Beam would download the program prism")
def test_prism_makes_the_same_bytes(config, tmp_path):
    manifest = prepare(config, progress=SilentProgress())
    options = f"--runner=PrismRunner --prism_location={shutil.which('prism')}"
    assert on_beam(config, tmp_path, options) == manifest
    assert files(tmp_path / "beam") == files(tmp_path / "local")


def test_a_dataset_of_tfds_is_prepared_and_read_by_beam(tmp_path):
    # In a process of its own: TensorFlow takes seconds to import and warns as it does.
    done = subprocess.run(
        [sys.executable, "-c", "import beam_stories, pathlib, sys;"
         "beam_stories.make_shards(pathlib.Path(sys.argv[1]))", str(tmp_path)],
        cwd=Path(__file__).parent, env=os.environ | {"TFDS_DATA_DIR": str(tmp_path / "tfds")},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    same, documents, num_files = done.stdout.split()[-3:]
    assert (same, documents) == ("True", "300") and int(num_files) > 10
