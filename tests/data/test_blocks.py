"""Blocks hold whole sentences of one document, and no token is lost."""

import numpy as np
import pytest

from spanbert_jax.corpus.shards import Shard
from spanbert_jax.data.blocks import cut_blocks, document_blocks, reachable, split_long_sentences


def greedy_blocks(shard: Shard, max_tokens: int) -> list[tuple[int, int]]:
    """One sentence after the other; (start, length) of every block."""
    blocks: list[tuple[int, int]] = []
    ends = [0, *shard.sentence_ends]
    for first, last in zip([0, *shard.document_ends], shard.document_ends, strict=False):
        start = end = ends[first]
        for sentence in range(first, last):
            piece = ends[sentence]
            while piece < ends[sentence + 1]:
                piece_end = min(piece + max_tokens, ends[sentence + 1])
                if piece_end - start > max_tokens:
                    blocks.append((start, end - start))
                    start = piece
                piece = end = piece_end
        if end > start:
            blocks.append((start, end - start))
    return blocks


def random_shard(seed: int, *, num_documents: int, max_sentence: int) -> Shard:
    rng = np.random.default_rng(seed)
    document_ends = np.cumsum(rng.integers(1, 20, num_documents))
    sentence_ends = np.cumsum(rng.integers(1, max_sentence + 1, document_ends[-1]))
    return Shard(np.zeros(sentence_ends[-1], np.uint16), sentence_ends, document_ends)


def test_the_example_of_document_blocks() -> None:
    starts, lengths = document_blocks(
        np.array([2, 4, 7, 8, 17]), document_ends=np.array([3, 5]), max_tokens=4
    )
    assert starts.tolist() == [0, 4, 7, 8, 12, 16]
    assert lengths.tolist() == [4, 3, 1, 4, 4, 1]


def test_the_example_of_split_long_sentences() -> None:
    ends, documents = split_long_sentences(
        np.array([2, 11]), document_ends=np.array([2]), max_tokens=4
    )
    assert ends.tolist() == [2, 6, 10, 11]
    assert documents.tolist() == [4]


def test_the_example_of_reachable() -> None:
    assert reachable(np.array([2, 3, 3, 4]), roots=np.array([0])).tolist() == [1, 0, 1, 1]


@pytest.mark.parametrize("max_tokens", [1, 5, 30, 126])
@pytest.mark.parametrize("num_documents, max_sentence", [(1, 3), (50, 40), (40, 400)])
def test_blocks_equal_those_packed_one_sentence_after_the_other(
    max_tokens: int, num_documents: int, max_sentence: int
) -> None:
    shard = random_shard(max_tokens, num_documents=num_documents, max_sentence=max_sentence)
    starts, lengths = document_blocks(
        shard.sentence_ends, document_ends=shard.document_ends, max_tokens=max_tokens
    )
    actual = list(zip(starts.tolist(), lengths.tolist(), strict=True))
    assert actual == greedy_blocks(shard, max_tokens)


def test_one_document_of_many_blocks_is_cut_like_any_other() -> None:
    sentence_ends = np.arange(10, 100_001, 10)
    starts, lengths = document_blocks(
        sentence_ends, document_ends=np.array([10_000]), max_tokens=25
    )
    np.testing.assert_array_equal(starts, np.arange(0, 100_000, 20))
    assert set(lengths.tolist()) == {20}


def test_empty_sentences_and_documents_make_no_blocks() -> None:
    starts, lengths = document_blocks(
        np.array([0, 3, 3, 5, 5]), document_ends=np.array([0, 2, 2, 4, 5]), max_tokens=4
    )
    assert starts.tolist() == [0, 3]
    assert lengths.tolist() == [3, 2]


def test_a_shard_without_text_has_no_blocks() -> None:
    empty = Shard(np.zeros(0, np.uint16), np.zeros(0, np.int64), np.zeros(0, np.int64))
    blocks, summary = cut_blocks([empty], max_tokens=10)
    assert len(blocks.start) == summary.num_blocks == summary.num_tokens == 0


def test_the_summary_counts_padding_and_split_sentences() -> None:
    shard = Shard(np.zeros(17, np.uint16), np.array([2, 4, 7, 8, 17]), np.array([3, 5]))
    blocks, summary = cut_blocks([shard, shard], max_tokens=4)
    assert blocks.shard.tolist() == [0] * 6 + [1] * 6
    assert summary.num_blocks == 12
    assert summary.num_split_sentences == 2
    assert summary.padding_share == pytest.approx(1 - 34 / 48)
    assert str(summary) == (
        "12 blocks of up to 4 tokens: 34 tokens, 29.2% padding, 2 over-long sentences split"
    )
