"""Packs several documents into a row, so that hardly any padding remains.

In: a piece: its sentence and document boundaries. Out: which runs of tokens every row holds; each
becomes [CLS] run [SEP].

First, documents are cut into runs, of which all but the last fill a row, or nearly: a run ends with
a sentence where that leaves few places empty, else in the middle of one, which is counted. Then all
runs are packed (best_fit.py). No token is left out. A row holds no more runs than it has prediction
slots for: the budget of each is rounded up.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Int32, Int64

from spanbert_jax.corpus.shards import Shard
from spanbert_jax.data.best_fit import SPECIAL_TOKENS, best_fit
from spanbert_jax.data.blocks import RowCounts, Rows

MIN_RUN_TOKENS = 8
"""What is left of a document after its full rows is no shorter: it takes tokens from the last."""
MAX_EMPTY_SHARE = 1 / 32
"""So much of a row is left empty at most for a run to end with a sentence."""


def packed_rows(
    piece: Shard, *, sequence_length: int, max_slots: int, budget: Callable[[int], int]
) -> tuple[Rows, RowCounts]:
    """Rows in the order of the text that they begin with; the token ids are not looked at.

    Three documents, sentences of 5, of 6 and 30, and of 4 tokens, rows of 22 tokens and slots
    enough:
    sentence_ends = [5, 11, 41, 45], document_ends = [1, 3, 4]
    -> row_splits = [0, 2, 3, 4], start = [0, 41, 5, 25], length = [5, 4, 20, 16]
    (the rows hold 5 and 4, 20, and 16 tokens; the sentence of 30 is cut)

    max_slots: prediction slots P of a row; budget: tokens that are hidden in a run of so many.
    """
    starts, lengths = cut_documents(
        piece.sentence_ends,
        document_ends=piece.document_ends,
        max_tokens=sequence_length - SPECIAL_TOKENS,
    )
    budgets = [budget(n) for n in range(sequence_length - 1)]
    row = best_fit(lengths, sequence_length=sequence_length, budgets=budgets, max_slots=max_slots)
    _, first_run = np.unique(row, return_index=True)
    row = np.argsort(np.argsort(first_run))[row]
    order = np.argsort(row, kind="stable")
    rows = Rows(np.append(0, np.cumsum(np.bincount(row))), starts[order], lengths[order])
    return rows, RowCounts(
        num_rows=len(first_run),
        num_segments=len(starts),
        num_tokens=int(lengths.sum(dtype=np.int64)),
        num_split_sentences=num_cut_sentences(starts, sentence_ends=piece.sentence_ends),
    )


def cut_documents(
    sentence_ends: Int64[np.ndarray, " sentences"],
    *,
    document_ends: Int64[np.ndarray, " documents"],
    max_tokens: int,
) -> tuple[Int64[np.ndarray, " runs"], Int32[np.ndarray, " runs"]]:
    """Start and length of the runs, in the order of the text, which they make up together.

    Two documents, sentences of 4 and of 60, 3, 50 and 9 tokens, runs of at most 64:
    sentence_ends = [4, 64, 67, 117, 126], document_ends = [1, 5]
    -> starts = [0, 4, 67], lengths = [4, 63, 59]
    (of the sentence of 50, one token had fitted into the second run)
    """
    ends = np.append(0, sentence_ends)
    first, last = ends[np.append(0, document_ends[:-1])[: len(document_ends)]], ends[document_ends]
    is_long, ends_list = last - first > max_tokens, ends.tolist()
    inner = [
        start
        for document in np.stack([first, last], axis=1)[is_long].tolist()
        for start in _inner_starts(ends_list, *document, max_tokens=max_tokens)
    ]
    starts = np.sort(np.append(first[last > first], np.array(inner, np.int64)))
    return starts, np.diff(starts, append=ends[-1]).astype(np.int32)


def _inner_starts(ends: Sequence[int], start: int, end: int, *, max_tokens: int) -> list[int]:
    """Where the runs of a document begin, but for the first."""
    max_empty = int(max_tokens * MAX_EMPTY_SHARE)
    min_tokens = min(MIN_RUN_TOKENS, max_tokens // 2)
    starts = []
    while end - start > max_tokens:
        full = start + max_tokens
        sentence_end = ends[bisect_right(ends, full) - 1]
        cut = sentence_end if full - sentence_end <= max_empty else full
        start = min(cut, end - min_tokens)
        starts.append(start)
    return starts


def num_cut_sentences(
    starts: Int64[np.ndarray, " runs"], *, sentence_ends: Int64[np.ndarray, " sentences"]
) -> int:
    """How many sentences lie in several runs.

    starts = [0, 3, 4, 9], sentence_ends = [2, 9, 12] -> 1
    """
    sentence = np.searchsorted(sentence_ends, starts, side="right")
    is_inside = np.append(0, sentence_ends)[sentence] < starts
    return len(np.unique(sentence[is_inside]))
