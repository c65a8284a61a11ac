"""Masks contiguous spans. In: blocks of token ids. Out: the fields of batch.PretrainBatch.

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
from spanbert_jax.data.random_bits import uniform
from spanbert_jax.data.spans import budgets, hidden_positions

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
    """The hidden tokens of a batch of blocks of W tokens, ascending in (row, column)."""

    row: Int32[tf.Tensor, " hidden"]
    column: Int32[tf.Tensor, " hidden"]
    """0..W-1 inside the block, without [CLS]."""
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
    width = block_ids.shape[1]
    positions = hidden_positions(
        block_ids, lengths=lengths, seeds=seeds,
        word_starts=tf.constant(vocabulary.word_starts), config=config,
    )  # fmt: skip
    hidden = find_runs(positions, width=width)
    original_ids = tf.gather(tf.reshape(block_ids, [-1]), positions)
    input_ids = replace(original_ids, hidden, seeds=seeds, vocabulary=vocabulary, config=config)
    token_ids = lay_out(block_ids, hidden, input_ids, lengths=lengths, vocabulary=vocabulary)
    columns = tf.broadcast_to(tf.range(width + 2), token_ids.shape)
    has_boundary, offset = boundary_targets(
        hidden, lengths=lengths, max_boundary_offsets=max_boundary_offsets
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
        counts=budgets(lengths, mask_ratio=config.mask_ratio),
        num_slots=num_predictions,
    )
    return PretrainBatch(
        token_ids,
        tf.zeros_like(token_ids),
        tf.cast(columns < lengths[:, None] + 2, tf.int32),
        columns,
        *slots,
    )


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


def replace(
    original_ids: Int32[tf.Tensor, " hidden"],
    hidden: HiddenTokens,
    *,
    seeds: UInt64[tf.Tensor, " batch"],
    vocabulary: Vocabulary,
    config: MaskingConfig,
) -> Int32[tf.Tensor, " hidden"]:
    """What the model sees in place of the hidden tokens: [MASK], random tokens, or themselves.

    One draw for a whole run (released code; sec. 3.1), or for each token in the `subword` scheme.
    """
    seeds = tf.gather(seeds, hidden.row)
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
    lengths: Int32[tf.Tensor, " batch"],
    vocabulary: Vocabulary,
) -> Int32[tf.Tensor, "batch width+2"]:
    """[CLS] block [SEP] padding, with `input_ids` where tokens are hidden."""
    batch_size, width = block_ids.shape
    rows = tf.pad(block_ids, [[0, 0], [1, 1]], constant_values=vocabulary.pad_id)
    row_start = tf.range(batch_size) * (width + 2)
    places = [row_start, row_start + 1 + lengths, hidden.row * (width + 2) + 1 + hidden.column]
    values = [
        tf.fill([batch_size], vocabulary.cls_id), tf.fill([batch_size], vocabulary.sep_id),
        input_ids,
    ]  # fmt: skip
    flat = tf.tensor_scatter_nd_update(
        tf.reshape(rows, [-1]), tf.concat(places, axis=0)[:, None], tf.concat(values, axis=0)
    )
    return tf.reshape(flat, rows.shape)


def boundary_targets(
    hidden: HiddenTokens, *, lengths: Int32[tf.Tensor, " batch"], max_boundary_offsets: int
) -> tuple[Int32[tf.Tensor, " hidden"], Int32[tf.Tensor, " hidden"]]:
    """Which hidden tokens are targets of the span boundary (0 or 1), and their offset in the run.

    Both neighbours of the run must be tokens of the block: [CLS] and [SEP] are none (released
    code). Tokens from offset `max_boundary_offsets` on are left out, their offset given as 0.
    """
    offset = hidden.column - hidden.run_first
    is_inside = (hidden.run_first > 0) & (hidden.run_last + 1 < tf.gather(lengths, hidden.row))
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
