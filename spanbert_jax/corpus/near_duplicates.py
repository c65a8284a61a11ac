"""Near duplicates: MinHash signatures of documents, their bands, and the rule on pairs of them.

A document goes if one with a smaller (key, place) shares a band of the signature with it, and their
estimated Jaccard similarity over runs of five words reaches the threshold. That is a rule on pairs:
whoever looks at them in whatever order drops the same ones.
"""

import functools
import zlib
from typing import Any

import numpy as np
from jaxtyping import Bool, UInt32, UInt64

from spanbert_jax.errors import UserError

NUM_HASHES = 128
SHINGLE_WORDS = 5
_SEED = 1
# Bands are chosen so that of pairs at the threshold 5 in 100 share none; at a glance no more are
# looked at than needed, since what shares a band is then compared.
_WEIGHTS = (0.05, 0.95)
_SHINGLES_AT_ONCE = 1 << 14
_FACTORS = np.array(
    [0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63,
     0x27D4EB2F165667C5], np.uint64,
)  # fmt: skip


def check_datasketch() -> None:
    """Raise `UserError` where the library is not installed."""
    try:
        import datasketch  # noqa: F401
    except ImportError as error:
        raise UserError(
            "--near-duplicates: needs the package datasketch, which is not installed; "
            "run `pip install 'spanbert_jax[dedup]'`"
        ) from error


def signature(text: str) -> UInt32[np.ndarray, " 128"]:
    """MinHash of the runs of five words in a text, whatever their case."""
    shingles = _shingles(text)
    sketch = _empty_sketch().copy()
    for begin in range(0, len(shingles), _SHINGLES_AT_ONCE):
        sketch.update_batch(shingles[begin : begin + _SHINGLES_AT_ONCE])
    return sketch.hashvalues


@functools.cache
def _empty_sketch() -> Any:
    from datasketch import MinHash

    # The hashes of shingles come as numbers already.
    return MinHash(num_perm=NUM_HASHES, seed=_SEED, scheme="affine32", hashfunc=int)


def _shingles(text: str) -> UInt32[np.ndarray, " shingles"]:
    """A number for each run of five words; one for the whole of a text that is shorter."""
    words = [zlib.crc32(word.encode()) for word in text.lower().split()]
    hashes = np.array([0] * (SHINGLE_WORDS - len(words)) + words, np.uint64)
    runs = len(hashes) - SHINGLE_WORDS + 1
    mixed = np.zeros(runs, np.uint64)
    for place, factor in enumerate(_FACTORS):
        mixed += (hashes[place : place + runs] + np.uint64(1)) * factor
        mixed ^= mixed >> np.uint64(29)
    return np.unique((mixed >> np.uint64(32)).astype(np.uint32))


@functools.cache
def band_shape(threshold: float) -> tuple[int, int]:
    """Bands, and rows in each, for a threshold: band_shape(0.8) -> (16, 8)."""
    from datasketch import MinHashLSH

    index = MinHashLSH(threshold=threshold, num_perm=NUM_HASHES, weights=_WEIGHTS)
    return index.b, index.r


def bands(
    signatures: UInt32[np.ndarray, "documents 128"], *, threshold: float
) -> UInt64[np.ndarray, "documents bands"]:
    """A number for every band; documents with one in common are compared."""
    number, size = band_shape(threshold)
    rows = signatures[:, : number * size].reshape(len(signatures), number, size).astype(np.uint64)
    mixed = np.zeros(rows.shape[:2], np.uint64)
    for place in range(size):
        mixed = (mixed ^ rows[:, :, place]) * _FACTORS[place % len(_FACTORS)]
        mixed ^= mixed >> np.uint64(31)
    return mixed


def is_near_duplicate(
    signatures: UInt32[np.ndarray, "documents 128"], *, threshold: float
) -> Bool[np.ndarray, " documents"]:
    """Of documents that share a band, in the order of (key, place), those alike to an earlier one.

    The signatures [1 1 1 1], [1 1 1 2], [3 3 3 3] at 0.75 -> False, True, False
    """
    dropped = np.zeros(len(signatures), bool)
    targets = np.arange(1, len(signatures))
    for first in range(len(signatures) - 1):
        targets = targets[targets > first]
        if not len(targets):
            break
        alike = (signatures[targets] == signatures[first]).mean(axis=1) >= threshold
        dropped[targets[alike]] = True
        targets = targets[~alike]
    return dropped
