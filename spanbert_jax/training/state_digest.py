"""A number for every array of a state, by which damage is seen. In: a state. Out: {path: number}.

Any mesh, sharding and number of processes gives the same numbers: each is a sum modulo 2^32, whose
terms may be added in any order.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

# 2^32 over the golden ratio: neighbouring places get numbers that have little in common.
_PLACE_FACTOR = np.uint32(0x9E3779B9)
# Words that are mixed at a time on the host, so that what is between stays in its cache.
_CHUNK = 1 << 13


def state_digest(state: Any) -> dict[str, int]:
    """The digest of every leaf, by its path.

    {"params": {"bias": [0., 0.]}, "step": 3}
    -> {"params/bias": 2462723854, "step": 2247144487}
    """
    # One after the other: of hundreds of sums over devices at once, each waits for all.
    return {path: int(leaf_digest(leaf)) for path, leaf in leaves_by_path(state).items()}


def leaves_by_path(tree: Any) -> dict[str, Any]:
    """{"params": {"bias": x}} -> {"params/bias": x}"""
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def leaf_digest(leaf: Any) -> Any:
    """The sum over all words of mixed(word ^ place), modulo 2^32.

    Another word at a place always changes the sum, one flipped bit included: `^` and `_mixed` are
    one-to-one, so exactly one term differs. Several altered or exchanged words change it but for
    one chance in 2^32.
    """
    return _on_host(np.asarray(leaf)) if _is_on_host(leaf) else _on_devices(leaf)


def _is_on_host(leaf: Any) -> bool:
    """Whether this process has all of the leaf in its memory."""
    if not isinstance(leaf, jax.Array):
        return True
    return leaf.is_fully_addressable and all(each.platform == "cpu" for each in leaf.devices())


def _on_host(array: np.ndarray) -> int:
    """As fast as compiled code, and small models need not wait for a compiler."""
    words = np.ascontiguousarray(array).reshape(-1).view(f"uint{_word_bits(array.dtype)}")
    total = 0
    for start in range(0, words.size, _CHUNK):
        chunk = words[start : start + _CHUNK].astype(np.uint32)
        places = np.arange(start, start + chunk.size).astype(np.uint32) * _PLACE_FACTOR
        total += int(_mixed(chunk ^ places).sum(dtype=np.uint64))
    return total % 2**32


@jax.jit
def _on_devices(leaf: jax.Array) -> jax.Array:
    if leaf.dtype == jnp.bool_:
        words = leaf.astype(jnp.uint32)
    else:
        bits = jax.lax.bitcast_convert_type(leaf, f"uint{_word_bits(leaf.dtype)}")
        words = bits.astype(jnp.uint32)
    return jnp.sum(_mixed(words ^ _places(words.shape)), dtype=jnp.uint32)


def _word_bits(dtype: Any) -> int:
    """Of the words that a number is read in: one of 64 bits is two words."""
    return min(8 * dtype.itemsize, 32)


def _places(shape: tuple[int, ...]) -> jax.Array:
    """A number for every place, another one for each of 2^32 of them, since the factor is odd.

    Counted along each axis, not in one flattened row, which would gather a sharded array.
    """
    places = jnp.zeros(shape, jnp.uint32)
    for axis in range(len(shape)):
        stride = math.prod(shape[axis + 1 :]) % 2**32
        places += jax.lax.broadcasted_iota(jnp.uint32, shape, axis) * np.uint32(stride)
    return places * _PLACE_FACTOR


def _mixed(words: Any) -> Any:
    """The last steps of MurmurHash3: one-to-one on 32 bits, and every bit touches all others."""
    words = (words ^ (words >> 16)) * np.uint32(0x85EBCA6B)
    words = (words ^ (words >> 13)) * np.uint32(0xC2B2AE35)
    return words ^ (words >> 16)
