"""Cuts documents into blocks: the rows of a batch, before [CLS] and [SEP].

In: shards of token ids with sentence and document boundaries. Out: shard, start and length of
every block. A block holds whole sentences of one document, as many as fit (the original's rule).
Where the original drops a sentence that is longer than a block, this splits it, and counts that.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int, Int32, Int64

from spanbert_jax.corpus.shards import Shard


class Blocks(NamedTuple):
    """Where each of the N blocks lies; a block's index is its identity in order and masks."""

    shard: Int32[np.ndarray, " blocks"]
    start: Int64[np.ndarray, " blocks"]
    """Offset of its first token in the shard."""
    length: Int32[np.ndarray, " blocks"]


class BlockSummary(NamedTuple):
    """What cutting into blocks made of the text; `str()` is one line for the log."""

    num_blocks: int
    num_tokens: int
    max_tokens: int
    num_split_sentences: int

    @property
    def padding_share(self) -> float:
        """Share of the blocks' places that stay empty."""
        return 1.0 - self.num_tokens / max(1, self.num_blocks * self.max_tokens)

    def __str__(self) -> str:
        return (
            f"{self.num_blocks:,} blocks of up to {self.max_tokens} tokens: "
            f"{self.num_tokens:,} tokens, {self.padding_share:.1%} padding, "
            f"{self.num_split_sentences:,} over-long sentences split"
        )


def cut_blocks(shards: Iterable[Shard], *, max_tokens: int) -> tuple[Blocks, BlockSummary]:
    """Blocks of all shards, in the order of the text."""
    parts, num_tokens, num_split = [], 0, 0
    for index, shard in enumerate(shards):
        starts, lengths = document_blocks(
            shard.sentence_ends, document_ends=shard.document_ends, max_tokens=max_tokens
        )
        parts.append(Blocks(np.full(len(starts), index, np.int32), starts, lengths))
        num_tokens += len(shard.tokens)
        num_split += int(np.sum(np.diff(shard.sentence_ends, prepend=0) > max_tokens))
    empty = Blocks(np.zeros(0, np.int32), np.zeros(0, np.int64), np.zeros(0, np.int32))
    blocks = Blocks(*(np.concatenate(arrays) for arrays in zip(empty, *parts, strict=True)))
    assert int(blocks.length.sum(dtype=np.int64)) == num_tokens
    return blocks, BlockSummary(len(blocks.start), num_tokens, max_tokens, num_split)


def document_blocks(
    sentence_ends: Int64[np.ndarray, " sentences"],
    *,
    document_ends: Int64[np.ndarray, " documents"],
    max_tokens: int,
) -> tuple[Int64[np.ndarray, " blocks"], Int32[np.ndarray, " blocks"]]:
    """Start and length of the blocks of one shard.

    Two documents, sentences of 2, 2, 3 and of 1, 9 tokens, at most 4 tokens in a block:
    sentence_ends = [2, 4, 7, 8, 17], document_ends = [3, 5]
    -> starts = [0, 4, 7, 8, 12, 16], lengths = [4, 3, 1, 4, 4, 1]
    (the sentence of 9 is split in 4, 4 and 1)
    """
    piece_ends, document_ends = split_long_sentences(
        sentence_ends, document_ends=document_ends, max_tokens=max_tokens
    )
    piece_starts = np.concatenate([np.zeros(1, np.int64), piece_ends])[: len(piece_ends)]
    own_document_end = np.repeat(document_ends, np.diff(document_ends, prepend=0))
    # If a block began at this piece, with which would the next one begin?
    following = np.searchsorted(piece_ends, piece_starts + max_tokens, side="right")
    following = np.minimum(following, own_document_end)
    first = np.flatnonzero(reachable(following, roots=np.append(0, document_ends)))
    starts = piece_starts[first]
    return starts, (piece_ends[following[first] - 1] - starts).astype(np.int32)


def split_long_sentences(
    sentence_ends: Int64[np.ndarray, " sentences"],
    *,
    document_ends: Int64[np.ndarray, " documents"],
    max_tokens: int,
) -> tuple[Int64[np.ndarray, " pieces"], Int64[np.ndarray, " documents"]]:
    """Cut sentences into pieces of at most `max_tokens`; document ends count pieces then.

    sentence_ends = [2, 11], document_ends = [2], max_tokens = 4 -> [2, 6, 10, 11], [4]
    """
    sentence_starts = np.append(0, sentence_ends)[: len(sentence_ends)]
    num_pieces = -((sentence_starts - sentence_ends) // max_tokens)
    pieces_until = np.append(0, np.cumsum(num_pieces))
    place = np.arange(pieces_until[-1]) - np.repeat(pieces_until[:-1], num_pieces)
    piece_ends = np.repeat(sentence_starts, num_pieces) + (place + 1) * max_tokens
    return np.minimum(piece_ends, np.repeat(sentence_ends, num_pieces)), pieces_until[document_ends]


def reachable(
    following: Int[np.ndarray, " n"], *, roots: Int[np.ndarray, " roots"]
) -> Bool[np.ndarray, " n"]:
    """What is met by going on from the roots; n stands for the end.

    following = [2, 3, 3, 4], roots = [0] -> [True, False, True, True]
    """
    end = len(following)
    reached = np.zeros(end + 1, bool)
    reached[roots] = True
    leap = np.append(following, end)
    # Leaps double in length: a document of n blocks takes log2(n) rounds, not n.
    while not np.all(reached[leap[reached]]):
        reached[leap[reached]] = True
        leap = leap[leap]
    return reached[:-1]
