"""Best-fit packing of runs of tokens into rows: long runs first, each where least room is left.

In: lengths of runs. Out: the row of each. Runs of equal length are placed together, and rows that
hold the same lengths are one entry of a list: a piece of 20,000 tweets takes as many steps as there
are lengths of tweets, not as there are tweets.
"""

from bisect import bisect_left, insort
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int32, Int64

SPECIAL_TOKENS = 2
"""[CLS] and [SEP] around a run."""


class RowLimits(NamedTuple):
    """What a row has room for."""

    sequence_length: int
    max_slots: int
    """Prediction slots of a row."""
    budgets: Sequence[int]
    """Slots that a run of 0, 1, 2, ... tokens needs, ascending, at least one."""


class AlikeRows(NamedTuple):
    """Rows, one after the other, that hold runs of the same lengths."""

    room: int
    """Places that are left in each."""
    slots: int
    """Prediction slots that are left in each."""
    first: int
    """Number of the first of them."""
    number: int


class Placed(NamedTuple):
    """Runs of equal length, one after the other, that go into rows one after the other."""

    first_row: int
    num_rows: int
    runs_in_row: int


def best_fit(
    lengths: Int32[np.ndarray, " runs"], *, limits: RowLimits
) -> Int64[np.ndarray, " runs"]:
    """Number of the row that each run goes into.

    lengths = [3, 8, 3, 5, 1], rows of 15 tokens and slots enough -> [0, 0, 1, 1, 1]
    (with [CLS] and [SEP] the runs take 5, 10, 5, 7 and 3 places)
    """
    order = np.argsort(-lengths, kind="stable")
    sizes, counts = (array[::-1].tolist() for array in np.unique(lengths, return_counts=True))
    least = (sizes[-1] + SPECIAL_TOKENS, limits.budgets[sizes[-1]]) if sizes else (0, 0)
    placed: list[Placed] = []
    open_rows: list[AlikeRows] = []
    num_rows = 0
    for size, count in zip(sizes, counts, strict=True):
        cost, slots = size + SPECIAL_TOKENS, limits.budgets[size]
        while count:
            rows = _take_fullest(open_rows, cost=cost, slots=slots)
            if rows is None:
                in_row = min(limits.sequence_length // cost, limits.max_slots // slots)
                number = -(-count // in_row)
                rows = AlikeRows(limits.sequence_length, limits.max_slots, num_rows, number)
                num_rows += rows.number
            for runs_in_row, left in _fill(rows, count, cost=cost, slots=slots):
                if runs_in_row:
                    placed.append(Placed(left.first, left.number, runs_in_row))
                    count -= runs_in_row * left.number
                if left.room >= least[0] and left.slots >= least[1]:
                    insort(open_rows, left)
    row = np.empty(len(lengths), np.int64)
    row[order] = _rows_of_placed(placed)
    return row


def _take_fullest(open_rows: list[AlikeRows], *, cost: int, slots: int) -> AlikeRows | None:
    """Take those rows out of the list, sorted by room, that have least room among the possible."""
    for place in range(bisect_left(open_rows, (cost,)), len(open_rows)):
        if open_rows[place].slots >= slots:
            return open_rows.pop(place)
    return None


def _fill(rows: AlikeRows, count: int, *, cost: int, slots: int) -> list[tuple[int, AlikeRows]]:
    """So many of `count` equal runs go into each of these rows, which have that left.

    AlikeRows(room=9, slots=9, first=0, number=4), count = 5, cost = 3, slots = 1
    -> (3, AlikeRows(0, 6, 0, 1)), (2, AlikeRows(3, 7, 1, 1)), (0, AlikeRows(9, 9, 2, 2))
    """
    in_row = min(rows.room // cost, rows.slots // slots)
    num_full = min(rows.number, count // in_row)
    rest = count % in_row if num_full < rows.number else 0
    parts, first = [], rows.first
    for number, runs in ((num_full, in_row), (int(rest > 0), rest), (rows.number, 0)):
        number = min(number, rows.first + rows.number - first)
        if number:
            left = AlikeRows(rows.room - runs * cost, rows.slots - runs * slots, first, number)
            parts.append((runs, left))
            first += number
    return parts


def _rows_of_placed(placed: list[Placed]) -> Int64[np.ndarray, " runs"]:
    """[Placed(first_row=4, num_rows=2, runs_in_row=3)] -> [4, 4, 4, 5, 5, 5]"""
    first_row, num_rows, runs_in_row = np.array(placed, np.int64).reshape(-1, 3).T
    starts = np.append(0, np.cumsum(num_rows))
    rows = np.arange(starts[-1]) + np.repeat(first_row - starts[:-1], num_rows)
    return np.repeat(rows, np.repeat(runs_in_row, num_rows))
