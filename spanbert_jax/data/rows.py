"""Lays out rows: [CLS] text [SEP] padding, with two texts or several documents where rows hold so.

In: text, and the runs of it that rows are made of. Out: masking.RowBatch, as numpy arrays.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int32, Int64, Integer

from spanbert_jax.config import BlockKind
from spanbert_jax.corpus.pieces import Shard
from spanbert_jax.data.blocks import Rows
from spanbert_jax.data.masking import RowBatch, Vocabulary


def empty_rows(num_rows: int, *, runs_in_row: int) -> Rows:
    """Rows without text."""
    nothing = np.zeros(num_rows * runs_in_row, np.int64)
    return Rows(np.arange(num_rows + 1) * runs_in_row, nothing, nothing)


def lay_out(
    text: Shard,
    rows: Rows,
    *,
    next_sentence_label: Int32[np.ndarray, " rows"],
    blocks: BlockKind,
    sequence_length: int,
    vocabulary: Vocabulary,
) -> RowBatch:
    """Rows of `sequence_length` tokens.

    A sentence pair, tokens = [11, 12, 13, 14, 15], row_splits = [0, 2], start = [0, 3],
    length = [3, 2]: token_ids = [[CLS, 11, 12, 13, SEP, 14, 15, SEP, PAD]],
    document_ids = [[1, 1, 1, 1, 1, 1, 1, 1, 0]], segment_ids = [[0, 0, 0, 0, 0, 1, 1, 1, 0]],
    segment_start = [1, 5]. The same runs packed, as documents that do not see each other:
    token_ids = [[CLS, 11, 12, 13, SEP, CLS, 14, 15, SEP]],
    document_ids = [[1, 1, 1, 1, 1, 2, 2, 2, 2]], position_ids = [[0, 1, 2, 3, 4, 0, 1, 2, 3]].
    And as one block, of which a sentence between them was dropped:
    token_ids = [[CLS, 11, 12, 13, 14, 15, SEP, PAD, PAD]], segment_start = [1]
    """
    at, num_rows = (
        _place(rows, blocks=blocks, sequence_length=sequence_length),
        len(rows.row_splits) - 1,
    )
    token_ids = np.full(num_rows * sequence_length, vocabulary.pad_id, np.int32)
    _copy(text.tokens, token_ids, source=rows.start, target=at.first, length=rows.length)
    token_ids[at.begin[at.with_cls]] = vocabulary.cls_id
    token_ids[at.end[at.with_sep]] = vocabulary.sep_id
    document_ids, segment_ids = np.zeros_like(token_ids), np.zeros_like(token_ids)
    columns = np.arange(sequence_length, dtype=np.int32)
    position_ids = np.tile(columns, num_rows)
    places = (field.tolist() for field in (at.begin, at.end + at.with_sep, at.number))
    for a, b, number in zip(*places, strict=True):
        document_ids[a:b] = number + 1 if blocks == "packed" else 1
        if blocks == "packed":
            position_ids[a:b] = columns[: b - a]
        if number and blocks == "sentence_pair":
            segment_ids[a:b] = number
    by_row = (num_rows, sequence_length)
    segments = np.flatnonzero(at.begins_segment)
    return RowBatch(
        token_ids=token_ids.reshape(by_row),
        document_ids=document_ids.reshape(by_row),
        position_ids=position_ids.reshape(by_row),
        segment_ids=segment_ids.reshape(by_row),
        segment_start=_int32(at.first[segments]),
        segment_length=_int32(np.add.reduceat(rows.length, segments)),
        segment_row=_int32(at.row[segments]),
        segment_number=_int32(at.number[segments]),
        next_sentence_label=next_sentence_label,
        **_tags(text.spans, rows, first=at.first, segment=np.cumsum(at.begins_segment) - 1),
    )


class _Places(NamedTuple):
    """Where the runs of some rows lie, in flat positions: row x sequence length + column."""

    row: Int64[np.ndarray, " runs"]
    number: Int64[np.ndarray, " runs"]
    """0, 1, ... in its row."""
    with_cls: Bool[np.ndarray, " runs"]
    """[CLS] stands before a run that is a document of its own, or the first of its row."""
    with_sep: Bool[np.ndarray, " runs"]
    """[SEP] stands after each, but for runs that are joined to one segment: after the last."""
    begins_segment: Bool[np.ndarray, " runs"]
    begin: Int64[np.ndarray, " runs"]
    """Of its [CLS], or its first token."""
    first: Int64[np.ndarray, " runs"]
    """Of its first token."""
    end: Int64[np.ndarray, " runs"]
    """After its last token."""


def _place(rows: Rows, *, blocks: BlockKind, sequence_length: int) -> _Places:
    num_runs = np.diff(rows.row_splits)
    row = np.repeat(np.arange(len(num_runs)), num_runs)
    number = np.arange(len(row)) - np.repeat(rows.row_splits[:-1], num_runs)
    every = np.full(len(row), True)
    with_cls = every if blocks == "packed" else number == 0
    with_sep = number == num_runs[row] - 1 if blocks == "document" else every
    width = with_cls + rows.length + with_sep
    before = np.cumsum(width) - width
    begin = before - np.repeat(before[rows.row_splits[:-1]], num_runs) + row * sequence_length
    first = begin + with_cls
    begins_segment = number == 0 if blocks == "document" else every
    return _Places(
        row, number, with_cls, with_sep, begins_segment, begin, first, first + rows.length
    )


def _copy(
    tokens: Integer[np.ndarray, " tokens"],
    out: Int32[np.ndarray, " places"],
    *,
    source: Int64[np.ndarray, " runs"],
    target: Int64[np.ndarray, " runs"],
    length: Integer[np.ndarray, " runs"],
) -> None:
    # A slice a run: half the cost of one gather, which needs an index for every token.
    for a, b, size in zip(source.tolist(), target.tolist(), length.tolist(), strict=True):
        out[b : b + size] = tokens[a : a + size]


def _tags(
    spans: Int64[np.ndarray, "spans 2"],
    rows: Rows,
    *,
    first: Int64[np.ndarray, " runs"],
    segment: Int64[np.ndarray, " runs"],
) -> dict[str, Int32[np.ndarray, " _"]]:
    """The fields of `RowBatch` about annotated spans: of those inside of runs, at their places."""
    end = rows.start + rows.length
    low, high = (np.searchsorted(spans[:, 0], ends) for ends in (rows.start, end))
    count = high - low
    run = np.repeat(np.arange(len(first)), count)
    found = spans[np.arange(len(run)) + np.repeat(low - np.cumsum(count) + count, count)]
    is_inside = found[:, 1] <= end[run]
    run, found = run[is_inside], found[is_inside]
    places = found + (first - rows.start)[run][:, None]
    splits = np.searchsorted(segment[run], np.arange(segment[-1] + 2))
    return {
        "tag_start": _int32(places[:, 0]),
        "tag_end": _int32(places[:, 1]),
        "tag_splits": _int32(splits),
    }


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
