"""From rows to batches: order, masks, in tf.data.

In: the rows of a split, the number of the first example. Out: PretrainBatch after PretrainBatch,
each process' share of the global batches. The only state there is to save is the number of the next
example.
"""

import math
import os
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int64

from spanbert_jax.config import MaskingConfig
from spanbert_jax.data.batch import PretrainBatch
from spanbert_jax.data.cutting import BlockRule
from spanbert_jax.data.host_tensorflow import tf
from spanbert_jax.data.masking import RowBatch, mask_rows
from spanbert_jax.data.order import Places
from spanbert_jax.data.random_bits import fold_in
from spanbert_jax.data.sentence_pairs import draw_pairs
from spanbert_jax.data.token_shards import NO_END, RowReader, TokenShards

MIN_ROWS_PER_CALL = 256
"""Masks are made for at least so many rows at once: below, calls cost more than the work."""
HELD_OUT_SEED = 0
"""Of order and masks of held-out blocks: the same ones in every run."""
# Of all processes. Calls at work at a time stay far within a window, however small a share is.
_MAX_EXAMPLES_PER_CALL = 4_096
_NUM_CALLS = min(16, os.cpu_count() or 1)
# Bound here: a generator that is left open ends when the modules of a program are gone.
_OPERATION_ERROR = tf.errors.OpError


@dataclass
class Source:
    """The rows that a pipeline reads, and what went wrong in doing so.

    TensorFlow keeps the functions of a pipeline for ever, and of their errors no more than a text.
    So these functions know a source by a weak reference: what it holds is let go with its batches.
    """

    reader: RowReader
    end_example: int
    error: Exception | None = None

    def locate(self, examples: Int64[np.ndarray, " n"]) -> Places:
        return self.reader.order.locate(examples)

    def read(self, examples: Int64[np.ndarray, " n"], *places_and_draws: np.ndarray) -> RowBatch:
        split = len(Places._fields)
        places, draws = Places(*places_and_draws[:split]), places_and_draws[split:]
        try:
            return self.reader.read(examples, places, *draws, end_example=self.end_example)
        except Exception as error:
            self.error = self.error or error
            raise


@dataclass(frozen=True)
class Batches:
    """Batches of a process: a tf.data pipeline whose errors are those that were raised in it."""

    dataset: tf.data.Dataset
    source: Source

    def take(self, count: int) -> "Batches":
        """The first `count` of them."""
        return Batches(self.dataset.take(count), self.source)

    def as_numpy_iterator(self) -> Iterator[PretrainBatch]:
        """
        Raises:
            UserError: from `next`, where a piece of the corpus is missing or altered.
        """
        self.source.error = None
        iterator = self.dataset.as_numpy_iterator()
        try:
            yield from iterator
        except _OPERATION_ERROR:
            if self.source.error is None:
                raise
            raise self.source.error from None
        finally:
            # Ends the calls at work, while their source is still held.
            del iterator


def pretrain_dataset(
    shards: TokenShards,
    *,
    masking: MaskingConfig,
    batch_size: int,
    max_boundary_offsets: int,
    seed: int,
    first_example: int = 0,
    num_epochs: int | None = None,
    share: Int64[np.ndarray, " rows"] | None = None,
) -> Batches:
    """This process' rows of the global batches, from example `first_example` on, without end.

    Batch s holds the examples [first_example + s x batch_size, + batch_size) of the order. A row
    depends on (seed, epoch, block) alone. What does not fill a batch at the end of an epoch begins
    the next.

    num_epochs: ends the data there; the last batch is filled up with rows without targets.
    share: numbers of the rows of a batch that are made here, in [0, batch_size); all by default.
    Yields PretrainBatch of int32 [rows, ...].
    """
    share = np.arange(batch_size) if share is None else share
    num_rows = len(share)
    steps_per_call = math.ceil(MIN_ROWS_PER_CALL / num_rows)
    steps_per_call = max(1, min(steps_per_call, _MAX_EXAMPLES_PER_CALL // batch_size))
    end_example = NO_END if num_epochs is None else num_epochs * shards.num_blocks
    source = Source(shards.reader(seed), end_example)
    rows_of = rows_reader(source, rule=shards.rule, seed=seed)

    def batches_of_call(call: tf.Tensor) -> PretrainBatch:
        steps = call * steps_per_call + tf.range(steps_per_call, dtype=tf.int64)
        examples = first_example + steps[:, None] * batch_size + tf.constant(share, tf.int64)
        rows, seeds = rows_of(tf.reshape(examples, [-1]))
        masked = mask_rows(
            rows, seeds=seeds, vocabulary=shards.vocabulary, config=masking,
            num_predictions=masking.num_predictions(shards.sequence_length, shards.block_kind),
            max_boundary_offsets=max_boundary_offsets,
        )  # fmt: skip
        return PretrainBatch(
            *(tf.reshape(field, [steps_per_call, num_rows, *field.shape[1:]]) for field in masked)
        )

    dataset = tf.data.Dataset.counter().map(
        tf.autograph.experimental.do_not_convert(batches_of_call),
        num_parallel_calls=_NUM_CALLS,
        deterministic=True,
    )
    dataset = dataset.unbatch()
    if num_epochs is not None:
        dataset = dataset.take(max(0, math.ceil((end_example - first_example) / batch_size)))
    return Batches(dataset.prefetch(tf.data.AUTOTUNE), source)


def held_out_batches(
    shards: TokenShards,
    *,
    masking: MaskingConfig,
    batch_size: int,
    max_boundary_offsets: int,
    num_batches: int,
    share: Int64[np.ndarray, " rows"] | None = None,
) -> Batches:
    """Up to `num_batches` batches, always the same blocks with the same masks, each block once.

    Fewer where there are fewer blocks; the last batch is filled up with rows without targets. The
    blocks are of the first windows of the order, and do not depend on the seed of the run.
    """
    batches = pretrain_dataset(
        shards, masking=masking, batch_size=batch_size, max_boundary_offsets=max_boundary_offsets,
        seed=HELD_OUT_SEED, num_epochs=1, share=share,
    )  # fmt: skip
    return batches.take(num_batches)


def rows_reader(
    source: Source, *, rule: BlockRule, seed: int
) -> Callable[[tf.Tensor], tuple[RowBatch, tf.Tensor]]:
    """A function from examples of the order to their rows, before masking, and the rows' seeds.

    The function does not keep `source` alive.
    """
    held = weakref.ref(source)

    def of(method: str) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            found = held()
            assert found is not None, "whoever draws batches holds their source"
            return getattr(found, method)(*args)

        return call

    def rows_of(examples: tf.Tensor) -> tuple[RowBatch, tf.Tensor]:
        types = [tf.int64] * len(Places._fields)
        located = tf.numpy_function(of("locate"), [examples], types, stateful=False)
        places = Places(*(tf.ensure_shape(each, examples.shape) for each in located))
        seeds = fold_in(fold_in(tf.constant(seed, tf.uint64), places.epoch), places.block)
        # Known before the text is read, since they depend on the seed alone.
        draws: tuple[tf.Tensor, ...] = ()
        if rule.blocks == "sentence_pair":
            draws = draw_pairs(seeds, max_tokens=rule.max_tokens)
        rows = tf.numpy_function(
            of("read"), [examples, *places, *draws], [tf.int32] * len(RowBatch._fields),
            stateful=False,
        )  # fmt: skip
        rows = _with_shapes(
            RowBatch(*rows), num_rows=examples.shape[0], length=rule.sequence_length
        )
        return rows, seeds

    return rows_of


def _with_shapes(rows: RowBatch, *, num_rows: int, length: int) -> RowBatch:
    """What is known of rows when the graph is built: all but the numbers of segments and tags."""
    shapes: dict[str, list[int | None]] = dict.fromkeys(RowBatch._fields, [None])
    for name in ("token_ids", "document_ids", "position_ids", "segment_ids"):
        shapes[name] = [num_rows, length]
    shapes["next_sentence_label"] = [num_rows]
    return RowBatch(
        *(tf.ensure_shape(field, shapes[name]) for name, field in rows._asdict().items())
    )
