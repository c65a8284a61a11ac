"""Dropout whose mask is a hash of each element's position: not stored, not communicated.

In: an array and a seed. Out: the array with elements zeroed. `jax.random.bernoulli` computes a
threefry word for each element, which on CPU costs more than the softmax it follows. A counter hash
fuses into its neighbours, gives the same mask on any mesh, and is computed again in the backward
pass instead of being kept.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, UInt32

Seed = UInt32[Array, "2"]


def mix(bits: UInt32[Array, "..."]) -> UInt32[Array, "..."]:
    """Spread every input bit over all output bits: a bijection of two xor-shift-multiplies."""
    bits = _mix_into_upper_half(bits)
    return bits ^ (bits >> 16)


def _mix_into_upper_half(bits: UInt32[Array, "..."]) -> UInt32[Array, "..."]:
    """`mix` without its last step, which changes the lower 16 bits alone."""
    bits = (bits ^ (bits >> 16)) * jnp.uint32(0x7FEB352D)
    return (bits ^ (bits >> 15)) * jnp.uint32(0x846CA68B)


def keep_mask(
    seed: Seed, *, shape: tuple[int, ...], rate: float, by_halves: bool = False
) -> Bool[Array, "..."]:
    """True with probability `1 - rate`, to 1 in 2^16, independently for each element of `shape`.

    Rows (all axes but the last) and columns are hashed one after the other, so that arrays of more
    than 2^32 elements do not repeat themselves.

    by_halves: the second half of a row has the upper 16 bits of the hashes of the first half, which
        has the lower ones: for a kernel that computes each hash once.
    """
    num_rows, num_columns = int(np.prod(shape[:-1])), shape[-1]
    rows = mix(jnp.arange(num_rows, dtype=jnp.uint32) ^ seed[0]).reshape(*shape[:-1], 1)
    columns = jnp.arange(num_columns, dtype=jnp.uint32)
    if not by_halves:
        hashes = _mix_into_upper_half(rows ^ column_bits(columns, seed[1]))
        return hashes < keep_threshold(rate)
    half = -(-num_columns // 2)
    is_first = columns < half
    hashes = mix(rows ^ column_bits(jnp.where(is_first, columns, columns - half), seed[1]))
    return (hashes << jnp.where(is_first, jnp.uint32(16), 0)) < keep_threshold(rate)


def column_bits(
    columns: UInt32[Array, "*shape"], seed: UInt32[Array, ""]
) -> UInt32[Array, "*shape"]:
    """What a column adds to the hash of its rows: a multiple of 2^32 over the golden ratio."""
    return columns * jnp.uint32(0x9E3779B1) + seed


def keep_threshold(rate: float) -> UInt32[Array, ""]:
    """Hashes below it are kept; their upper 16 bits count."""
    return jnp.uint32(min(round((1.0 - rate) * 2**16), 2**16 - 1) << 16)


def dropout(
    values: Float[Array, "..."], *, seed: Seed | None, rate: float, by_halves: bool = False
) -> Float[Array, "..."]:
    """Zero each element with probability `rate` and scale the others by `1 / (1 - rate)`.

    Without a seed nothing is dropped. by_halves: as `keep_mask` has it.
    """
    return values if seed is None or rate == 0.0 else _dropout(values, seed, rate, by_halves)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _dropout(
    values: Float[Array, "..."], seed: Seed, rate: float, by_halves: bool
) -> Float[Array, "..."]:
    with jax.named_scope("dropout"):
        keep = keep_mask(seed, shape=values.shape, rate=rate, by_halves=by_halves)
        return jnp.where(keep, values * (1.0 / (1.0 - rate)), 0.0).astype(values.dtype)


def _dropout_forward(
    values: Float[Array, "..."], seed: Seed, rate: float, by_halves: bool
) -> tuple[Float[Array, "..."], Seed]:
    return _dropout(values, seed, rate, by_halves), seed


def _dropout_backward(
    rate: float, by_halves: bool, seed: Seed, gradient: Float[Array, "..."]
) -> tuple[Float[Array, "..."], None]:
    # Dropout is linear and the mask depends on the seed alone: its transpose is itself.
    return _dropout(gradient, seed, rate, by_halves), None


_dropout.defvjp(_dropout_forward, _dropout_backward)
