"""Small folders of shards, written through the corpus layer."""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from spanbert_jax.corpus.files import sha256_of
from spanbert_jax.corpus.shards import (
    UNIGRAM_FILE,
    Manifest,
    Shard,
    ShardInfo,
    TokenizerInfo,
    count_unigrams,
    write_array,
    write_manifest,
    write_shard,
)
from spanbert_jax.corpus.tokenizers.word_piece import parse_vocabulary

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PIECES += [f"word{i}" for i in range(60)] + [f"##piece{i}" for i in range(35)]

Document = Sequence[Sequence[int]]
"""Token ids of its sentences."""
MakeShards = Callable[..., Path]


def shard_of(documents: Sequence[Document]) -> Shard:
    sentences = [sentence for document in documents for sentence in document]
    return Shard(
        np.array([token for sentence in sentences for token in sentence], np.uint16),
        np.cumsum([len(sentence) for sentence in sentences], dtype=np.int64),
        np.cumsum([len(document) for document in documents], dtype=np.int64),
    )


def write_split(folder: Path, split: str, shards: Sequence[Sequence[Document]]) -> list[ShardInfo]:
    return [
        write_shard(folder, f"{split}-{i:05d}", shard_of(documents))
        for i, documents in enumerate(shards)
    ]


def write_shards(
    folder: Path, *, train: Sequence[Sequence[Document]], held_out: Sequence[Sequence[Document]]
) -> Path:
    """One shard for every list of documents."""
    folder.mkdir(parents=True)
    tokenizer = parse_vocabulary("\n".join(PIECES), lowercase=False, where="test")
    file = tokenizer.save(folder)
    splits = {
        "train": tuple(write_split(folder, "train", train)),
        "held_out": tuple(write_split(folder, "held_out", held_out)),
    }
    counts = count_unigrams(folder, splits["train"], vocab_size=tokenizer.vocab_size)
    info = TokenizerInfo(
        file=file,
        kind=tokenizer.kind,
        vocab_size=tokenizer.vocab_size,
        fingerprint=tokenizer.fingerprint,
        sha256=sha256_of(folder / file),
    )
    unigram_sha256 = write_array(folder / UNIGRAM_FILE, counts)
    write_manifest(folder, Manifest(splits, info, unigram_sha256, sources=("test",)))
    return folder


def random_documents(rng: np.random.Generator, num_documents: int) -> list[Document]:
    """Documents of 1 to 8 sentences of 1 to 30 tokens."""
    return [
        [rng.integers(5, len(PIECES), rng.integers(1, 31)) for _ in range(rng.integers(1, 9))]
        for _ in range(num_documents)
    ]


@pytest.fixture(scope="session")
def make_shards(tmp_path_factory: pytest.TempPathFactory) -> MakeShards:
    """make_shards(train=[30, 20], held_out=[7]): a folder with so many documents in each shard."""

    def make(*, train: Sequence[int], held_out: Sequence[int]) -> Path:
        rng = np.random.default_rng(0)
        return write_shards(
            tmp_path_factory.mktemp("data") / "shards",
            train=[random_documents(rng, number) for number in train],
            held_out=[random_documents(rng, number) for number in held_out],
        )

    return make


@pytest.fixture
def shards_of_documents(tmp_path: Path) -> Callable[..., Path]:
    """shards_of_documents(train=[[document, ...]], held_out=[...]): documents shard by shard."""
    return functools.partial(write_shards, tmp_path / "shards")


@pytest.fixture(scope="session")
def shards_folder(make_shards: MakeShards) -> Path:
    """Two train shards and a held-out one."""
    return make_shards(train=[30, 20], held_out=[7])
