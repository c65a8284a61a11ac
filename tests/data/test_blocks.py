"""Blocks hold whole sentences of one document, and no token is lost."""

import itertools

import numpy as np
import pytest

from spanbert_jax.corpus.shards import Shard
from spanbert_jax.data.blocks import (
    BlockSummary,
    RowCounts,
    Rows,
    add_counts,
    document_blocks,
    document_rows,
    reachable,
    split_long_sentences,
)


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
    rows, counts = document_rows(empty, max_tokens=10)
    assert len(rows.start) == counts.num_rows == counts.num_tokens == 0
    assert rows.row_splits.tolist() == [0]


def test_the_summary_says_how_full_rows_are_and_what_was_split_and_left_out() -> None:
    made = RowCounts(num_rows=12, num_segments=12, num_tokens=34, num_split_sentences=2)
    summary = "12 rows of 6 tokens, 80.6% filled: 34 tokens of text, 2 sentences split"
    assert str(BlockSummary(6, made)) == summary
    made = made._replace(
        num_dropped_sentences=3, num_dropped_tokens=90, num_lost_sentences=1, num_lost_tokens=4
    )
    assert str(BlockSummary(6, made)) == (
        f"{summary}, 3 over-long sentences (90 tokens) dropped and 1 (4 tokens) lost with them"
    )


def test_rows_of_blocks_hold_one_run_each_and_the_whole_text() -> None:
    piece = Shard(np.zeros(17, np.uint16), np.array([2, 4, 7, 8, 17]), np.array([3, 5]))
    rows, counts = document_rows(piece, max_tokens=4)
    assert rows.row_splits.tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert rows.start.tolist() == [0, 4, 7, 8, 12, 16]
    assert rows.length.tolist() == [4, 3, 1, 4, 4, 1]
    assert counts == RowCounts(6, 6, 17, num_split_sentences=1)
    assert counts.filled_share(6) == pytest.approx(29 / 36)


def test_the_example_of_add_counts() -> None:
    assert add_counts([RowCounts(1, 1, 5), RowCounts(2, 3, 7)]) == RowCounts(3, 4, 12)
    assert add_counts([]) == RowCounts()


def test_the_example_of_original_rows() -> None:
    sentence_ends = np.array([2, 11, 12, 14, 17, 21, 30])
    piece = Shard(np.zeros(30, np.uint16), sentence_ends, np.array([4, 7]))
    rows, counts = document_rows(piece, max_tokens=4, over_long="original")
    assert rows.row_splits.tolist() == [0, 2, 3, 4]
    assert rows.start.tolist() == [0, 11, 12, 14]
    assert rows.length.tolist() == [2, 1, 2, 3]
    assert counts == RowCounts(
        num_rows=3, num_segments=3, num_tokens=8, num_dropped_sentences=2, num_dropped_tokens=18,
        num_lost_sentences=1, num_lost_tokens=4,
    )  # fmt: skip


def blocks_of_the_original(piece: Shard, max_tokens: int) -> list[list[int]]:
    """Offsets of the tokens of every block, by the loop that the released code is."""
    blocks, ends = [], [0, *piece.sentence_ends]
    for first, last in zip([0, *piece.document_ends], piece.document_ends, strict=False):
        block: list[int] = []
        for sentence in range(first, last):
            tokens = list(range(ends[sentence], ends[sentence + 1]))
            if len(tokens) <= max_tokens:
                if len(block) + len(tokens) > max_tokens:
                    blocks.append(block)
                    block = []
                block = block + tokens
                if sentence == last - 1:
                    blocks.append(block)
    return blocks


def tokens_of_rows(rows: Rows) -> list[list[int]]:
    runs = [list(range(a, a + n)) for a, n in zip(rows.start, rows.length, strict=True)]
    return [sum(runs[a:b], []) for a, b in itertools.pairwise(rows.row_splits)]


@pytest.mark.parametrize("max_tokens", [1, 5, 30, 126, 1_000])
@pytest.mark.parametrize("num_documents, max_sentence", [(1, 3), (50, 40), (40, 400)])
def test_original_rows_equal_those_of_the_originals_loop(
    max_tokens: int, num_documents: int, max_sentence: int
) -> None:
    piece = random_shard(max_tokens, num_documents=num_documents, max_sentence=max_sentence)
    rows, counts = document_rows(piece, max_tokens=max_tokens, over_long="original")
    assert tokens_of_rows(rows) == blocks_of_the_original(piece, max_tokens)
    assert rows.length.dtype == np.int32 and rows.start.dtype == rows.row_splits.dtype == np.int64
    assert counts.num_tokens == rows.length.sum()
    left_out = counts.num_dropped_tokens + counts.num_lost_tokens
    assert counts.num_tokens + left_out == len(piece.tokens)


def test_a_document_of_over_long_sentences_takes_nothing_from_the_one_before_it() -> None:
    piece = Shard(np.zeros(23, np.uint16), np.array([3, 13, 23]), np.array([1, 3]))
    rows, counts = document_rows(piece, max_tokens=4, over_long="original")
    assert tokens_of_rows(rows) == [[0, 1, 2]]
    assert (counts.num_dropped_sentences, counts.num_lost_sentences) == (2, 0)


@pytest.mark.parametrize("over_long", ["split", "original"])
def test_a_piece_without_text_has_no_rows(over_long: str) -> None:
    empty = Shard(np.zeros(0, np.uint16), np.zeros(0, np.int64), np.zeros(0, np.int64))
    rows, counts = document_rows(empty, max_tokens=10, over_long=over_long)
    assert rows.row_splits.tolist() == [0] and len(rows.start) == len(rows.length) == 0
    assert counts == RowCounts()
