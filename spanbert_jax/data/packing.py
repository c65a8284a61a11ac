"""Packs several documents into a row, so that hardly any padding remains.

In: a piece: its sentence and document boundaries. Out: which runs of tokens every row holds; each
becomes [CLS] run [SEP].

Documents are cut into runs (document_runs.py), which are packed (best_fit.py); where that leaves
much of many rows empty, the text of some is cut to fill the others (hole_filling.py). No token is
left out. A row holds no more runs than it has prediction slots for: the budget of each is rounded
up.
"""

from collections.abc import Callable

import numpy as np

from spanbert_jax.corpus.shards import Shard
from spanbert_jax.data.best_fit import SPECIAL_TOKENS, RowLimits, best_fit
from spanbert_jax.data.blocks import RowCounts, Rows
from spanbert_jax.data.document_runs import cut_documents, num_cut_sentences
from spanbert_jax.data.hole_filling import PlacedRuns, fill_holes


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
    budgets = [budget(n) for n in range(sequence_length - SPECIAL_TOKENS + 1)]
    limits = RowLimits(sequence_length, max_slots, budgets)
    runs = PlacedRuns(starts, lengths, best_fit(lengths, limits=limits))
    runs = fill_holes(runs, limits=limits, sentence_ends=piece.sentence_ends)
    rows = _in_order_of_text(runs)
    return rows, RowCounts(
        num_rows=len(rows.row_splits) - 1,
        num_segments=len(rows.start),
        num_tokens=int(rows.length.sum(dtype=np.int64)),
        num_split_sentences=num_cut_sentences(rows.start, sentence_ends=piece.sentence_ends),
    )


def _in_order_of_text(runs: PlacedRuns) -> Rows:
    """Rows numbered by their first runs; in a row, runs by their starts."""
    order = np.argsort(runs.start)
    start, length, row = (field[order] for field in runs)
    _, first_run, row = np.unique(row, return_index=True, return_inverse=True)
    row = np.argsort(np.argsort(first_run))[row]
    order = np.argsort(row, kind="stable")
    return Rows(np.append(0, np.cumsum(np.bincount(row))), start[order], length[order])
