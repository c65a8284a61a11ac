"""Encoded documents as a table: a row for each, its tokens beside it, in any order one likes.

In: what the encoder made. Out: the rows of one shard, sorted, without duplicates, as a `Shard`.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int64, Integer, UInt64

from spanbert_jax.corpus.encoding import EncodedDocuments
from spanbert_jax.corpus.pieces import Shard

ROWS = np.dtype(
    [
        ("key", "<u8"),
        ("check", "<u8"),
        ("place", "<u8"),
        ("num_tokens", "<u4"),
        ("num_sentences", "<u4"),
        ("num_spans", "<u4"),
    ]
)


class DocumentTable(NamedTuple):
    """Documents, one after the other."""

    rows: np.ndarray
    """`ROWS` of every document."""
    tokens: Integer[np.ndarray, " tokens"]
    sentence_lengths: Int64[np.ndarray, " sentences"]
    """In tokens."""
    spans: Int64[np.ndarray, "spans 2"]
    """Start and end, counted from the first token of the document."""
    counts: Int64[np.ndarray, "documents reasons"]
    """What encoding left out of each document."""
    reasons: tuple[str, ...]


def table_of(
    encoded: EncodedDocuments, places: Sequence[int]
) -> tuple[DocumentTable, Counter[str]]:
    """The kept documents as a table, and the counts of all others."""
    kept = encoded.kept
    ends = np.concatenate([[0], np.cumsum(encoded.sentence_lengths)])
    bounds = ends[np.concatenate([[0], np.cumsum(encoded.document_lengths)])]
    token_begins, token_ends = bounds[:-1], bounds[1:]
    holder = np.searchsorted(token_ends, encoded.spans[:, 0], side="right")
    rows = np.zeros(len(kept), ROWS)
    rows["key"], rows["check"] = encoded.keys.T
    rows["place"] = places
    rows["num_tokens"] = token_ends - token_begins
    rows["num_sentences"] = encoded.document_lengths
    rows["num_spans"] = np.bincount(holder, minlength=len(kept))
    others: Counter[str] = Counter()
    for counts, row_is_kept in zip(encoded.dropped, kept, strict=True):
        if not row_is_kept:
            others += counts
    counters = [counts for counts, is_kept in zip(encoded.dropped, kept, strict=True) if is_kept]
    reasons = tuple(sorted(set().union(*counters)))
    counted = [[counts[reason] for reason in reasons] for counts in counters]
    # Those that are not kept have no tokens, sentences or spans: nothing else is to be removed.
    table = DocumentTable(
        rows[kept],
        encoded.tokens,
        encoded.sentence_lengths,
        encoded.spans - token_begins[holder][:, None],
        np.array(counted, np.int64).reshape(len(counters), len(reasons)),
        reasons,
    )
    return table, others


def concatenate(tables: Sequence[DocumentTable]) -> DocumentTable:
    """One table of several, in their order."""
    reasons = tuple(sorted(set().union(*(table.reasons for table in tables))))
    counts = np.zeros((sum(len(table.rows) for table in tables), len(reasons)), np.int64)
    begin = 0
    for table in tables:
        columns = [reasons.index(reason) for reason in table.reasons]
        counts[begin : begin + len(table.rows), columns] = table.counts
        begin += len(table.rows)
    return DocumentTable(
        np.concatenate([table.rows for table in tables]),
        np.concatenate([table.tokens for table in tables]),
        np.concatenate([table.sentence_lengths for table in tables]),
        np.concatenate([table.spans for table in tables]),
        counts,
        reasons,
    )


def take(table: DocumentTable, chosen: Int64[np.ndarray, " chosen"]) -> DocumentTable:
    """Some documents of a table, in the order of `chosen`."""

    def ragged(values: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        ends = np.cumsum(lengths, dtype=np.int64)
        begins = ends - lengths
        runs = [values[b:e] for b, e in zip(begins[chosen], ends[chosen], strict=True)]
        return np.concatenate(runs) if runs else values[:0]

    rows = table.rows
    return DocumentTable(
        rows[chosen],
        ragged(table.tokens, rows["num_tokens"]),
        ragged(table.sentence_lengths, rows["num_sentences"]),
        ragged(table.spans, rows["num_spans"]),
        table.counts[chosen],
        table.reasons,
    )


def sorted_order(rows: np.ndarray) -> Int64[np.ndarray, " documents"]:
    """By key, then the rest of the hash, then the place."""
    return np.lexsort((rows["place"], rows["check"], rows["key"]))


def is_duplicate(rows: np.ndarray) -> Bool[np.ndarray, " documents"]:
    """Of sorted rows, those with the text of an earlier one: of equal texts the first place stays.

    (key, place) (5, 0), (5, 3), (8, 1) -> False, True, False
    """
    same = (rows["key"][1:] == rows["key"][:-1]) & (rows["check"][1:] == rows["check"][:-1])
    return np.concatenate([np.zeros(min(1, len(rows)), bool), same])


def assemble(table: DocumentTable, *, drop_duplicates: bool) -> tuple[Shard, dict[str, int]]:
    """The documents of one shard, in whatever order they came, and what is not in it, by reason."""
    order = sorted_order(table.rows)
    rows = table.rows[order]
    duplicate = is_duplicate(rows) & drop_duplicates
    counts = dict(zip(table.reasons, table.counts[order[~duplicate]].sum(axis=0), strict=True))
    counts["exact duplicates"] = duplicate.sum()
    # A document of which the tokenizer left nothing is in no shard; it is among the counts.
    table = take(table, order[~duplicate & (rows["num_tokens"] > 0)])
    ends = np.cumsum(table.rows["num_tokens"], dtype=np.int64)
    begins = np.repeat(ends - table.rows["num_tokens"], table.rows["num_spans"])
    shard = Shard(
        table.tokens,
        np.cumsum(table.sentence_lengths, dtype=np.int64),
        np.cumsum(table.rows["num_sentences"], dtype=np.int64),
        table.spans + begins[:, None],
    )
    return shard, {reason: int(count) for reason, count in sorted(counts.items()) if count}


def keys_between(rows: np.ndarray, begin: int, end: int) -> slice:
    """Rows, sorted by key, with keys in [begin, end); both may be 2^64."""
    bounds = [_first_at_least(rows["key"], bound) for bound in (begin, end)]
    return slice(*bounds)


def _first_at_least(keys: UInt64[np.ndarray, " rows"], bound: int) -> int:
    return len(keys) if bound >> 64 else int(np.searchsorted(keys, np.uint64(bound)))
