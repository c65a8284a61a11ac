"""From shards to batches: order, rows, masks, in tf.data.

In: a folder of shards, the number of the first example. Out: PretrainBatch after PretrainBatch,
each host's share of the global batches. The only state there is to save is the number of the next
example.
"""

import math
from dataclasses import dataclass

import numpy as np
from etils import epath
from jaxtyping import Int32, Int64, Integer, UInt64

from spanbert_jax.config import BlockKind, MaskingConfig, tokens_of_text
from spanbert_jax.corpus.shards import (
    Manifest,
    load_shard,
    read_manifest,
    read_unigram_counts,
)
from spanbert_jax.corpus.tokenizers import load_tokenizer
from spanbert_jax.data.batch import NO_PAIR, PretrainBatch
from spanbert_jax.data.blocks import Blocks, BlockSummary, cut_blocks
from spanbert_jax.data.host_tensorflow import tf
from spanbert_jax.data.masking import RowBatch, Vocabulary, mask_rows
from spanbert_jax.data.order import epochs_and_blocks
from spanbert_jax.data.random_bits import fold_in
from spanbert_jax.data.rows import rows_of_texts
from spanbert_jax.data.sentence_pairs import SentencePairs, draw_pairs
from spanbert_jax.errors import UserError, require

MIN_ROWS_PER_CALL = 256
"""Masks are made for at least so many rows at once: below, calls cost more than the work."""
HELD_OUT_SEED = 0
"""Of order and masks of held-out blocks: the same ones in every run."""


@dataclass(frozen=True)
class TokenShards:
    """The blocks of one split, ready to be read."""

    tokens: tuple[Integer[np.ndarray, " _"], ...]
    """Token ids of every shard."""
    blocks: Blocks
    summary: BlockSummary
    vocabulary: Vocabulary
    sequence_length: int
    """Tokens in a row, L, with [CLS] and [SEP]."""
    pairs: SentencePairs | None = None
    """Where rows are sentence pairs: the text that they are made of."""

    @property
    def num_blocks(self) -> int:
        return self.summary.num_blocks

    @property
    def block_kind(self) -> BlockKind:
        return "document" if self.pairs is None else "sentence_pair"

    def read(
        self, block_ids: Int64[np.ndarray, " n"]
    ) -> tuple[Int32[np.ndarray, "n width"], Int32[np.ndarray, " n"]]:
        """Token ids of blocks, padded to L - 2, and their lengths; -1 is an empty block."""
        width = self.sequence_length - 2
        rows = np.full((len(block_ids), width), self.vocabulary.pad_id, np.int32)
        lengths = np.where(block_ids < 0, 0, self.blocks.length[block_ids]).astype(np.int32)
        places = self.blocks.shard[block_ids], self.blocks.start[block_ids], lengths
        # A slice a row: half the cost of one gather, which needs an index for every token.
        for row, shard, start, length in zip(rows, *(x.tolist() for x in places), strict=True):
            row[:length] = self.tokens[shard][start : start + length]
        return rows, lengths


def open_token_shards(
    folder: epath.PathLike,
    *,
    split: str = "train",
    sequence_length: int,
    blocks: BlockKind = "document",
) -> TokenShards:
    """Open one split ("train" or "held_out") of a folder written by `spanbert prepare`.

    Raises `UserError` where the folder holds no shards, or the split too few documents: one, or two
    where half of all sentence pairs join text of different ones.
    """
    manifest = read_manifest(folder)
    for name, remedy in (("train", "more text"), (split, "--held-out 0.01")):
        _require_documents(folder, manifest, split=name, blocks=blocks, remedy=remedy)
    shards = tuple(load_shard(folder, info) for info in manifest.splits[split])
    max_tokens = tokens_of_text(sequence_length, blocks)
    cut, summary = cut_blocks(shards, max_tokens=max_tokens)
    vocabulary = _vocabulary(folder, manifest)
    return TokenShards(
        tokens=tuple(shard.tokens for shard in shards),
        blocks=cut,
        summary=summary,
        vocabulary=vocabulary,
        sequence_length=sequence_length,
        pairs=(
            SentencePairs(shards, cut, max_tokens, vocabulary.pad_id)
            if blocks == "sentence_pair"
            else None
        ),
    )


def _require_documents(
    folder: epath.PathLike, manifest: Manifest, *, split: str, blocks: BlockKind, remedy: str
) -> None:
    found = manifest.totals[split]["num_documents"]
    if found == 0:
        raise UserError(
            f"--data.shards {folder}: the {split} split must hold at least one document, "
            f"found none; run `spanbert prepare` with {remedy} into a new folder"
        )
    if found == 1 and blocks == "sentence_pair":
        raise UserError(
            f"--data.blocks {blocks}: a random second segment is of another document, so the "
            f"{split} split of --data.shards {folder} must hold at least 2, found 1; use "
            f"--data.blocks document, or run `spanbert prepare` with {remedy} into a new folder"
        )


def _vocabulary(folder: epath.PathLike, manifest: Manifest) -> Vocabulary:
    tokenizer = load_tokenizer(epath.Path(folder) / manifest.tokenizer.file)
    return Vocabulary(
        word_starts=np.asarray(tokenizer.word_starts),
        cumulative_counts=np.cumsum(read_unigram_counts(folder, manifest)),
        cls_id=tokenizer.cls_id,
        sep_id=tokenizer.sep_id,
        mask_id=tokenizer.mask_id,
        pad_id=tokenizer.pad_id,
    )


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
) -> tf.data.Dataset:
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

    def batches_of_call(call: tf.Tensor) -> PretrainBatch:
        steps = call * steps_per_call + tf.range(steps_per_call, dtype=tf.int64)
        host_start = first_example + host_index * host_rows
        examples = host_start + steps[:, None] * batch_size + tf.range(host_rows, dtype=tf.int64)
        rows = masked_rows(
            tf.reshape(examples, [-1]), shards=shards, masking=masking,
            max_boundary_offsets=max_boundary_offsets, seed=seed, end_example=end_example,
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
    return dataset.prefetch(tf.data.AUTOTUNE)


def held_out_batches(
    shards: TokenShards,
    *,
    masking: MaskingConfig,
    batch_size: int,
    max_boundary_offsets: int,
    num_batches: int,
    host_index: int = 0,
    num_hosts: int = 1,
) -> tf.data.Dataset:
    """Up to `num_batches` batches, always the same blocks with the same masks, each block once.

    Fewer where there are fewer blocks; the last batch is filled up with rows without targets. The
    blocks are spread over the whole split, and do not depend on the seed of the run.
    """
    dataset = pretrain_dataset(
        shards, masking=masking, batch_size=batch_size, max_boundary_offsets=max_boundary_offsets,
        seed=HELD_OUT_SEED, num_epochs=1, host_index=host_index, num_hosts=num_hosts,
    )  # fmt: skip
    return dataset.take(num_batches)


def masked_rows(
    examples: Int64[tf.Tensor, " n"],
    *,
    shards: TokenShards,
    masking: MaskingConfig,
    max_boundary_offsets: int,
    seed: int,
    end_example: int | None = None,
) -> PretrainBatch:
    """The rows of these examples of the order; from `end_example` on, rows without targets."""
    epochs, blocks = epochs_and_blocks(examples, num_blocks=shards.num_blocks, seed=seed)
    seeds = fold_in(fold_in(tf.constant(seed, tf.uint64), epochs), blocks)
    if end_example is not None:
        blocks = tf.where(examples < end_example, blocks, -1)
    return mask_rows(
        row_batch(blocks, seeds=seeds, shards=shards),
        seeds=seeds, vocabulary=shards.vocabulary, config=masking,
        num_predictions=masking.num_predictions(shards.sequence_length, shards.block_kind),
        max_boundary_offsets=max_boundary_offsets,
    )  # fmt: skip


def row_batch(
    blocks: Int64[tf.Tensor, " n"], *, seeds: UInt64[tf.Tensor, " n"], shards: TokenShards
) -> RowBatch:
    """The rows of these blocks, before masking; -1 is an empty block."""

    def read(block_ids: np.ndarray, *draws: np.ndarray) -> RowBatch:
        if shards.pairs is None:
            texts, lengths = shards.read(block_ids)
            lengths, labels = lengths[:, None], np.full(len(block_ids), NO_PAIR, np.int32)
        else:
            texts, lengths, labels = shards.pairs.read(block_ids, *draws)
        return rows_of_texts(
            texts, lengths=lengths, next_sentence_label=labels, vocabulary=shards.vocabulary
        )

    draws = () if shards.pairs is None else draw_pairs(seeds, max_tokens=shards.pairs.max_tokens)
    types = [tf.int32] * len(RowBatch._fields)
    rows = RowBatch(*tf.numpy_function(read, [blocks, *draws], types, stateful=False))
    shapes = dict.fromkeys(RowBatch._fields, [None])
    full = [blocks.shape[0], shards.sequence_length]
    shapes |= dict.fromkeys(("token_ids", "document_ids", "position_ids", "segment_ids"), full)
    shapes["next_sentence_label"] = [blocks.shape[0]]
    return RowBatch(**{k: tf.ensure_shape(v, shapes[k]) for k, v in rows._asdict().items()})
