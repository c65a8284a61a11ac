"""Masks contiguous spans. In: token ids of one or two segments a row. Out: batch.PretrainBatch.

Randomness, all of it from a row's own seed: anchors and lengths of spans (spans.py), one draw
between [MASK], random tokens and no change per maximal run of hidden tokens, and one draw from the
corpus per randomly replaced token. The two segments of a sentence pair are masked each by itself,
with a seed and a budget of its own, as the original does; [SEP] between them is never hidden and
ends every run. Everything after the choice of the hidden tokens is computed on
their flat list, ascending in (row, column): a seventh of the tokens.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int, Int32, Int64, UInt64

from spanbert_jax.config import MaskingConfig
from spanbert_jax.data.batch import NO_PAIR, PretrainBatch
from spanbert_jax.data.host_tensorflow import tf
from spanbert_jax.data.random_bits import fold_in, uniform
from spanbert_jax.data.spans import Segments, budgets, hidden_positions

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


class HiddenTokens(NamedTuple):
    """The hidden tokens of a batch of rows of W tokens, ascending in (row, column)."""

    row: Int32[tf.Tensor, " hidden"]
    column: Int32[tf.Tensor, " hidden"]
    """0..W-1 inside the row, without [CLS]."""
    run_first: Int32[tf.Tensor, " hidden"]
    """Column of the first token of the maximal run of hidden tokens it belongs to."""
    run_last: Int32[tf.Tensor, " hidden"]


def mask_blocks(
    block_ids: Int32[tf.Tensor, "batch width"],
    *,
    lengths: Int32[tf.Tensor, " batch"],
    seeds: UInt64[tf.Tensor, " batch"],
    vocabulary: Vocabulary,
    config: MaskingConfig,
    num_predictions: int,
    max_boundary_offsets: int,
) -> PretrainBatch:
    """Hide spans of each block (sec. 3.1) and lay out rows: [CLS] block [SEP] padding, L = W + 2.

    block_ids = [[11, 12, 13, 14, 0]], lengths = [4], hidden columns 1 and 2, replaced by [MASK]:
    -> token_ids = [[CLS, 11, MASK, MASK, 14, SEP, 0]], masked_positions = [[2, 3]],
       masked_ids = [[12, 13]], boundary_left = [[1, 1]], boundary_right = [[4, 4]],
       boundary_offset = [[0, 1]]

    block_ids: W columns, filled with padding from `lengths` on; a row of length 0 has no targets.
    seeds: one per row; a row's result does not depend on the rows beside it.
    num_predictions: slots P, at least ceil(mask_ratio x W).
    max_boundary_offsets: tokens deeper in a run than this are no targets of the span boundary.
    """
    return _mask_rows(
        block_ids, lengths=lengths[:, None], seeds=seeds[:, None],
        next_sentence_label=tf.fill(lengths.shape, NO_PAIR), vocabulary=vocabulary, config=config,
        num_predictions=num_predictions, max_boundary_offsets=max_boundary_offsets,
    )  # fmt: skip


def mask_pairs(
    pair_ids: Int32[tf.Tensor, "batch width"],
    *,
    lengths: Int32[tf.Tensor, "batch 2"],
    next_sentence_label: Int32[tf.Tensor, " batch"],
    seeds: UInt64[tf.Tensor, " batch"],
    vocabulary: Vocabulary,
    config: MaskingConfig,
    num_predictions: int,
    max_boundary_offsets: int,
) -> PretrainBatch:
    """Hide spans of both segments, and lay out rows: [CLS] A [SEP] B [SEP] padding, L = W + 2.

    pair_ids = [[11, 12, 13, 0, 14, 15, 0]], lengths = [[3, 2]], hidden columns 1 and 5, by [MASK]:
    -> token_ids = [[CLS, 11, MASK, 13, SEP, 14, MASK, SEP, 0]],
       segment_ids = [[0, 0, 0, 0, 0, 1, 1, 1, 0]], masked_positions = [[2, 6]],
       boundary_weights = [[1, 0]] (beside 15 stands [SEP])

    pair_ids: W columns: A, one place for [SEP], B, and padding.
    num_predictions: slots P, enough for the budgets of both segments.
    The rest as in `mask_blocks`.
    """
    return _mask_rows(
        pair_ids, lengths=lengths, seeds=fold_in(seeds[:, None], tf.range(2)),
        next_sentence_label=next_sentence_label, vocabulary=vocabulary, config=config,
        num_predictions=num_predictions, max_boundary_offsets=max_boundary_offsets,
    )  # fmt: skip


def _mask_rows(
    block_ids: Int32[tf.Tensor, "batch width"],
    *,
    lengths: Int32[tf.Tensor, "batch segments"],
    seeds: UInt64[tf.Tensor, "batch segments"],
    next_sentence_label: Int32[tf.Tensor, " batch"],
    vocabulary: Vocabulary,
    config: MaskingConfig,
    num_predictions: int,
    max_boundary_offsets: int,
) -> PretrainBatch:
    """Rows of segments, with a place for [SEP] after each."""
    batch_size, width = block_ids.shape
    ends = tf.cumsum(lengths + 1, axis=1) - 1
    starts = ends - lengths + tf.range(batch_size)[:, None] * width
    segments = Segments(*(tf.reshape(field, [-1]) for field in (starts, lengths, seeds)))
    positions = hidden_positions(
        block_ids, segments=segments, word_starts=tf.constant(vocabulary.word_starts), config=config
    )
    hidden = find_runs(positions, width=width)
    original_ids = tf.gather(tf.reshape(block_ids, [-1]), positions)
    input_ids = replace(
        original_ids, hidden, seeds=tf.gather_nd(seeds, hidden_segments(hidden, ends=ends)),
        vocabulary=vocabulary, config=config,
    )  # fmt: skip
    token_ids = lay_out(block_ids, hidden, input_ids, ends=ends, vocabulary=vocabulary)
    columns = tf.broadcast_to(tf.range(width + 2), token_ids.shape)
    is_real = tf.cast(columns < ends[:, -1:] + 2, tf.int32)
    # The [SEP] after a segment, at ends + 1 of the row, belongs to it.
    is_beyond = tf.cast(columns[:, :, None] > ends[:, None, :-1] + 1, tf.int32)
    has_boundary, offset = boundary_targets(
        hidden, ends=ends, max_boundary_offsets=max_boundary_offsets
    )
    # + 1 for [CLS]; the run's neighbours stand at run_first - 1 and run_last + 1 of the block.
    slots = fill_slots(
        [
            hidden.column + 1,
            original_ids,
            tf.ones_like(original_ids),
            hidden.run_first * has_boundary,
            (hidden.run_last + 2) * has_boundary,
            offset,
            has_boundary,
        ],
        counts=tf.reduce_sum(budgets(lengths, mask_ratio=config.mask_ratio), axis=1),
        num_slots=num_predictions,
    )
    segment_ids = tf.reduce_sum(is_beyond, axis=2) * is_real
    return PretrainBatch(*[token_ids, segment_ids, is_real, columns, *slots, next_sentence_label])


def find_runs(positions: Int32[tf.Tensor, " hidden"], *, width: int) -> HiddenTokens:
    """Merge touching hidden tokens of a row into runs.

    positions = [1, 2, 5, 6], width = 6
    -> row = [0, 0, 0, 1], column = [1, 2, 5, 0], run_first = [1, 1, 5, 0], run_last = [2, 2, 5, 0]
    """
    row = positions // width
    column = positions - row * width
    goes_on = (positions[1:] == positions[:-1] + 1) & (column[1:] > 0)
    is_first = tf.pad(~goes_on, [[1, 0]], constant_values=True)
    is_last = tf.pad(~goes_on, [[0, 1]], constant_values=True)
    run = tf.cumsum(tf.cast(is_first, tf.int32)) - 1
    # An empty list of positions has been padded to one run: the slice takes that away again.
    is_first, is_last, run = (x[: tf.size(positions)] for x in (is_first, is_last, run))
    return HiddenTokens(
        row,
        column,
        tf.gather(tf.boolean_mask(column, is_first), run),
        tf.gather(tf.boolean_mask(column, is_last), run),
    )


def hidden_segments(
    hidden: HiddenTokens, *, ends: Int32[tf.Tensor, "batch segments"]
) -> Int32[tf.Tensor, "hidden 2"]:
    """Row, and number of the segment in it, of each hidden token.

    ends: column after the last token of each segment.
    """
    is_beyond = hidden.column[:, None] > tf.gather(ends[:, :-1], hidden.row)
    return tf.stack([hidden.row, tf.reduce_sum(tf.cast(is_beyond, tf.int32), axis=1)], axis=1)


def replace(
    original_ids: Int32[tf.Tensor, " hidden"],
    hidden: HiddenTokens,
    *,
    seeds: UInt64[tf.Tensor, " hidden"],
    vocabulary: Vocabulary,
    config: MaskingConfig,
) -> Int32[tf.Tensor, " hidden"]:
    """What the model sees in place of the hidden tokens: [MASK], random tokens, or themselves.

    One draw for a whole run (released code; sec. 3.1), or for each token in the `subword` scheme.

    seeds: of the segment that each token belongs to.
    """
    drawn_at = hidden.column if config.scheme == "subword" else hidden.run_first
    draw = uniform(seeds, stream=REPLACEMENT_STREAM, counters=drawn_at)
    mask_below = config.mask_token_prob
    is_masked = draw < mask_below
    is_random = ~is_masked & (draw < mask_below + config.random_token_prob)
    random_at = tf.where(is_random)
    random_ids = random_tokens(
        tf.gather(seeds, random_at[:, 0]),
        columns=tf.gather(hidden.column, random_at[:, 0]),
        cumulative_counts=vocabulary.cumulative_counts,
    )
    kept_or_masked = tf.where(is_masked, vocabulary.mask_id, original_ids)
    return tf.tensor_scatter_nd_update(kept_or_masked, random_at, random_ids)


def random_tokens(
    seeds: UInt64[tf.Tensor, " n"],
    *,
    columns: Int32[tf.Tensor, " n"],
    cumulative_counts: Int64[np.ndarray, " vocab"],
) -> Int32[tf.Tensor, " n"]:
    """The token at a uniformly drawn place of the training text, one for each column.

    Not uniform over the vocabulary: the original draws from the text itself.
    """
    place = uniform(seeds, stream=RANDOM_TOKEN_STREAM, counters=columns)
    place = tf.cast(place * float(cumulative_counts[-1]), tf.int64)
    return tf.searchsorted(tf.constant(cumulative_counts), place, side="right")


def lay_out(
    block_ids: Int32[tf.Tensor, "batch width"],
    hidden: HiddenTokens,
    input_ids: Int32[tf.Tensor, " hidden"],
    *,
    ends: Int32[tf.Tensor, "batch segments"],
    vocabulary: Vocabulary,
) -> Int32[tf.Tensor, "batch width+2"]:
    """[CLS] block [SEP] padding, with [SEP] at the columns `ends` and `input_ids` where hidden."""
    batch_size, width = block_ids.shape
    rows = tf.pad(block_ids, [[0, 0], [1, 1]], constant_values=vocabulary.pad_id)
    row_start = tf.range(batch_size) * (width + 2)
    separators = tf.reshape(row_start[:, None] + 1 + ends, [-1])
    places = [row_start, separators, hidden.row * (width + 2) + 1 + hidden.column]
    values = [
        tf.fill(row_start.shape, vocabulary.cls_id), tf.fill(separators.shape, vocabulary.sep_id),
        input_ids,
    ]  # fmt: skip
    flat = tf.tensor_scatter_nd_update(
        tf.reshape(rows, [-1]), tf.concat(places, axis=0)[:, None], tf.concat(values, axis=0)
    )
    return tf.reshape(flat, rows.shape)


def boundary_targets(
    hidden: HiddenTokens, *, ends: Int32[tf.Tensor, "batch segments"], max_boundary_offsets: int
) -> tuple[Int32[tf.Tensor, " hidden"], Int32[tf.Tensor, " hidden"]]:
    """Which hidden tokens are targets of the span boundary (0 or 1), and their offset in the run.

    Both neighbours of the run must be tokens of its segment: [CLS] and [SEP] are none (released
    code). Tokens from offset `max_boundary_offsets` on are left out, their offset given as 0.
    """
    offset = hidden.column - hidden.run_first
    separators = tf.gather(ends, hidden.row)
    left, right = hidden.run_first[:, None] - 1, hidden.run_last[:, None] + 1
    touches_separator = tf.reduce_any((left == separators) | (right == separators), axis=1)
    is_inside = (hidden.run_first > 0) & ~touches_separator
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
