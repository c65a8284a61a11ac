"""Shards: what is written is what is read, and whatever is broken is named."""

import json

import numpy as np
import pytest

from spanbert_jax.corpus.files import sha256_of
from spanbert_jax.corpus.shards import (
    MANIFEST_FILE,
    UNIGRAM_FILE,
    Manifest,
    Shard,
    TokenizerInfo,
    count_unigrams,
    load_shard,
    read_manifest,
    read_unigram_counts,
    token_dtype,
    verify_shards,
    write_array,
    write_manifest,
    write_shard,
)
from spanbert_jax.errors import UserError

# Two documents, [5 6 7] [8] of two sentences and [9 9] of one.
TOKENS, SENTENCE_ENDS, DOCUMENT_ENDS = [5, 6, 7, 8, 9, 9], [3, 4, 6], [2, 3]
VOCAB_SIZE = 10


def small_shard() -> Shard:
    return Shard(
        np.array(TOKENS, np.uint16), np.array(SENTENCE_ENDS, np.int64), np.array(DOCUMENT_ENDS)
    )


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "tokenizer.model").write_bytes(b"a model")
    info = write_shard(tmp_path, "train-00000", small_shard())
    unigram = count_unigrams(tmp_path, (info,), vocab_size=VOCAB_SIZE)
    manifest = Manifest(
        splits={"train": (info,), "held_out": ()},
        tokenizer=TokenizerInfo(
            file="tokenizer.model",
            kind="sentencepiece",
            vocab_size=VOCAB_SIZE,
            fingerprint="f00d",
            sha256=sha256_of(tmp_path / "tokenizer.model"),
        ),
        unigram_sha256=write_array(tmp_path / UNIGRAM_FILE, unigram),
        sources=("text:*.txt",),
        options={"vocab_size": VOCAB_SIZE},
        counts={"empty documents": 1},
    )
    write_manifest(tmp_path, manifest)
    return tmp_path


def test_what_is_written_is_read_back(folder):
    manifest = read_manifest(folder)
    shard = load_shard(folder, manifest.splits["train"][0])
    assert shard.tokens.tolist() == TOKENS
    assert shard.tokens.dtype == np.uint16
    assert shard.sentence_ends.tolist() == SENTENCE_ENDS
    assert shard.document_ends.tolist() == DOCUMENT_ENDS
    assert read_unigram_counts(folder, manifest).tolist() == [0, 0, 0, 0, 0, 1, 1, 1, 1, 2]
    assert manifest.totals["train"] == {
        "num_tokens": 6,
        "num_sentences": 3,
        "num_documents": 2,
        "num_spans": 0,
    }
    assert manifest.totals["held_out"] == {
        "num_tokens": 0,
        "num_sentences": 0,
        "num_documents": 0,
        "num_spans": 0,
    }
    assert manifest.sources == ("text:*.txt",)
    verify_shards(folder, manifest)


def test_the_files_of_a_shard_are_plain_arrays(folder):
    words, table = (np.load(folder / f"train-00000.{name}.npy") for name in ("tokens", "pieces"))
    assert words.dtype == np.uint16
    assert words[:6].tolist() == TOKENS
    # Lengths of sentences, then of documents, as uint32.
    assert words[6:].view(np.uint32).tolist() == [3, 1, 2, 2, 1]
    assert table["num_tokens"].tolist() == [6]
    size = (folder / "train-00000.tokens.npy").stat().st_size
    assert table["offset"].tolist() == [size - words.nbytes]


def test_no_temporary_file_is_left(folder):
    assert not list(folder.glob("*.tmp"))


def test_ids_take_two_bytes_where_the_vocabulary_allows():
    assert token_dtype(65_536) == np.uint16
    assert token_dtype(65_537) == np.uint32


@pytest.mark.parametrize("array", ["tokens", "pieces"])
def test_a_missing_file_is_named(folder, array):
    (folder / f"train-00000.{array}.npy").unlink()
    manifest = read_manifest(folder)
    for read in (
        lambda: verify_shards(folder, manifest),
        lambda: load_shard(folder, manifest.splits["train"][0]),
    ):
        with pytest.raises(UserError, match=rf"train-00000.{array}.npy: is missing; .*prepare"):
            read()


def test_a_truncated_file_is_named(folder):
    path = folder / "train-00000.tokens.npy"
    path.write_bytes(path.read_bytes()[:-3])
    manifest = read_manifest(folder)
    with pytest.raises(UserError, match="train-00000.tokens.npy: is truncated"):
        verify_shards(folder, manifest)
    with pytest.raises(UserError, match="train-00000.tokens.npy: is truncated"):
        load_shard(folder, manifest.splits["train"][0])


def test_a_file_of_another_length_is_named(folder):
    np.save(folder / "train-00000.tokens.npy", np.zeros(4, np.uint16))
    with pytest.raises(UserError, match=r"truncated or damaged \(136 bytes instead of 160\)"):
        load_shard(folder, read_manifest(folder).splits["train"][0])


@pytest.mark.parametrize(
    "name", ["train-00000.tokens.npy", "train-00000.pieces.npy", UNIGRAM_FILE, "tokenizer.model"]
)
def test_one_altered_byte_is_found_and_named(folder, name):
    content = bytearray((folder / name).read_bytes())
    content[-1] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(UserError, match=f"{name}: is truncated or altered"):
        verify_shards(folder, read_manifest(folder))


def test_a_folder_without_a_manifest_is_an_error(tmp_path):
    with pytest.raises(UserError, match="must hold manifest.json.*spanbert prepare"):
        read_manifest(tmp_path)


def test_a_manifest_of_another_format_version_is_an_error(folder):
    content = json.loads((folder / MANIFEST_FILE).read_text())
    (folder / MANIFEST_FILE).write_text(json.dumps(content | {"format_version": 99}))
    with pytest.raises(UserError, match="format version 99, this program reads version 2"):
        read_manifest(folder)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"format_version": 2}'])
def test_a_damaged_manifest_is_an_error(folder, text):
    (folder / MANIFEST_FILE).write_text(text)
    with pytest.raises(UserError, match="manifest.json: is (not a manifest|damaged)"):
        read_manifest(folder)


def test_unigram_counts_of_another_vocabulary_are_an_error(folder):
    np.save(folder / UNIGRAM_FILE, np.zeros(3, np.int64))
    with pytest.raises(UserError, match=r"holds \(3,\) counts, not 10"):
        read_unigram_counts(folder, read_manifest(folder))
