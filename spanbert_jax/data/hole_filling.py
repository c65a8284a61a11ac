"""Fills what best-fit packing left empty: text is cut off the emptiest rows to fill the others.

In: runs of a piece and their rows. Out: the same text, in more runs and fewer rows. Documents of
half a row and a little more, of which no two fit into one, would leave nearly half of every row
empty: some of them are cut here, and keep the others company.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int32, Int64

from spanbert_jax.data.best_fit import SPECIAL_TOKENS, RowLimits
from spanbert_jax.data.document_runs import MIN_RUN_TOKENS, end_of_run

MIN_HOLE_SHARE = 1 / 8
"""Of a row: smaller holes stay, since to fill them documents would be cut into many small runs."""
MIN_HOLE_TOKENS = 2 * MIN_RUN_TOKENS
"""So that neither part of a run that is cut there is too short."""


class PlacedRuns(NamedTuple):
    """Runs of tokens, each with its row."""

    start: Int64[np.ndarray, " runs"]
    length: Int32[np.ndarray, " runs"]
    row: Int64[np.ndarray, " runs"]


class Holes(NamedTuple):
    """What is left of each row."""

    num_tokens: Int64[np.ndarray, " rows"]
    """Of a run that fits into it, 0 where so few would that it stays as it is."""
    room: Int64[np.ndarray, " rows"]
    slots: Int64[np.ndarray, " rows"]


def fill_holes(
    runs: PlacedRuns, *, limits: RowLimits, sentence_ends: Int64[np.ndarray, " sentences"]
) -> PlacedRuns:
    """Move runs out of the emptiest rows, whole or cut, as far as the others have room for them.

    Three runs of 300 tokens, rows 0, 1 and 2 of 512: the first is cut, if no sentence ends nearby,
    into 208 and 92 tokens, which go to rows 1 and 2. Row 0 is left without any.
    """
    holes = find_holes(runs, limits)
    num_tokens = np.bincount(runs.row, weights=runs.length)
    emptiest = np.argsort(num_tokens, kind="stable")
    # A row that gives its text away takes none.
    needed = np.cumsum(num_tokens[emptiest]) + np.cumsum(holes.num_tokens[emptiest])
    givers = emptiest[: np.searchsorted(needed, holes.num_tokens.sum(), side="right")]
    if not len(givers):
        return runs
    gives = np.isin(runs.row, givers)
    left = holes.num_tokens.copy()
    left[givers] = 0
    takers = np.argsort(-left, kind="stable")[: np.count_nonzero(left)]
    moved = _move(
        zip(*(field[gives].tolist() for field in runs), strict=True),
        holes=np.stack([takers, holes.room[takers], holes.slots[takers]], axis=1).tolist(),
        budgets=limits.budgets,
        ends=[0, *sentence_ends.tolist()],
    )
    return PlacedRuns(
        *(
            np.append(field[~gives], np.array(values, field.dtype))
            for field, values in zip(runs, zip(*moved, strict=True), strict=True)
        )
    )


def find_holes(runs: PlacedRuns, limits: RowLimits) -> Holes:
    """One run of 300 tokens, in a row of 512 with 85 slots: a hole of 208 tokens, 40 slots."""
    budgets = np.asarray(limits.budgets)
    used = np.bincount(runs.row, weights=runs.length + SPECIAL_TOKENS).astype(np.int64)
    room = limits.sequence_length - used
    slots = limits.max_slots - np.bincount(runs.row, weights=budgets[runs.length]).astype(np.int64)
    num_tokens = np.minimum(
        room - SPECIAL_TOKENS, np.searchsorted(budgets, slots, side="right") - 1
    )
    least = max(MIN_HOLE_TOKENS, limits.sequence_length * MIN_HOLE_SHARE - SPECIAL_TOKENS)
    return Holes(np.where(num_tokens >= least, num_tokens, 0), room, slots)


def _move(
    runs: Iterable[tuple[int, int, int]],
    *,
    holes: Iterable[list[int]],
    budgets: Sequence[int],
    ends: Sequence[int],
) -> list[tuple[int, int, int]]:
    """Start, length and row of the parts of these runs when they have gone into these holes.

    What finds no room stays in its row. runs: start, length and row. holes: row, room and slots.
    """
    parts, following = [], iter(holes)
    row, room, slots = next(following)
    for start, length, own_row in runs:
        end = start + length
        while start < end and row >= 0:
            max_tokens = min(room - SPECIAL_TOKENS, bisect_right(budgets, slots) - 1)
            if max_tokens < MIN_HOLE_TOKENS:
                row, room, slots = next(following, (-1, 0, 0))
                continue
            stop = end_of_run(start, end, max_tokens=max_tokens, ends=ends)
            parts.append((start, stop - start, row))
            room -= stop - start + SPECIAL_TOKENS
            slots -= budgets[stop - start]
            start = stop
        if start < end:
            parts.append((start, end - start, own_row))
    return parts
