"""Rows of a table that has few, and the gradient that is a product instead of a scatter."""

import jax
import jax.numpy as jnp
import numpy as np

from spanbert_jax.model.linear import rows_of_small_table


def test_rows_and_their_gradients_are_those_of_a_gather() -> None:
    keys = jax.random.split(jax.random.key(0), 3)
    table = jax.random.normal(keys[0], (3, 8))
    ids = jax.random.randint(keys[1], (4, 16), 0, 2)
    weights = jax.random.normal(keys[2], (4, 16, 8))

    rows, pull = jax.vjp(lambda table: rows_of_small_table(table, ids), table)
    expected, expected_pull = jax.vjp(lambda table: jnp.take(table, ids, axis=0), table)

    np.testing.assert_array_equal(rows, expected)
    (gradient,), (expected_gradient,) = pull(weights), expected_pull(weights)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(gradient[2], 0.0)
    assert np.abs(gradient[:2]).min() > 0.0
