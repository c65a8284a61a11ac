"""Packed rows: every token in one run, runs of one document, rows within both of their limits."""

import itertools

import numpy as np
import pytest

from spanbert_jax.config import MaskingConfig
from spanbert_jax.corpus.shards import Shard
from spanbert_jax.data.best_fit import (
    AlikeRows,
    Placed,
    RowLimits,
    _fill,
    _rows_of_placed,
    best_fit,
)
from spanbert_jax.data.blocks import RowCounts, Rows, document_rows
from spanbert_jax.data.document_runs import (
    MIN_RUN_TOKENS,
    cut_documents,
    end_of_run,
    num_cut_sentences,
)
from spanbert_jax.data.hole_filling import PlacedRuns, fill_holes, find_holes
from spanbert_jax.data.packing import packed_rows


def piece_of(sizes: np.ndarray, *, seed: int = 0, mean_sentence: int = 25) -> Shard:
    """Documents of so many tokens, in sentences of random length."""
    rng = np.random.default_rng(seed)
    ends = np.cumsum(sizes)
    is_end = rng.random(ends[-1]) < 1 / mean_sentence
    is_end[ends - 1] = True
    sentence_ends = np.flatnonzero(is_end) + 1
    document_ends = np.searchsorted(sentence_ends, ends) + 1
    return Shard(np.zeros(0, np.uint16), sentence_ends, document_ends)


SIZES = {
    "tweets": np.random.default_rng(0).normal(25, 10, 2_000).astype(int).clip(1),
    "words": np.random.default_rng(1).integers(1, 4, 3_000),
    "news": np.random.default_rng(4).normal(300, 60, 200).astype(int).clip(1),
    "articles": np.random.default_rng(2).lognormal(5.5, 1.1, 200).astype(int).clip(1),
    "books": np.random.default_rng(3).integers(5_000, 50_000, 3),
    "one giant document": np.array([100_000]),
    "one word": np.array([1]),
}
CASES = list(itertools.product(SIZES, [8, 64, 128, 512]))


def pack(piece: Shard, length: int) -> tuple[Rows, RowCounts]:
    config = MaskingConfig()
    slots = config.num_predictions(length, "packed")
    return packed_rows(piece, sequence_length=length, max_slots=slots, budget=config.budget)


def runs_in_rows(rows: Rows) -> list[list[tuple[int, int]]]:
    runs = list(zip(rows.start.tolist(), rows.length.tolist(), strict=True))
    return [runs[a:b] for a, b in itertools.pairwise(rows.row_splits.tolist())]


def test_the_example_of_packed_rows() -> None:
    piece = Shard(np.zeros(0, np.uint16), np.array([5, 11, 41, 45]), np.array([1, 3, 4]))
    rows, counts = packed_rows(piece, sequence_length=22, max_slots=20, budget=lambda n: 1)
    assert rows.row_splits.tolist() == [0, 2, 3, 4]
    assert rows.start.tolist() == [0, 41, 5, 25]
    assert rows.length.tolist() == [5, 4, 20, 16]
    assert counts == RowCounts(3, 4, 45, num_split_sentences=1)


def test_the_example_of_cut_documents() -> None:
    starts, lengths = cut_documents(
        np.array([4, 64, 67, 117, 126]), document_ends=np.array([1, 5]), max_tokens=64
    )
    assert starts.tolist() == [0, 4, 67]
    assert lengths.tolist() == [4, 63, 59]


def test_the_examples_of_end_of_run() -> None:
    assert end_of_run(4, 126, max_tokens=64, ends=[0, 4, 64, 67, 117, 126]) == 67
    assert end_of_run(4, 69, max_tokens=64, ends=[0, 4, 40, 69]) == 61


def test_the_example_of_num_cut_sentences() -> None:
    assert num_cut_sentences(np.array([0, 3, 4, 9]), sentence_ends=np.array([2, 9, 12])) == 1


def test_the_example_of_best_fit() -> None:
    limits = RowLimits(15, max_slots=9, budgets=[0] + [1] * 13)
    row = best_fit(np.array([3, 8, 3, 5, 1], np.int32), limits=limits)
    assert row.tolist() == [0, 0, 1, 1, 1]


def test_the_examples_of_filling_rows_that_are_alike() -> None:
    rows = AlikeRows(room=9, slots=9, first=0, number=4)
    assert _fill(rows, 5, cost=3, slots=1) == [
        (3, AlikeRows(0, 6, 0, 1)), (2, AlikeRows(3, 7, 1, 1)), (0, AlikeRows(9, 9, 2, 2)),
    ]  # fmt: skip
    assert _rows_of_placed([Placed(4, 2, 3)]).tolist() == [4, 4, 4, 5, 5, 5]


def best_fit_one_by_one(lengths: np.ndarray, limits: RowLimits) -> list[int]:
    """Places that each row fills; a run goes where, of rows with room for it, least is left."""
    rows: list[list[int]] = []
    for length in sorted(lengths.tolist(), reverse=True):
        rooms = [
            limits.sequence_length - sum(n + 2 for n in row)
            if sum(limits.budgets[n] for n in [*row, length]) <= limits.max_slots
            else -1
            for row in rows
        ]
        fitting = [(room, i) for i, room in enumerate(rooms) if room >= length + 2]
        if fitting:
            rows[min(fitting)[1]].append(length)
        else:
            rows.append([length])
    return sorted(sum(n + 2 for n in row) for row in rows)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("sequence_length", "longest"), [(32, 30), (128, 40), (128, 126)])
def test_rows_are_those_of_best_fit_one_run_at_a_time(
    seed: int, sequence_length: int, longest: int
) -> None:
    # With slots enough, rows of equal room are the same to every run that follows.
    lengths = np.random.default_rng(seed).integers(1, longest + 1, 300).astype(np.int32)
    limits = RowLimits(sequence_length, sequence_length, budgets=[1] * sequence_length)
    row = best_fit(lengths, limits=limits)
    filled = np.bincount(row, weights=lengths + 2)
    assert sorted(filled.tolist()) == best_fit_one_by_one(lengths, limits)


def test_the_example_of_fill_holes() -> None:
    limits = RowLimits(512, 85, [MaskingConfig().budget(n) for n in range(511)])
    runs = PlacedRuns(np.array([0, 300, 600]), np.full(3, 300, np.int32), np.array([0, 1, 2]))
    holes = find_holes(runs, limits)
    assert [field.tolist() for field in holes] == [[208] * 3, [210] * 3, [40] * 3]
    sentence_ends = np.array([150, 300, 600, 900])
    found = fill_holes(runs, limits=limits, sentence_ends=sentence_ends)
    assert [field.tolist() for field in found] == [
        [300, 600, 0, 208], [300, 300, 208, 92], [1, 2, 1, 2],
    ]  # fmt: skip
    # Where a sentence ends nearby, the run does so too.
    found = fill_holes(runs, limits=limits, sentence_ends=np.append(203, sentence_ends[1:]))
    assert found.length.tolist() == [300, 300, 203, 97]


def test_rows_are_left_as_they_are_where_the_others_have_no_room_for_their_text() -> None:
    limits = RowLimits(512, 85, [MaskingConfig().budget(n) for n in range(511)])
    for lengths in ([450] * 9, [300, 300], [510]):
        rows = np.arange(len(lengths))
        runs = PlacedRuns(510 * rows, np.array(lengths, np.int32), rows)
        assert fill_holes(runs, limits=limits, sentence_ends=np.array([5_000])) is runs


@pytest.mark.parametrize(("kind", "length"), CASES)
def test_every_token_is_in_exactly_one_run_and_every_run_in_one_document(
    kind: str, length: int
) -> None:
    piece = piece_of(SIZES[kind])
    rows, counts = pack(piece, length)
    starts, order = np.sort(rows.start), np.argsort(rows.start)
    np.testing.assert_array_equal(starts[1:], (rows.start + rows.length)[order][:-1])
    assert starts[0] == 0 and rows.length.sum() == piece.sentence_ends[-1] == counts.num_tokens
    document_ends = piece.sentence_ends[piece.document_ends - 1]
    first = np.searchsorted(document_ends, rows.start, side="right")
    last = np.searchsorted(document_ends, rows.start + rows.length - 1, side="right")
    np.testing.assert_array_equal(first, last)
    assert (counts.num_rows, counts.num_segments) == (len(rows.row_splits) - 1, len(rows.start))


@pytest.mark.parametrize(("kind", "length"), CASES)
def test_rows_hold_no_more_tokens_and_no_more_runs_than_they_have_room_for(
    kind: str, length: int
) -> None:
    config, (rows, _) = MaskingConfig(), pack(piece_of(SIZES[kind]), length)
    for runs in runs_in_rows(rows):
        assert runs and all(size > 0 for _, size in runs)
        assert sum(size + 2 for _, size in runs) <= length
        slots = sum(config.budget(size) for _, size in runs)
        assert slots <= config.num_predictions(length, "packed")


@pytest.mark.parametrize(("kind", "length"), CASES)
def test_rows_are_in_the_order_of_the_text_that_they_begin_with(kind: str, length: int) -> None:
    rows = runs_in_rows(pack(piece_of(SIZES[kind]), length)[0])
    assert rows == sorted(map(sorted, rows))


@pytest.mark.parametrize(("kind", "length"), CASES)
def test_only_documents_that_are_so_short_make_tiny_runs(kind: str, length: int) -> None:
    piece = piece_of(SIZES[kind])
    rows, _ = pack(piece, length)
    document_ends = piece.sentence_ends[piece.document_ends - 1]
    own = np.searchsorted(document_ends, rows.start, side="right")
    least = min(MIN_RUN_TOKENS, (length - 2) // 2)
    is_tiny = rows.length < least
    np.testing.assert_array_equal(rows.length[is_tiny], SIZES[kind][own[is_tiny]])


@pytest.mark.parametrize("length", [128, 512])
@pytest.mark.parametrize("kind", ["tweets", "news", "articles", "books"])
def test_hardly_any_padding_remains_where_blocks_of_documents_have_much(
    kind: str, length: int
) -> None:
    piece = piece_of(SIZES[kind])
    _, counts = pack(piece, length)
    _, of_documents = document_rows(piece, max_tokens=length - 2)
    assert counts.filled_share(length) >= 0.97 > of_documents.filled_share(length)
    assert counts.num_rows < of_documents.num_rows


def test_the_same_piece_gives_the_same_rows_and_another_piece_others() -> None:
    piece = piece_of(SIZES["articles"])
    one, again = pack(piece, 128)[0], pack(piece, 128)[0]
    other, _ = pack(piece_of(SIZES["articles"][::-1]), 128)
    for field, same, different in zip(one, again, other, strict=True):
        np.testing.assert_array_equal(field, same)
        assert field.dtype == different.dtype
    assert one.start.tolist() != other.start.tolist()


def test_a_run_ends_with_a_sentence_where_that_leaves_little_room() -> None:
    sentence_ends = np.array([100, 497, 700, 1_010, 1_100])
    starts, _ = cut_documents(sentence_ends, document_ends=np.array([5]), max_tokens=510)
    # 13 places stay empty in the first row; 310 would in the second.
    assert starts.tolist() == [0, 497, 1_007]
    assert num_cut_sentences(starts, sentence_ends=sentence_ends) == 1


def test_a_piece_without_text_has_no_rows() -> None:
    empty = Shard(np.zeros(0, np.uint16), np.zeros(0, np.int64), np.zeros(0, np.int64))
    rows, counts = pack(empty, 128)
    assert rows.row_splits.tolist() == [0] and len(rows.start) == len(rows.length) == 0
    assert counts == RowCounts()


def test_empty_sentences_and_documents_make_no_runs() -> None:
    piece = Shard(np.zeros(0, np.uint16), np.array([0, 3, 3, 5, 5]), np.array([0, 2, 2, 4, 5]))
    rows, _ = pack(piece, 32)
    assert (rows.start.tolist(), rows.length.tolist()) == ([0, 3], [3, 2])
