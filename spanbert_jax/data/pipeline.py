"""From rows to batches: order, masks, in tf.data.

In: the rows of a split, the number of the first example. Out: PretrainBatch after PretrainBatch,
each host's share of the global batches. The only state there is to save is the number of the next
example.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int64

from spanbert_jax.config import MaskingConfig
from spanbert_jax.data.batch import PretrainBatch
from spanbert_jax.data.host_tensorflow import tf
from spanbert_jax.data.masking import RowBatch, mask_rows
from spanbert_jax.data.random_bits import fold_in
from spanbert_jax.data.sentence_pairs import draw_pairs
from spanbert_jax.data.token_shards import RowReader, TokenShards
from spanbert_jax.errors import UserError, require

MIN_ROWS_PER_CALL = 256
"""Masks are made for at least so many rows at once: below, calls cost more than the work."""
HELD_OUT_SEED = 0
"""Of order and masks of held-out blocks: the same ones in every run."""


class ReadErrors:
    """What went wrong in the threads of tf.data, which passes on no more than its text."""

    def __init__(self) -> None:
        self._first: UserError | None = None

    def kept(self, read: Callable[..., RowBatch]) -> Callable[..., RowBatch]:
        """`read`, its error kept."""

        def reading(*args: Any) -> RowBatch:
            try:
                return read(*args)
            except UserError as error:
                self._first = self._first or error
                raise

        return reading

    def raised(self, batches: Iterator[PretrainBatch]) -> Iterator[PretrainBatch]:
        """`batches`, which end with the error as it was raised."""
        try:
            yield from batches
        except tf.errors.OpError:
            if self._first is None:
                raise
            raise self._first from None


@dataclass(frozen=True)
class Batches:
    """Batches of a host: a tf.data pipeline whose errors name files, not operations."""

    dataset: tf.data.Dataset
    errors: ReadErrors

    def take(self, count: int) -> "Batches":
        """The first `count` of them."""
        return Batches(self.dataset.take(count), self.errors)

    def as_numpy_iterator(self) -> Iterator[PretrainBatch]:
        """
        Raises:
            UserError: from `next`, where a piece of the corpus is missing or altered.
        """
        return self.errors.raised(self.dataset.as_numpy_iterator())


def pretrain_dataset(
    shards: TokenShards,
    *,
    masking: MaskingConfig,
    batch_size: int,
    max_boundary_offsets: int,
    seed: int,
    first_example: int = 0,
    num_epochs: int | None = None,
    host_index: int = 0,
    num_hosts: int = 1,
) -> Batches:
    """This host's rows of the global batches, from example `first_example` on, without end.

    Batch s holds the examples [first_example + s x batch_size, + batch_size) of the order, host h
    of H the rows [h x batch_size / H, (h + 1) x batch_size / H) of it. A row depends on (seed,
    epoch, block) alone. What does not fill a batch at the end of an epoch begins the next.

    num_epochs: ends the data there; the last batch is filled up with rows without targets.
    Yields PretrainBatch of int32 [batch_size / H, ...].
    """
    require(
        batch_size % num_hosts == 0, "--data.batch-size", batch_size,
        f"is not divisible by the {num_hosts} hosts that share it",
        f"use {math.ceil(batch_size / num_hosts) * num_hosts}",
    )  # fmt: skip
    host_rows = batch_size // num_hosts
    steps_per_call = math.ceil(MIN_ROWS_PER_CALL / host_rows)
    end_example = None if num_epochs is None else num_epochs * shards.num_blocks
    errors = ReadErrors()

    def batches_of_call(call: tf.Tensor) -> PretrainBatch:
        steps = call * steps_per_call + tf.range(steps_per_call, dtype=tf.int64)
        host_start = first_example + host_index * host_rows
        examples = host_start + steps[:, None] * batch_size + tf.range(host_rows, dtype=tf.int64)
        rows = masked_rows(
            tf.reshape(examples, [-1]), shards=shards, masking=masking,
            max_boundary_offsets=max_boundary_offsets, seed=seed, end_example=end_example,
            errors=errors,
        )  # fmt: skip
        return PretrainBatch(
            *(tf.reshape(field, [steps_per_call, host_rows, *field.shape[1:]]) for field in rows)
        )

    dataset = tf.data.Dataset.counter().map(
        tf.autograph.experimental.do_not_convert(batches_of_call),
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    )
    dataset = dataset.unbatch()
    if end_example is not None:
        dataset = dataset.take(max(0, math.ceil((end_example - first_example) / batch_size)))
    return Batches(dataset.prefetch(tf.data.AUTOTUNE), errors)


def held_out_batches(
    shards: TokenShards,
    *,
    masking: MaskingConfig,
    batch_size: int,
    max_boundary_offsets: int,
    num_batches: int,
    host_index: int = 0,
    num_hosts: int = 1,
) -> Batches:
    """Up to `num_batches` batches, always the same blocks with the same masks, each block once.

    Fewer where there are fewer blocks; the last batch is filled up with rows without targets. The
    blocks are of the first windows of the order, and do not depend on the seed of the run.
    """
    batches = pretrain_dataset(
        shards, masking=masking, batch_size=batch_size, max_boundary_offsets=max_boundary_offsets,
        seed=HELD_OUT_SEED, num_epochs=1, host_index=host_index, num_hosts=num_hosts,
    )  # fmt: skip
    return batches.take(num_batches)


def masked_rows(
    examples: Int64[tf.Tensor, " n"],
    *,
    shards: TokenShards,
    masking: MaskingConfig,
    max_boundary_offsets: int,
    seed: int,
    end_example: int | None = None,
    errors: ReadErrors,
) -> PretrainBatch:
    """The rows of these examples of the order; from `end_example` on, rows without targets."""
    reader = shards.reader(seed)
    epochs, blocks = tf.numpy_function(
        lambda numbers: _epochs_and_blocks(reader, numbers), [examples], [tf.int64] * 2,
        stateful=False,
    )  # fmt: skip
    epochs, blocks = (tf.ensure_shape(each, examples.shape) for each in (epochs, blocks))
    seeds = fold_in(fold_in(tf.constant(seed, tf.uint64), epochs), blocks)
    draws: tuple[tf.Tensor, ...] = ()
    if shards.block_kind == "sentence_pair":
        draws = draw_pairs(seeds, max_tokens=shards.rule.max_tokens)
    num_filled = tf.size(examples)
    if end_example is not None:
        num_filled = tf.reduce_sum(tf.cast(examples < end_example, tf.int32))
    rows = RowBatch(
        *tf.numpy_function(
            errors.kept(reader.read), [examples, num_filled, *draws],
            [tf.int32] * len(RowBatch._fields), stateful=False,
        )
    )  # fmt: skip
    return mask_rows(
        _with_shapes(rows, num_rows=examples.shape[0], length=shards.sequence_length),
        seeds=seeds, vocabulary=shards.vocabulary, config=masking,
        num_predictions=masking.num_predictions(shards.sequence_length, shards.block_kind),
        max_boundary_offsets=max_boundary_offsets,
    )  # fmt: skip


def _epochs_and_blocks(
    reader: RowReader, examples: Int64[np.ndarray, " n"]
) -> tuple[Int64[np.ndarray, " n"], Int64[np.ndarray, " n"]]:
    places = reader.order.locate(examples)
    return places.epoch, places.block


def _with_shapes(rows: RowBatch, *, num_rows: int, length: int) -> RowBatch:
    """What is known of rows when the graph is built: all but the numbers of segments and tags."""
    shapes: dict[str, list[int | None]] = dict.fromkeys(RowBatch._fields, [None])
    for name in ("token_ids", "document_ids", "position_ids", "segment_ids"):
        shapes[name] = [num_rows, length]
    shapes["next_sentence_label"] = [num_rows]
    return RowBatch(
        *(tf.ensure_shape(field, shapes[name]) for name, field in rows._asdict().items())
    )
