"""Dropout by a hash of positions: fair, reproducible, and its own transpose."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from spanbert_jax.model.dropout import column_bits, dropout, keep_mask, mix


def seed_of(number: int) -> jax.Array:
    return jax.random.bits(jax.random.key(number), (2,), jnp.uint32)


@pytest.mark.parametrize("by_halves", [False, True])
@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_every_part_of_the_array_keeps_its_share(rate: float, by_halves: bool) -> None:
    mask = keep_mask(seed_of(0), shape=(64, 128, 128), rate=rate, by_halves=by_halves)
    keep = np.asarray(mask, np.float64)
    for axes in ((1, 2), (0, 2), (0, 1)):
        shares = keep.mean(axis=axes)
        error = np.sqrt(rate * (1 - rate) / (keep.size / shares.size))
        assert np.abs(shares - (1 - rate)).max() < 5 * error


@pytest.mark.parametrize("by_halves", [False, True])
def test_neighbours_and_seeds_are_independent(by_halves: bool) -> None:
    keep, other = (
        np.asarray(
            keep_mask(seed_of(number), shape=(512, 512), rate=0.5, by_halves=by_halves), np.float64
        )
        - 0.5
        for number in (1, 2)
    )
    error = 0.25 / 512
    pairs = {
        "columns": keep[:, 1:] * keep[:, :-1],
        "rows": keep[1:] * keep[:-1],
        "diagonal": keep[1:, 1:] * keep[:-1, :-1],
        "seeds": keep * other,
        "halves": keep[:, :256] * keep[:, 256:],
    }
    for name, products in pairs.items():
        assert abs(products.mean()) < 5 * error, name


@pytest.mark.parametrize("num_columns", [1, 5, 6])
def test_halves_of_a_row_share_the_hashes_of_their_places(num_columns: int) -> None:
    """Keeping is nothing but the lower or the upper 16 bits of the hash of the place in a half."""
    seed, rate, half = seed_of(7), 0.3, -(-num_columns // 2)
    keep = np.asarray(keep_mask(seed, shape=(64, num_columns), rate=rate, by_halves=True))
    rows = mix(jnp.arange(64, dtype=jnp.uint32) ^ seed[0])[:, None]
    columns = column_bits(jnp.arange(half, dtype=jnp.uint32), seed[1])
    hashes = np.asarray(mix(rows ^ columns))
    sides = np.concatenate([hashes & 0xFFFF, hashes >> 16], axis=1)[:, :num_columns]
    np.testing.assert_array_equal(keep, sides < round(0.7 * 2**16))


def test_one_seed_gives_one_mask_and_another_seed_another() -> None:
    first, again, other = (
        np.asarray(keep_mask(seed_of(number), shape=(8, 64), rate=0.5)) for number in (3, 3, 4)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.3


def test_kept_values_are_scaled_and_the_gradient_meets_the_same_mask() -> None:
    values = jnp.linspace(1.0, 2.0, 4 * 32).reshape(4, 32)
    seed = seed_of(5)
    dropped = dropout(values, seed=seed, rate=0.25)
    keep = keep_mask(seed, shape=(4, 32), rate=0.25)
    np.testing.assert_allclose(dropped, jnp.where(keep, values / 0.75, 0.0), rtol=1e-6)
    gradient = jax.grad(lambda x: jnp.sum(dropout(x, seed=seed, rate=0.25) * 3.0))(values)
    np.testing.assert_allclose(gradient, jnp.where(keep, 4.0, 0.0), rtol=1e-6)


def test_nothing_is_dropped_without_a_seed_or_at_rate_zero() -> None:
    values = jnp.ones((2, 8))
    np.testing.assert_array_equal(dropout(values, seed=None, rate=0.5), values)
    np.testing.assert_array_equal(dropout(values, seed=seed_of(6), rate=0.0), values)
