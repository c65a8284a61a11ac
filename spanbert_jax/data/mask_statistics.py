"""What masks did to rows, counted. In: batches as the model is fed them. Out: sums and histograms.

Everything is read off the batch: the hidden tokens are its targets, a span is a maximal run of
them, and what became of a token is what stands in its place. So the figures are those of the
masks that were made, whatever the scheme that made them.
"""

from collections.abc import Iterable, Iterator
from enum import IntEnum
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int, Int64

from spanbert_jax.data.batch import PretrainBatch
from spanbert_jax.data.masking import Vocabulary


class Kind(IntEnum):
    """What became of a token; of the tokens of one span the greatest tells what was drawn."""

    OBSERVED = 0
    KEPT = 1
    RANDOM = 2
    MASK = 3


class HiddenSpans(NamedTuple):
    """Maximal runs of hidden tokens, ascending in (row, first)."""

    row: Int64[np.ndarray, " spans"]
    first: Int64[np.ndarray, " spans"]
    """Column of the first token."""
    last: Int64[np.ndarray, " spans"]


class MaskStatistics(NamedTuple):
    """Counts over rows of L tokens. Those of several batches are added field by field."""

    num_rows: Int[np.ndarray, ""]
    num_places: Int[np.ndarray, ""]
    """Rows times L."""
    num_padding: Int[np.ndarray, ""]
    num_tokens: Int[np.ndarray, ""]
    """Tokens of text: neither padding nor [CLS] nor [SEP]."""
    num_by_kind: Int64[np.ndarray, "4"]
    """Tokens of text by `Kind`."""
    num_boundary_targets: Int[np.ndarray, ""]
    """Hidden tokens that are targets of the span boundary too."""
    span_words: Int64[np.ndarray, " length+1"]
    """At n, how many spans touch n words."""
    span_tokens: Int64[np.ndarray, " length+1"]
    """At n, how many spans have n tokens."""
    row_tokens: Int64[np.ndarray, " length+1"]
    """At n, how many rows hold n tokens of text."""

    @property
    def num_hidden(self) -> int:
        return int(self.num_by_kind[Kind.KEPT :].sum())

    @property
    def num_spans(self) -> int:
        return int(self.span_tokens.sum())


def rows_with_text(batches: Iterable[PretrainBatch], *, num_rows: int) -> Iterator[PretrainBatch]:
    """The first `num_rows` rows that hold text, in batches; those that fill up a batch hold none.

    Text is where targets are: every segment has at least one.
    """
    left = num_rows
    for batch in batches:
        rows = np.flatnonzero(batch.masked_weights.any(axis=1))[:left]
        left -= len(rows)
        if len(rows):
            yield PretrainBatch(*(field[rows] for field in batch))
        if not left:
            return


def measure_masks(
    batch: PretrainBatch, *, vocabulary: Vocabulary, replaced_by_span: bool
) -> MaskStatistics:
    """Count what the masks of a batch did.

    One row, [CLS] 11 [MASK] [MASK] 14 [SEP] [PAD], targets 12 and 13, of which 13 begins no word:
    num_rows 1, num_places 7, num_padding 1, num_tokens 4, num_by_kind [2, 0, 0, 2],
    num_boundary_targets 2, one span of 1 word and of 2 tokens, one row of 4 tokens.

    replaced_by_span: False where each token has its own draw between [MASK], random and kept.
    """
    length = batch.token_ids.shape[1]
    original = original_ids(batch)
    is_text = text_flags(original, batch=batch, vocabulary=vocabulary)
    spans = hidden_spans(batch)
    kinds = token_kinds(batch, mask_id=vocabulary.mask_id, replaced_by_span=replaced_by_span)
    words = word_numbers(original, is_text=is_text, word_starts=vocabulary.word_starts)
    span_words = words[spans.row, spans.last] - words[spans.row, spans.first] + 1
    return MaskStatistics(
        num_rows=np.asarray(len(original)),
        num_places=np.asarray(original.size),
        num_padding=np.asarray(np.sum(batch.document_ids == 0)),
        num_tokens=np.asarray(is_text.sum()),
        num_by_kind=np.bincount(kinds[is_text], minlength=len(Kind)),
        num_boundary_targets=np.asarray(batch.boundary_weights.sum()),
        span_words=np.bincount(span_words, minlength=length + 1),
        span_tokens=np.bincount(spans.last - spans.first + 1, minlength=length + 1),
        row_tokens=np.bincount(is_text.sum(axis=1), minlength=length + 1),
    )


def add_statistics(parts: Iterable[MaskStatistics]) -> MaskStatistics:
    """The statistics of all the rows together; at least one part."""
    return MaskStatistics(*(sum(fields[1:], fields[0]) for fields in zip(*parts, strict=True)))


def hidden_flags(batch: PretrainBatch) -> Bool[np.ndarray, "batch length"]:
    """Which tokens are targets.

    masked_positions = [[2, 3, 0]], masked_weights = [[1, 1, 0]], L = 5 -> [[0, 0, 1, 1, 0]]
    """
    flags = np.zeros(batch.token_ids.shape, bool)
    row, slot = np.nonzero(batch.masked_weights)
    flags[row, batch.masked_positions[row, slot]] = True
    return flags


def original_ids(batch: PretrainBatch) -> Int[np.ndarray, "batch length"]:
    """The rows as they were before masking.

    token_ids = [[2, 11, 4, 3]] (4 is [MASK]), target 12 at 2 -> [[2, 11, 12, 3]]
    """
    ids = np.array(batch.token_ids)
    row, slot = np.nonzero(batch.masked_weights)
    ids[row, batch.masked_positions[row, slot]] = batch.masked_ids[row, slot]
    return ids


def text_flags(
    original: Int[np.ndarray, "batch length"], *, batch: PretrainBatch, vocabulary: Vocabulary
) -> Bool[np.ndarray, "batch length"]:
    """Which tokens are text: text has no special ids, so what is [CLS] or [SEP] is none of it."""
    specials = (vocabulary.cls_id, vocabulary.sep_id)
    return (batch.document_ids != 0) & ~np.isin(original, specials)


def hidden_spans(batch: PretrainBatch) -> HiddenSpans:
    """Maximal runs of hidden tokens: [SEP], never hidden, ends those of different segments.

    Hidden columns 1, 2 and 4 of row 0, 1 of row 1 -> row [0, 0, 1], first [1, 4, 1], last [2, 4, 1]
    """
    # The first and the last token of a row are [CLS], and [SEP] or padding: no run is at an edge.
    steps = np.diff(hidden_flags(batch).astype(np.int8), axis=1)
    row, before = np.nonzero(steps == 1)
    _, last = np.nonzero(steps == -1)
    return HiddenSpans(row, before + 1, last)


def token_kinds(
    batch: PretrainBatch, *, mask_id: int, replaced_by_span: bool
) -> Int[np.ndarray, "batch length"]:
    """The `Kind` of every token, as its place tells.

    A random token may by chance be the one that stood there, and looks kept: where a whole span
    has one draw, the other tokens of the span tell.
    """
    seen, original = batch.token_ids, original_ids(batch)
    kinds = np.where(seen == original, Kind.KEPT, Kind.RANDOM)
    kinds = np.where(seen == mask_id, Kind.MASK, kinds)
    kinds = np.where(hidden_flags(batch), kinds, Kind.OBSERVED)
    spans = hidden_spans(batch)
    if not replaced_by_span or not len(spans.row):
        return kinds
    flat, start = kinds.reshape(-1), spans.row * kinds.shape[1] + spans.first
    # Behind a span the others are OBSERVED, the least: they change no maximum.
    drawn = np.maximum.reduceat(flat, start)
    flat[hidden_flags(batch).reshape(-1)] = np.repeat(drawn, spans.last - spans.first + 1)
    return kinds


def word_numbers(
    original: Int[np.ndarray, "batch length"],
    *,
    is_text: Bool[np.ndarray, "batch length"],
    word_starts: Bool[np.ndarray, " vocab"],
) -> Int[np.ndarray, "batch length"]:
    """Number of the word that each token belongs to, counted in its row.

    The first token of a segment begins a word, whatever it is.

    original = [[2, 7, 5, 7, 3]], 2 and 3 no text, 7 goes on with a word -> [[1, 2, 3, 3, 4]]
    """
    is_first = is_text & ~np.pad(is_text, [[0, 0], [1, 0]])[:, :-1]
    return np.cumsum(word_starts[original] | is_first | ~is_text, axis=1)
