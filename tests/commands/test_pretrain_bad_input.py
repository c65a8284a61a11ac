"""What `spanbert pretrain` refuses: one paragraph with rule, value and remedy, and nothing lost.

In this process: JAX sees the eight devices of all tests.
"""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from spanbert_jax.__main__ import main

Refused = Callable[..., str]


@pytest.fixture(scope="module")
def project(finished, tiny, tmp_path_factory) -> Path:
    """A folder with a finished run in run/, its shards, and shards that do not suit it."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("run", "shards"):
        shutil.copytree(tiny / name, folder / name)
    for name in ("text.txt", "tiny.py"):
        shutil.copy(tiny / name, folder)
    (folder / "empty.txt").write_text(" \n\n")
    prepare = ["prepare", "--source", f"text:{folder}/text.txt", "--sentencepiece-type", "bpe"]
    for name, *flags in (
        ("other_tokenizer", "--vocab-size", "200", "--tokenizer", "wordpiece"),
        ("other_size", "--vocab-size", "150"),
        ("no_held_out", "--vocab-size", "200", "--held-out", "0"),
    ):
        assert main([*prepare, "--out", f"{folder}/{name}", *flags]) == 0
    return folder


@pytest.fixture
def refused(project, capsys, monkeypatch, snapshot) -> Refused:
    """refused("--flag", "value"): the error of a run in project/run; no byte may have changed."""

    def run(*flags: str, cwd: Path = project) -> str:
        monkeypatch.chdir(cwd)
        before = snapshot(cwd)
        capsys.readouterr()
        assert main(["pretrain", "tiny.py:tiny", *flags]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        *said, error = err.splitlines()
        # What preparing text says before the mistake is found.
        for line in said:
            assert line == "shards: found complete, nothing to do" or line.startswith("training a ")
        assert error.startswith("spanbert: error: ")
        assert snapshot(cwd) == before
        return error.removeprefix("spanbert: error: ")

    return run


@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        (["--data.batch-sise", "8"],
         ["no flag --data.batch-sise", "nearest one is --data.batch-size", "--help lists"]),
        (["--optimizer.learning-rate", "-3"],
         ["--optimizer.learning-rate -3.0: must be greater than 0", "use for instance 1e-4"]),
        (["--masking.mask-ratio", "1.5"],
         ["--masking.mask-ratio 1.5: must be between 0 and 1", "use 0.15"]),
        (["--prepare.held-out", "1.5"],
         ["--prepare.held-out 1.5: must be a fraction", "use 0.01"]),
        (["--data.sequence-length", "64"],
         ["--data.sequence-length 64: is longer than --model.max-positions 32",
          "use at most 32, or raise --model.max-positions"]),
        (["--data.batch-size", "12"],
         ["--data.batch-size 12: is not divisible by the 8 devices", "use 8 or 16"]),
        (["--data.batch-size", "24", "--training.num-microbatches", "2"],
         ["--data.batch-size 24: in 2 microbatches", "use 16 or 32"]),
        (["--mesh.data", "3"], ["--mesh.data", "asks for 3 devices, found 8", "--mesh.data -1"]),
        (["--model.vocab-size", "300"],
         ["--model.vocab-size 300: is not the 200 entries", "use 200, or leave it out"]),
        (["--model.num-layers", "2"],
         ["goes on with the model, masking and blocks it began with",
          "--model.num-layers from 1 to 2",
          "put it back, or start a new run in another --workdir"]),
        (["--model.num-layers", "2", "--masking.scheme", "subword"],
         ["--model.num-layers from 1 to 2, --masking.scheme from geometric_span to subword",
          "put them back"]),
        (["--training.num-steps", "399"],
         ["--training.num-steps 399: is less than the 400 steps", "use more steps"]),
        (["--fill", "The old [MASK] .", "No mask."], ["'No mask.' has no [MASK]", "write [MASK]"]),
        (["--fill", "[MASK]" + " mountain" * 32], ["tokens", "at most 32", "shorten the text"]),
    ],
)  # fmt: skip
def test_a_value_that_cannot_be_is_refused_and_the_run_stays_as_it_is(refused, flags, parts):
    message = refused(*flags)
    for part in parts:
        assert part in message


# --prepare.source without a value: the shards are used as they are.
SHARDS_AS_THEY_ARE = ("--prepare.source", "--data.shards")


@pytest.mark.parametrize("shards", ["other_tokenizer", "other_size"])
def test_a_run_does_not_go_on_with_shards_of_another_tokenizer(refused, shards):
    message = refused(*SHARDS_AS_THEY_ARE, shards)
    assert f"--data.shards {shards}: a run goes on with the tokenizer it began with" in message
    fingerprints = re.findall(r"[(\s]([0-9a-f]{12})\)", message)
    assert len(set(fingerprints)) == 2
    assert "start a new run in another --workdir" in message


def test_annotated_spans_are_not_masked_in_shards_that_hold_none(refused):
    message = refused("--workdir", "new", "--masking.scheme", "tagged_span")
    assert message.startswith("--masking.scheme tagged_span: hides annotated spans, of which the")
    assert "`spanbert prepare --tag spacy:ents`" in message
    assert message.endswith("or use --masking.scheme geometric_span")


def test_shards_without_held_out_documents_are_refused_before_the_first_step(refused):
    message = refused(*SHARDS_AS_THEY_ARE, "no_held_out", "--workdir", "new")
    assert "--data.shards no_held_out: the held_out split must hold at least one doc" in message
    assert "--held-out 0.01" in message


def test_shards_of_another_source_are_refused(refused):
    message = refused("--prepare.source", "text:tiny.py")
    assert "--data.shards shards: holds shards of --prepare.source text:text.txt" in message
    assert "not text:tiny.py; use another --data.shards" in message


TOKENS = "train-00000.tokens.npy"


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (lambda path: path.unlink(), "is missing"),
        (lambda path: path.write_bytes(path.read_bytes()[:-100]), "is truncated or altered"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1] + b"?"), "is truncated or altered"),
    ],
    ids=["missing", "truncated", "altered"],
)
@pytest.mark.parametrize("file", [TOKENS, "held_out-00000.pieces.npy", "unigram.npy"])
def test_a_damaged_shard_is_named(refused, project, tmp_path, file, damage, found):
    shards = tmp_path / "shards"
    shutil.copytree(project / "shards", shards)
    damage(shards / file)
    message = refused(*SHARDS_AS_THEY_ARE, str(shards), "--data.verify-shards")
    assert f"{shards}/{file}: {found}" in message
    assert "run `spanbert prepare` again" in message


@pytest.fixture
def before_any_run(project, tmp_path) -> Path:
    """A folder with text and config alone."""
    for name in ("text.txt", "tiny.py", "empty.txt"):
        shutil.copy(project / name, tmp_path)
    return tmp_path


def test_a_workdir_that_cannot_be_made_is_refused_before_text_is_prepared(refused, before_any_run):
    message = refused("--workdir", "text.txt/runs/a", cwd=before_any_run)
    assert "--workdir text.txt/runs/a: must be a folder that can be written" in message
    assert f"found {before_any_run}/text.txt, which is a file; choose another" in message


def test_a_source_without_text_is_refused_and_leaves_no_folder(refused, before_any_run):
    message = refused("--prepare.source", "text:empty.txt", cwd=before_any_run)
    assert "--prepare.source text:empty.txt: must hold text, found no document" in message
    assert "check the files" in message


def test_a_source_that_names_no_file_is_refused(refused, before_any_run):
    message = refused("--prepare.source", "text:nowhere/*.txt", cwd=before_any_run)
    assert "--prepare.source text:nowhere/*.txt: must name a file" in message


def test_too_large_a_vocabulary_is_named_by_its_flag_here(refused, before_any_run):
    message = refused("--prepare.vocab-size", "5000", cwd=before_any_run)
    assert message.startswith("--prepare.vocab-size 5000: ")


def test_neither_shards_nor_source_is_refused(refused, before_any_run):
    message = refused("--prepare.source", "--data.shards", "", cwd=before_any_run)
    assert "--data.shards is missing" in message
    assert "--prepare.source 'text:/data/*.txt'" in message


def test_a_folder_that_holds_no_shards_is_refused(refused, before_any_run):
    message = refused("--prepare.source", "--data.shards", "nothing", cwd=before_any_run)
    assert "nothing: a folder of shards must hold manifest.json, found none" in message
    assert "run `spanbert prepare --out nothing` first" in message
