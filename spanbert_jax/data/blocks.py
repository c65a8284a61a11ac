"""Cuts documents into blocks: the rows of a batch, before [CLS] and [SEP].

In: pieces of shards: token ids with sentence and document boundaries. Out: which runs of tokens
every row holds, and counts of what was split or left out. A block holds whole sentences of one
document, as many as fit (the original's rule). Where the original drops a sentence that is longer
than a block, this splits it, unless asked to do the same.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int, Int32, Int64, Integer

from spanbert_jax.config import OverLongSentences
from spanbert_jax.corpus.shards import Shard


class Rows(NamedTuple):
    """Which runs of a text some rows hold: all rows of a piece, or those of a batch.

    The index of a row among all rows of its piece is its identity in order and masks.
    """

    row_splits: Int64[np.ndarray, " rows_and_end"]
    """Runs of row i: row_splits[i]:row_splits[i + 1]. Those of a block are joined to one segment:
    between two of them a sentence was dropped. Those of a packed row are segments each."""
    start: Int64[np.ndarray, " runs"]
    """Offset of a run's first token in the text."""
    length: Integer[np.ndarray, " runs"]
    """Tokens of text, without [CLS] and [SEP]."""


class RowCounts(NamedTuple):
    """What cutting into rows made of the text; those of many pieces are added up."""

    num_rows: int = 0
    num_segments: int = 0
    """Each costs a row two more tokens, [CLS] and [SEP]."""
    num_tokens: int = 0
    """Tokens of text in the rows."""
    num_split_sentences: int = 0
    """Sentences that lie in more than one row."""
    num_dropped_sentences: int = 0
    """Sentences longer than a block, where they are not split."""
    num_dropped_tokens: int = 0
    num_lost_sentences: int = 0
    """Sentences of the blocks that are lost because the document ends with a dropped sentence."""
    num_lost_tokens: int = 0

    def filled_share(self, sequence_length: int) -> float:
        """Share of the places in rows of so many that are not padding."""
        num_filled = self.num_tokens + 2 * self.num_segments
        return num_filled / max(1, self.num_rows * sequence_length)


def add_counts(counts: Iterable[RowCounts]) -> RowCounts:
    """add_counts([RowCounts(1, 1, 5), RowCounts(2, 3, 7)]) -> RowCounts(3, 4, 12)"""
    return RowCounts(*map(sum, zip(RowCounts(), *counts, strict=True)))


class BlockSummary(NamedTuple):
    """What cutting into rows made of the text; `str()` is one line for the log."""

    sequence_length: int
    counts: RowCounts

    def __str__(self) -> str:
        made = self.counts
        filled = made.filled_share(self.sequence_length)
        parts = [
            f"{made.num_tokens:,} tokens of text",
            f"{made.num_split_sentences:,} sentences split",
        ]
        if made.num_dropped_sentences:
            parts.append(
                f"{made.num_dropped_sentences:,} over-long sentences "
                f"({made.num_dropped_tokens:,} tokens) dropped and {made.num_lost_sentences:,} "
                f"({made.num_lost_tokens:,} tokens) lost with them"
            )
        rows = f"{made.num_rows:,} rows of {self.sequence_length} tokens, {filled:.1%} filled"
        return f"{rows}: {', '.join(parts)}"


def document_rows(
    piece: Shard, *, max_tokens: int, over_long: OverLongSentences = "split"
) -> tuple[Rows, RowCounts]:
    """One block a row, in the order of the text; the token ids are not looked at.

    over_long: what becomes of a sentence longer than `max_tokens`. split: it is cut into blocks of
    its own, the last of which goes on with the sentences that follow; no token is lost. original:
    as the released code does, it is dropped, and where it is the last of its document, so is the
    block of sentences that was being filled.
    """
    if over_long == "original":
        return original_rows(piece, max_tokens=max_tokens)
    starts, lengths = document_blocks(
        piece.sentence_ends, document_ends=piece.document_ends, max_tokens=max_tokens
    )
    num_rows, num_tokens = len(starts), int(lengths.sum(dtype=np.int64))
    num_split = int(np.sum(np.diff(piece.sentence_ends, prepend=0) > max_tokens))
    counts = RowCounts(num_rows, num_rows, num_tokens, num_split)
    return Rows(np.arange(num_rows + 1), starts, lengths), counts


def original_rows(piece: Shard, *, max_tokens: int) -> tuple[Rows, RowCounts]:
    """Blocks as the released code makes them: sentence after sentence, a loop without an `else`.

    A sentence that fits into a block at all joins the block that is being filled, or, where that
    has no room for it, ends it and begins the next; and if it is the document's last, it ends the
    block. A sentence longer than a block does nothing: the block that is being filled goes on with
    the sentence after it, or, at the end of the document, is never ended.

    Two documents, sentences of 2, 9, 1, 2 and of 3, 4, 9 tokens, at most 4 tokens in a block:
    sentence_ends = [2, 11, 12, 14, 17, 21, 30], document_ends = [4, 7]
    -> row_splits = [0, 2, 3, 4], start = [0, 11, 12, 14], length = [2, 1, 2, 3]
    (the first row joins the sentences of 2 and 1; of the second document, that of 4 is lost)
    """
    sizes = np.diff(piece.sentence_ends, prepend=0)
    is_kept = (sizes <= max_tokens) & (sizes > 0)
    ends, sizes_kept = piece.sentence_ends[is_kept], sizes[is_kept]
    kept_ends = np.cumsum(sizes_kept)
    num_kept_until = np.append(0, np.cumsum(is_kept))[np.append(0, piece.document_ends)]
    # Blocks of the text that is left when what is dropped has been taken out of it.
    block_starts, block_sizes = document_blocks(
        kept_ends, document_ends=num_kept_until[1:], max_tokens=max_tokens
    )
    block = np.searchsorted(block_starts, kept_ends - sizes_kept, side="right") - 1
    is_lost = np.zeros(len(block_starts), bool)
    ends_over_long = np.append(0, sizes)[piece.document_ends] > max_tokens
    has_block = np.diff(num_kept_until) > 0
    is_lost[block[num_kept_until[1:][ends_over_long & has_block] - 1]] = True
    rows = _joined_runs(ends, sizes=sizes_kept, block=block, is_lost=is_lost)
    is_dropped = sizes > max_tokens
    num_rows = len(rows.row_splits) - 1
    return rows, RowCounts(
        num_rows=num_rows,
        num_segments=num_rows,
        num_tokens=int(rows.length.sum(dtype=np.int64)),
        num_dropped_sentences=int(is_dropped.sum()),
        num_dropped_tokens=int(sizes[is_dropped].sum()),
        num_lost_sentences=int(is_lost[block].sum()),
        num_lost_tokens=int(block_sizes[is_lost].sum(dtype=np.int64)),
    )


def _joined_runs(
    ends: Int64[np.ndarray, " sentences"],
    *,
    sizes: Int64[np.ndarray, " sentences"],
    block: Int64[np.ndarray, " sentences"],
    is_lost: Bool[np.ndarray, " blocks"],
) -> Rows:
    """Rows of these sentences, each of which has its block; neighbours in the text make one run."""
    is_last = np.append((block[1:] != block[:-1]) | (ends[1:] - sizes[1:] != ends[:-1]), True)
    is_last = is_last[: len(ends)]
    run_block, run_ends = block[is_last], ends[is_last]
    lengths = np.diff(np.cumsum(sizes)[is_last], prepend=0)
    is_kept = ~is_lost[run_block]
    num_runs = np.bincount(run_block, minlength=len(is_lost))[~is_lost]
    return Rows(
        np.append(0, np.cumsum(num_runs)),
        (run_ends - lengths)[is_kept],
        lengths[is_kept].astype(np.int32),
    )


def document_blocks(
    sentence_ends: Int64[np.ndarray, " sentences"],
    *,
    document_ends: Int64[np.ndarray, " documents"],
    max_tokens: int,
) -> tuple[Int64[np.ndarray, " blocks"], Int32[np.ndarray, " blocks"]]:
    """Start and length of the blocks of one piece, over-long sentences split.

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
