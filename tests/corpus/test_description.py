"""What is said of a folder of shards."""

import numpy as np

from spanbert_jax.corpus.description import (
    MAX_SHARDS,
    PERCENTILES,
    as_json,
    describe,
    length_percentiles,
    percentiles,
    spread,
)
from spanbert_jax.corpus.shards import Manifest, Shard, ShardInfo, TokenizerInfo, write_shard


def shard(*documents: list[int]) -> Shard:
    """Documents of sentences of so many tokens."""
    sentences = [length for document in documents for length in document]
    return Shard(
        np.zeros(sum(sentences), np.uint16),
        np.cumsum(sentences, dtype=np.int64),
        np.cumsum([len(document) for document in documents], dtype=np.int64),
    )


def manifest(splits: dict[str, tuple[ShardInfo, ...]]) -> Manifest:
    tokenizer = TokenizerInfo("vocab.txt", "wordpiece", 28_996, "abc", "def")
    counts = {"text bytes": 2_000_000, "documents": 9, "exact duplicates": 4}
    return Manifest(splits, tokenizer, "ghi", sources=("text:a.txt", "text:b.txt"), counts=counts)


def test_the_example_of_percentiles():
    assert percentiles(np.array([4, 1, 3, 2])) == [1, 1, 1, 2, 3, 4, 4, 4]


def test_no_length_has_no_percentiles():
    assert percentiles(np.zeros(0, np.int64)) == [0] * len(PERCENTILES)


def test_shards_are_spread_over_their_split():
    infos = [ShardInfo(str(i), "uint16", 0, 0, 0, 0, {}) for i in range(10)]
    assert [info.name for info in spread(infos, 3)] == ["0", "3", "6"]
    assert spread(infos, 10) == infos


def test_lengths_of_sentences_and_documents_are_those_of_all_shards(tmp_path):
    train = (
        write_shard(tmp_path, "train-0", shard([5, 1], [2])),
        write_shard(tmp_path, "train-1", shard([7], [3, 3, 3])),
    )
    lengths = length_percentiles(tmp_path, manifest({"train": train, "held_out": ()}))
    assert list(lengths) == ["train"]
    # Sentences of 1, 2, 3, 3, 3, 5, 7 tokens; documents of 2, 6, 7, 9.
    assert lengths["train"]["sentences"] == [1, 1, 2, 3, 5, 7, 7, 7]
    assert lengths["train"]["documents"] == [2, 2, 2, 6, 7, 9, 9, 9]


def test_a_folder_is_described_in_words_and_in_json(tmp_path):
    train = (write_shard(tmp_path, "train-0", shard([5, 1], [2])),)
    made = manifest({"train": train, "held_out": ()})
    lengths = length_percentiles(tmp_path, made)
    text = "\n".join(describe("/data/shards", made, lengths))
    for part in (
        "/data/shards: shards of format", "tokenizer: wordpiece, 28,996 entries, vocab.txt",
        "source: text:a.txt\nsource: text:b.txt\n", "train: 8 tokens, 3 sentences, 2 documents",
        "read: 9 documents, 2.0 MB", "left out: 4 exact duplicates", "no document is held out",
        "train documents", "50%",
    ):  # fmt: skip
        assert part in text
    tree = as_json("/data/shards", made, lengths)
    assert tree["splits"]["train"]["num_tokens"] == 8
    assert tree["splits"]["train"]["num_shards"] == 1
    assert tree["length_percentiles"]["train"]["documents"]["100%"] == 6
    assert tree["counts"]["exact duplicates"] == 4


def test_it_is_said_when_lengths_are_of_some_shards_alone(tmp_path):
    infos = tuple(write_shard(tmp_path, f"train-{i}", shard([i + 1])) for i in range(9))
    made = manifest({"train": infos, "held_out": infos[:1]})
    lines = describe("/data/shards", made, length_percentiles(tmp_path, made))
    assert lines[-1] == f"(lengths of train: from {MAX_SHARDS} shards of each)"
