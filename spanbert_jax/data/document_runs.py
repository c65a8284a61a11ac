"""Cuts documents into runs of tokens, of which all but the last fill a packed row, or nearly.

In: sentence and document boundaries of a piece. Out: start and length of every run. A run ends with
a sentence where that leaves few places empty, else in the middle of one, which is counted.
"""

from bisect import bisect_right
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int32, Int64

MIN_RUN_TOKENS = 8
"""What is left of a document that is cut is no shorter: it takes tokens from the run before."""
MAX_EMPTY_SHARE = 1 / 32
"""So much of its room is left empty at most for a run to end with a sentence."""


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
    last = ends[document_ends]
    first = np.append(0, last)[: len(last)]
    is_long, sentences, starts = last - first > max_tokens, ends.tolist(), []
    for start, end in np.stack([first, last], axis=1)[is_long].tolist():
        while (start := end_of_run(start, end, max_tokens=max_tokens, ends=sentences)) < end:
            starts.append(start)
    all_starts = np.sort(np.append(first[last > first], np.array(starts, np.int64)))
    return all_starts, np.diff(all_starts, append=ends[-1]).astype(np.int32)


def end_of_run(start: int, end: int, *, max_tokens: int, ends: Sequence[int]) -> int:
    """Where a run ends that begins at `start` in a text that ends at `end`.

    end_of_run(4, 126, max_tokens=64, ends=[0, 4, 64, 67, 117, 126]) -> 67
    end_of_run(4, 69, max_tokens=64, ends=[0, 4, 40, 69]) -> 61, so that 8 tokens are left

    ends: of all sentences, ascending, with a 0 before them.
    """
    if end - start <= max_tokens:
        return end
    full = start + max_tokens
    sentence_end = ends[bisect_right(ends, full) - 1]
    is_near = full - sentence_end <= int(max_tokens * MAX_EMPTY_SHARE)
    return min(sentence_end if is_near else full, end - least_tokens(max_tokens))


def least_tokens(max_tokens: int) -> int:
    """Of a run where runs hold up to `max_tokens`, unless a document is as short."""
    return min(MIN_RUN_TOKENS, max_tokens // 2)


def num_cut_sentences(
    starts: Int64[np.ndarray, " runs"], *, sentence_ends: Int64[np.ndarray, " sentences"]
) -> int:
    """How many sentences lie in several runs.

    starts = [0, 3, 4, 9], sentence_ends = [2, 9, 12] -> 1
    """
    sentence = np.searchsorted(sentence_ends, starts, side="right")
    is_inside = np.append(0, sentence_ends)[sentence] < starts
    return len(np.unique(sentence[is_inside]))
