"""Lays out rows: [CLS] text [SEP] padding, with two texts or several documents where rows hold so.

In: text, and the runs of it that rows are made of. Out: masking.RowBatch, as numpy arrays.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Int32, Int64, Integer

from spanbert_jax.config import BlockKind
from spanbert_jax.corpus.pieces import Shard
from spanbert_jax.data.masking import RowBatch, Vocabulary


class Runs(NamedTuple):
    """The runs of tokens in n rows, one row after the other."""

    splits: Int64[np.ndarray, " rows_and_end"]
    """Runs of row i: splits[i]:splits[i + 1]."""
    start: Int64[np.ndarray, " runs"]
    """Of its first token in the text."""
    length: Int64[np.ndarray, " runs"]


def empty_runs(num_rows: int, *, runs_in_row: int) -> Runs:
    """Rows without text."""
    nothing = np.zeros(num_rows * runs_in_row, np.int64)
    return Runs(np.arange(num_rows + 1) * runs_in_row, nothing, nothing)


def lay_out(
    text: Shard,
    runs: Runs,
    *,
    next_sentence_label: Int32[np.ndarray, " rows"],
    blocks: BlockKind,
    sequence_length: int,
    vocabulary: Vocabulary,
) -> RowBatch:
    """Rows of `sequence_length` tokens.

    A sentence pair, tokens = [11, 12, 13, 14, 15], splits = [0, 2], start = [0, 3],
    length = [3, 2]: token_ids = [[CLS, 11, 12, 13, SEP, 14, 15, SEP, PAD]],
    document_ids = [[1, 1, 1, 1, 1, 1, 1, 1, 0]], segment_ids = [[0, 0, 0, 0, 0, 1, 1, 1, 0]],
    segment_start = [1, 5]. The same runs packed, as documents that do not see each other:
    token_ids = [[CLS, 11, 12, 13, SEP, CLS, 14, 15, SEP]],
    document_ids = [[1, 1, 1, 1, 1, 2, 2, 2, 2]], position_ids = [[0, 1, 2, 3, 4, 0, 1, 2, 3]].
    And as one block, of which a sentence between them was dropped:
    token_ids = [[CLS, 11, 12, 13, 14, 15, SEP, PAD, PAD]], segment_start = [1]
    """
    num_rows, packed = len(runs.splits) - 1, blocks == "packed"
    num_runs = np.diff(runs.splits)
    row = np.repeat(np.arange(num_rows), num_runs)
    number = np.arange(len(row)) - np.repeat(runs.splits[:-1], num_runs)
    ends_row = number == num_runs[row] - 1
    # [CLS] before a run where it is a document of its own, or the first; [SEP] after a segment.
    with_cls = np.full(len(row), True) if packed else number == 0
    with_sep = ends_row if blocks == "document" else np.full(len(row), True)
    width = with_cls + runs.length + with_sep
    before = np.cumsum(width) - width
    begin = before - np.repeat(before[runs.splits[:-1]], num_runs) + row * sequence_length
    first = begin + with_cls
    end = first + runs.length
    begins_segment = number == 0 if blocks == "document" else np.full(len(row), True)
    segment = np.cumsum(begins_segment) - 1
    token_ids = np.full(num_rows * sequence_length, vocabulary.pad_id, np.int32)
    _copy(text.tokens, token_ids, source=runs.start, target=first, length=runs.length)
    token_ids[begin[with_cls]] = vocabulary.cls_id
    token_ids[end[with_sep]] = vocabulary.sep_id
    document_ids = np.zeros_like(token_ids)
    columns = np.arange(sequence_length, dtype=np.int32)
    position_ids = np.tile(columns, num_rows)
    segment_ids = np.zeros_like(token_ids)
    for a, b, index in zip(begin.tolist(), (begin + width).tolist(), number.tolist(), strict=True):
        document_ids[a:b] = index + 1 if packed else 1
        if packed:
            position_ids[a:b] = columns[: b - a]
        if index and blocks == "sentence_pair":
            segment_ids[a:b] = index
    by_row = (num_rows, sequence_length)
    return RowBatch(
        token_ids.reshape(by_row), document_ids.reshape(by_row), position_ids.reshape(by_row),
        segment_ids.reshape(by_row),
        _int32(first[begins_segment]),
        _int32(np.add.reduceat(runs.length, np.flatnonzero(begins_segment))),
        _int32(row[begins_segment]),
        _int32(number[begins_segment]),
        next_sentence_label, *_tags(text.spans, runs, first=first, segment=segment),
    )  # fmt: skip


def _copy(
    tokens: Integer[np.ndarray, " tokens"],
    out: Int32[np.ndarray, " places"],
    *,
    source: Int64[np.ndarray, " runs"],
    target: Int64[np.ndarray, " runs"],
    length: Int64[np.ndarray, " runs"],
) -> None:
    # A slice a run: half the cost of one gather, which needs an index for every token.
    for a, b, size in zip(source.tolist(), target.tolist(), length.tolist(), strict=True):
        out[b : b + size] = tokens[a : a + size]


def _tags(
    spans: Int64[np.ndarray, "spans 2"],
    runs: Runs,
    *,
    first: Int64[np.ndarray, " runs"],
    segment: Int64[np.ndarray, " runs"],
) -> tuple[Int32[np.ndarray, " tags"], Int32[np.ndarray, " tags"], Int32[np.ndarray, " ends"]]:
    """Start, end and splits of the annotated spans inside of runs, at their places in the rows."""
    end = runs.start + runs.length
    low, high = (np.searchsorted(spans[:, 0], ends) for ends in (runs.start, end))
    count = high - low
    run = np.repeat(np.arange(len(first)), count)
    found = spans[np.arange(len(run)) + np.repeat(low - np.cumsum(count) + count, count)]
    is_inside = found[:, 1] <= end[run]
    run, found = run[is_inside], found[is_inside]
    places = found + (first - runs.start)[run][:, None]
    splits = np.searchsorted(segment[run], np.arange(segment[-1] + 2))
    return _int32(places[:, 0]), _int32(places[:, 1]), _int32(splits)


def join(batches: list[RowBatch]) -> RowBatch:
    """Rows of several batches, one after the other."""
    if len(batches) == 1:
        return batches[0]
    shifted, num_rows, num_tags = [], 0, 0
    for batch in batches:
        length = batch.token_ids.shape[1]
        flat, is_last = num_rows * length, batch is batches[-1]
        shifted.append(
            batch._replace(
                segment_start=batch.segment_start + flat,
                segment_row=batch.segment_row + num_rows,
                tag_start=batch.tag_start + flat,
                tag_end=batch.tag_end + flat,
                tag_splits=(batch.tag_splits if is_last else batch.tag_splits[:-1]) + num_tags,
            )
        )
        num_rows, num_tags = num_rows + len(batch.token_ids), num_tags + len(batch.tag_start)
    return RowBatch(*map(_int32, map(np.concatenate, zip(*shifted, strict=True))))


def _int32(values: Integer[np.ndarray, "..."]) -> Int32[np.ndarray, "..."]:
    return values.astype(np.int32, copy=False)
