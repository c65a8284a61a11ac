"""Gathers shards from units: each shard's keys out of every unit, sorted, written, one at a time.

In: units of encoded documents. Out: shards on disk. Memory: one shard, however large the corpus.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from spanbert_jax.corpus.document_table import (
    ROWS,
    DocumentTable,
    concatenate,
    is_duplicate,
    keys_between,
    sorted_order,
    take,
)
from spanbert_jax.corpus.encoding import KeyRange
from spanbert_jax.corpus.held_out import KEY_RANGE
from spanbert_jax.corpus.shards import SPLITS
from spanbert_jax.corpus.units import Unit

# Rows that are sorted at once: about 300 MB with what sorting takes.
_ROWS_AT_ONCE = 4_000_000
_RAGGED = ("num_tokens", "num_sentences", "num_spans")


def arrays_of(table: DocumentTable) -> dict[str, np.ndarray]:
    """What a unit of encoded documents holds: the table sorted by key, and where its rows end."""
    table = take(table, sorted_order(table.rows))
    lengths = np.stack([table.rows[name] for name in _RAGGED], axis=1)
    return {
        "rows": table.rows,
        "ends": np.concatenate([np.zeros((1, 3), np.int64), np.cumsum(lengths, 0, np.int64)]),
        "tokens": table.tokens,
        "sentence_lengths": table.sentence_lengths.astype(np.uint32),
        "spans": table.spans.astype(np.uint32),
        "counts": table.counts.astype(np.uint32),
    }


def read_rows(unit: Unit, rows: slice) -> DocumentTable:
    """Some rows of a unit."""
    with unit.open() as opened:
        first, last = (opened.read("ends", at, at + 1)[0] for at in (rows.start, rows.stop))
        return DocumentTable(
            opened.read("rows", rows.start, rows.stop),
            opened.read("tokens", int(first[0]), int(last[0])),
            opened.read("sentence_lengths", int(first[1]), int(last[1])),
            opened.read("spans", int(first[2]), int(last[2])),
            opened.read("counts", rows.start, rows.stop),
            unit.reasons,
        )


def gather(units: Sequence[Unit], ranges: Iterable[KeyRange]) -> Iterable[DocumentTable]:
    """The documents with keys of each range, out of all units."""
    wanted = list(ranges)
    places = [[keys_between(rows, *keys) for keys in wanted] for rows in map(_rows, units)]
    for shard in range(len(wanted)):
        yield concatenate(
            [read_rows(unit, place[shard]) for unit, place in zip(units, places, strict=True)]
        )


def _rows(unit: Unit, rows: slice = slice(0, None)) -> np.ndarray:
    with unit.open() as opened:
        return opened.read("rows", rows.start, rows.stop)


def sorted_rows(units: Sequence[Unit]) -> Iterable[np.ndarray]:
    """Rows of all units, sorted by key, a bounded number at a time; equal keys come together."""
    total = sum(unit.shapes["rows"][0] for unit in units)
    number = max(1, total // _ROWS_AT_ONCE)
    bounds = [KEY_RANGE * index // number for index in range(number + 1)]
    places = [
        [keys_between(rows, begin, end) for begin, end in zip(bounds, bounds[1:], strict=False)]
        for rows in map(_rows, units)
    ]
    for part in range(number):
        found = [_rows(unit, place[part]) for unit, place in zip(units, places, strict=True)]
        rows = np.concatenate(found) if found else np.zeros(0, ROWS)
        yield rows[sorted_order(rows)]


def count_tokens(
    units: Sequence[Unit], *, held_out_limit: int, drop_duplicates: bool
) -> dict[str, int]:
    """Tokens of each split, without those of exact duplicates."""
    totals = dict.fromkeys(SPLITS, 0)
    for rows in sorted_rows(units):
        rows = rows[~(is_duplicate(rows) & drop_duplicates)]
        border = keys_between(rows, 0, held_out_limit).stop
        totals["held_out"] += int(rows["num_tokens"][:border].sum(dtype=np.int64))
        totals["train"] += int(rows["num_tokens"][border:].sum(dtype=np.int64))
    return totals
