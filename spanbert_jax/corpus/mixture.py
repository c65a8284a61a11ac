"""Mixture: how much of each source is kept so that their shares of text follow the weights.

The source that is scarcest for its weight is used whole; of the others the documents with the
smallest hashes are kept. A rule on the bytes of text of each source by hash, which add up over
however many processes or machines.
"""

import numpy as np
from jaxtyping import Bool, Int64, UInt64

from spanbert_jax.config import PrepareConfig
from spanbert_jax.errors import UserError

_BINS = 1 << 16
_SHIFT = np.uint64(48)


def histogram(
    sources: Int64[np.ndarray, " documents"],
    checks: UInt64[np.ndarray, " documents"],
    num_bytes: Int64[np.ndarray, " documents"],
    *,
    num_sources: int,
) -> Int64[np.ndarray, "sources bins"]:
    """Bytes of text of each source by the first 16 bits of the documents' hashes."""
    totals = empty_histogram(num_sources)
    add_to_histogram(totals, sources, checks, num_bytes)
    return totals


def empty_histogram(num_sources: int) -> Int64[np.ndarray, "sources bins"]:
    return np.zeros((num_sources, _BINS), np.int64)


def add_to_histogram(
    totals: Int64[np.ndarray, "sources bins"],
    sources: Int64[np.ndarray, " documents"],
    checks: UInt64[np.ndarray, " documents"],
    num_bytes: Int64[np.ndarray, " documents"],
) -> None:
    np.add.at(totals, (sources, (checks >> _SHIFT).astype(np.int64)), num_bytes.astype(np.int64))


def check_no_source_is_empty(
    totals: Int64[np.ndarray, "sources bins"], config: PrepareConfig
) -> None:
    """Raise `UserError` naming the first source without text: nothing can be mixed with it."""
    for spec, size in zip(config.source, totals.sum(axis=1).tolist(), strict=True):
        if not size:
            raise UserError(
                f"--mixture {' '.join(map(str, config.mixture))}: every source must have text "
                f"left, found none of --source {spec} once documents were dropped; leave that "
                "source and its share out, drop less, or check its files"
            )


def mixture_limits(
    totals: Int64[np.ndarray, "sources bins"], weights: tuple[float, ...]
) -> Int64[np.ndarray, " sources"]:
    """The number of bins that are kept of each source: all of one, and as near as can be of others.

    Sources of 100 and 300 bytes with the weights 0.5 and 0.5: of the second the bins are kept that
    hold about 100 bytes.
    """
    sizes = totals.sum(axis=1)
    unit = min(size / weight for size, weight in zip(sizes.tolist(), weights, strict=True))
    kept = []
    for source, weight in zip(totals, weights, strict=True):
        upto = np.concatenate([[0], np.cumsum(source)])
        # The last of the bins that add nothing: a source that is used whole keeps all of them.
        distance = np.abs(upto - unit * weight)
        kept.append(len(upto) - 1 - int(np.argmin(distance[::-1])))
    return np.array(kept, np.int64)


def is_beyond_mixture(
    sources: Int64[np.ndarray, " documents"],
    checks: UInt64[np.ndarray, " documents"],
    limits: Int64[np.ndarray, " sources"],
) -> Bool[np.ndarray, " documents"]:
    """Documents that are left out for the sake of the weights."""
    return (checks >> _SHIFT).astype(np.int64) >= limits[sources]


def shares(totals: Int64[np.ndarray, "sources bins"], limits: np.ndarray) -> tuple[float, ...]:
    """Share of each source in the text that is kept."""
    kept = [int(source[:limit].sum()) for source, limit in zip(totals, limits, strict=True)]
    return tuple(size / max(1, sum(kept)) for size in kept)
