"""Matrix products with gradients of our own: the numbers of JAX's rules."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from spanbert_jax.model.linear import as_matrix, matmul, rows_of_small_table


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


@pytest.mark.parametrize("shape", [(2, 128, 64, 256), (3, 7, 65, 17), (1, 1, 2, 1)])
def test_products_in_bfloat16_are_those_of_float32_rounded_once(shape: tuple[int, ...]) -> None:
    num_rows, length, inputs, outputs = shape
    keys = jax.random.split(jax.random.key(0), 3)
    values = jax.random.normal(keys[0], (num_rows, length, inputs), jnp.bfloat16)
    kernel = jax.random.normal(keys[1], (inputs, outputs), jnp.bfloat16)
    weights = jax.random.normal(keys[2], (num_rows, length, outputs), jnp.bfloat16)

    @jax.jit
    def both(values: jax.Array, kernel: jax.Array, weights: jax.Array) -> list[jax.Array]:
        result, pull = jax.vjp(matmul, values, kernel)
        return [result, *pull(weights)]

    found = both(values, kernel, weights)
    expected = both(*(each.astype(jnp.float32) for each in (values, kernel, weights)))
    for ours, exact in zip(found, expected, strict=True):
        assert ours.dtype == jnp.bfloat16
        # Half a unit in the last of eight bits, and where terms cancel the order of their sum.
        np.testing.assert_allclose(ours.astype(jnp.float32), exact, rtol=2**-8, atol=1e-4)


def test_a_kernel_of_heads_is_a_matrix_and_its_gradient_has_heads() -> None:
    kernel = jnp.arange(24.0).reshape(4, 2, 3)
    matrix, pull = jax.vjp(lambda kernel: as_matrix(kernel, (4, 6), ("embed", "heads")), kernel)
    np.testing.assert_array_equal(matrix, kernel.reshape(4, 6))
    np.testing.assert_array_equal(pull(2.0 * matrix)[0], 2.0 * kernel)
