"""Masks contiguous spans. In: rows of token ids, and the segments in them. Out: PretrainBatch.

A segment is a run of tokens of one document: a block, a side of a sentence pair, one of the runs of
a packed row. Each is masked by itself, with a seed and a budget of its own; [CLS] and [SEP] stand
around it, are never hidden, and end every run of hidden tokens.

Randomness, all of it from a row's own seed: anchors and lengths of spans (spans.py), one draw
between [MASK], random tokens and no change per maximal run of hidden tokens, and one draw from the
corpus per randomly replaced token. Everything after the choice of the hidden tokens is computed on
their flat list, ascending in (row, column): a seventh of the tokens.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int, Int32, Int64, UInt64

from spanbert_jax.config import MaskingConfig
from spanbert_jax.data.batch import PretrainBatch
from spanbert_jax.data.host_tensorflow import tf
from spanbert_jax.data.random_bits import fold_in, uniform
from spanbert_jax.data.spans import Segments, Tags, budgets, hidden_positions

REPLACEMENT_STREAM = 2
RANDOM_TOKEN_STREAM = 3


class Vocabulary(NamedTuple):
    """What masking must know of the tokens: V entries."""

    word_starts: Bool[np.ndarray, " vocab"]
    """Whether an entry starts a word."""
    cumulative_counts: Int64[np.ndarray, " vocab"]
    """How often ids up to and including this one occur in the training text."""
    cls_id: int
    sep_id: int
    mask_id: int
    pad_id: int


class RowBatch(NamedTuple):
    """Rows of tokens before masking, and the segments in them; every field is int32.

    Positions are flat: row x length + column. `batch` and `length` are known when the graph is
    built; the numbers of segments and of tags differ from batch to batch.
    """

    token_ids: Int32[tf.Tensor, "batch length"]
    """[CLS] and [SEP] in place, padded."""
    document_ids: Int32[tf.Tensor, "batch length"]
    position_ids: Int32[tf.Tensor, "batch length"]
    segment_ids: Int32[tf.Tensor, "batch length"]
    segment_start: Int32[tf.Tensor, " segments"]
    """Flat position of each segment's first token of text, ascending."""
    segment_length: Int32[tf.Tensor, " segments"]
    """Tokens of text; 0 in a row that is left empty."""
    segment_row: Int32[tf.Tensor, " segments"]
    segment_number: Int32[tf.Tensor, " segments"]
    """0, 1, ... inside its row."""
    next_sentence_label: Int32[tf.Tensor, " batch"]
    tag_start: Int32[tf.Tensor, " tags"]
    """Flat position of the first token of each annotated span that lies inside a segment."""
    tag_end: Int32[tf.Tensor, " tags"]
    """Exclusive."""
    tag_splits: Int32[tf.Tensor, " segments_and_end"]
    """Tags of segment s: tag_splits[s]:tag_splits[s + 1]."""


class HiddenTokens(NamedTuple):
    """The hidden tokens of a batch of rows, ascending; all positions are flat."""

    position: Int32[tf.Tensor, " hidden"]
    segment: Int32[tf.Tensor, " hidden"]
    """Number of the segment it belongs to, of all segments of the batch."""
    run_first: Int32[tf.Tensor, " hidden"]
    """First token of the maximal run of hidden tokens it belongs to."""
    run_last: Int32[tf.Tensor, " hidden"]


def mask_rows(
    rows: RowBatch,
    *,
    seeds: UInt64[tf.Tensor, " batch"],
    vocabulary: Vocabulary,
    config: MaskingConfig,
    num_predictions: int,
    max_boundary_offsets: int,
) -> PretrainBatch:
    """Hide spans of every segment (sec. 3.1).

    One row of two segments, [CLS] 11 12 13 14 [SEP] [CLS] 15 16 [SEP]; columns 2, 3 and 8 are
    hidden and replaced by [MASK]; 4 slots:
    -> token_ids = [[CLS, 11, MASK, MASK, 14, SEP, CLS, 15, MASK, SEP]],
       masked_positions = [[2, 3, 8, 0]], masked_ids = [[12, 13, 16, 0]],
       boundary_left = [[1, 1, 0, 0]], boundary_right = [[4, 4, 0, 0]],
       boundary_offset = [[0, 1, 0, 0]], boundary_weights = [[1, 1, 0, 0]] (beside 16 stands [SEP])

    seeds: one per row; a row's result does not depend on the rows beside it.
    num_predictions: slots P, at least the sum of the budgets of any row's segments.
    max_boundary_offsets: tokens deeper in a run than this are no targets of the span boundary.
    """
    batch_size, length = rows.token_ids.shape
    segments = Segments(
        rows.segment_start,
        rows.segment_length,
        segment_seeds(seeds, row=rows.segment_row, number=rows.segment_number),
    )
    positions = hidden_positions(
        rows.token_ids, segments=segments, config=config,
        tags=Tags(rows.tag_start, rows.tag_end, rows.tag_splits),
        word_starts=tf.constant(vocabulary.word_starts),
    )  # fmt: skip
    counts = budgets(rows.segment_length, mask_ratio=config.mask_ratio)
    hidden = find_runs(positions, counts=counts)
    flat_ids = tf.reshape(rows.token_ids, [-1])
    original_ids = tf.gather(flat_ids, positions)
    input_ids = replace(
        original_ids, hidden, segments=segments, vocabulary=vocabulary, config=config
    )
    token_ids = tf.tensor_scatter_nd_update(flat_ids, positions[:, None], input_ids)
    has_boundary, offset = boundary_targets(
        hidden, segments=segments, max_boundary_offsets=max_boundary_offsets
    )
    row_start = tf.gather(rows.segment_row * length, hidden.segment)
    slots = fill_slots(
        [
            hidden.position - row_start,
            original_ids,
            tf.ones_like(original_ids),
            (hidden.run_first - 1 - row_start) * has_boundary,
            (hidden.run_last + 1 - row_start) * has_boundary,
            offset,
            has_boundary,
        ],
        counts=tf.math.unsorted_segment_sum(counts, rows.segment_row, batch_size),
        num_slots=num_predictions,
    )
    token_ids = tf.reshape(token_ids, [batch_size, length])
    columns = [token_ids, rows.segment_ids, rows.document_ids, rows.position_ids]
    return PretrainBatch(*[*columns, *slots, rows.next_sentence_label])


def segment_seeds(
    seeds: UInt64[tf.Tensor, " batch"],
    *,
    row: Int32[tf.Tensor, " segments"],
    number: Int32[tf.Tensor, " segments"],
) -> UInt64[tf.Tensor, " segments"]:
    """The row's own seed for a segment that is alone in it; for others one of its number in it."""
    own = tf.gather(seeds, row)
    num_beside = tf.math.unsorted_segment_sum(tf.ones_like(row), row, tf.size(seeds))
    return tf.where(tf.gather(num_beside, row) == 1, own, fold_in(own, number))


def find_runs(
    positions: Int32[tf.Tensor, " hidden"], *, counts: Int32[tf.Tensor, " segments"]
) -> HiddenTokens:
    """Merge touching hidden tokens into runs; between two segments there is always [SEP].

    counts: how many of the positions are of each segment.

    positions = [1, 2, 5, 7], counts = [3, 1]
    -> segment = [0, 0, 0, 1], run_first = [1, 1, 5, 7], run_last = [2, 2, 5, 7]
    """
    goes_on = positions[1:] == positions[:-1] + 1
    is_first = tf.pad(~goes_on, [[1, 0]], constant_values=True)
    is_last = tf.pad(~goes_on, [[0, 1]], constant_values=True)
    run = tf.cumsum(tf.cast(is_first, tf.int32)) - 1
    # An empty list of positions has been padded to one run: the slice takes that away again.
    is_first, is_last, run = (x[: tf.size(positions)] for x in (is_first, is_last, run))
    return HiddenTokens(
        positions,
        tf.repeat(tf.range(tf.size(counts)), counts),
        tf.gather(tf.boolean_mask(positions, is_first), run),
        tf.gather(tf.boolean_mask(positions, is_last), run),
    )


def replace(
    original_ids: Int32[tf.Tensor, " hidden"],
    hidden: HiddenTokens,
    *,
    segments: Segments,
    vocabulary: Vocabulary,
    config: MaskingConfig,
) -> Int32[tf.Tensor, " hidden"]:
    """What the model sees in place of the hidden tokens: [MASK], random tokens, or themselves.

    One draw for a whole run (released code; sec. 3.1), or for each token in the `subword` scheme.
    """
    drawn_at = hidden.position if config.scheme == "subword" else hidden.run_first
    seeds = tf.gather(segments.seed, hidden.segment)
    start = tf.gather(segments.start, hidden.segment)
    draw = uniform(seeds, stream=REPLACEMENT_STREAM, counters=drawn_at - start)
    mask_below = config.mask_token_prob
    is_masked = draw < mask_below
    is_random = ~is_masked & (draw < mask_below + config.random_token_prob)
    random_at = tf.where(is_random)
    random_ids = random_tokens(
        tf.gather(seeds, random_at[:, 0]),
        places=tf.gather(hidden.position - start, random_at[:, 0]),
        cumulative_counts=vocabulary.cumulative_counts,
    )
    kept_or_masked = tf.where(is_masked, vocabulary.mask_id, original_ids)
    return tf.tensor_scatter_nd_update(kept_or_masked, random_at, random_ids)


def random_tokens(
    seeds: UInt64[tf.Tensor, " n"],
    *,
    places: Int32[tf.Tensor, " n"],
    cumulative_counts: Int64[np.ndarray, " vocab"],
) -> Int32[tf.Tensor, " n"]:
    """The token at a uniformly drawn point of the training text, one for each place in a segment.

    Not uniform over the vocabulary: the original draws from the text itself.
    """
    point = uniform(seeds, stream=RANDOM_TOKEN_STREAM, counters=places)
    point = tf.cast(point * float(cumulative_counts[-1]), tf.int64)
    return tf.searchsorted(tf.constant(cumulative_counts), point, side="right")


def boundary_targets(
    hidden: HiddenTokens, *, segments: Segments, max_boundary_offsets: int
) -> tuple[Int32[tf.Tensor, " hidden"], Int32[tf.Tensor, " hidden"]]:
    """Which hidden tokens are targets of the span boundary (0 or 1), and their offset in the run.

    Both neighbours of the run must be tokens of its segment: [CLS] and [SEP] are none (released
    code). Tokens from offset `max_boundary_offsets` on are left out, their offset given as 0.
    """
    offset = hidden.position - hidden.run_first
    first = tf.gather(segments.start, hidden.segment)
    last = tf.gather(segments.start + segments.length - 1, hidden.segment)
    is_inside = (hidden.run_first > first) & (hidden.run_last < last)
    is_target = tf.cast(is_inside & (offset < max_boundary_offsets), tf.int32)
    return is_target, offset * is_target


def fill_slots(
    values: list[Int32[tf.Tensor, " hidden"]],
    *,
    counts: Int32[tf.Tensor, " batch"],
    num_slots: int,
) -> list[Int[tf.Tensor, "batch num_slots"]]:
    """Spread flat lists over rows of slots, 0 in the slots that stay empty.

    values = [[7, 8, 9]], counts = [1, 2], num_slots = 2 -> [[[7, 0], [8, 9]]]
    """
    slot = tf.range(num_slots)[None, :]
    source = tf.cumsum(counts, exclusive=True)[:, None] + slot
    source = tf.where(slot < counts[:, None], source, tf.size(values[0]))
    return [tf.gather(tf.pad(value, [[0, 1]]), source) for value in values]
