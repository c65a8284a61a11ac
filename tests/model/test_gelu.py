"""GELU by its definition, and its derivative, which is kept in place of the input."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from spanbert_jax.model.layers import gelu

VALUES = np.linspace(-6.0, 6.0, 2_001)
CDF = np.array([0.5 * math.erfc(-value / math.sqrt(2.0)) for value in VALUES])
DENSITY = np.exp(-0.5 * VALUES**2) / math.sqrt(2.0 * math.pi)


def test_values_and_derivatives_are_those_of_the_definition() -> None:
    values, pull = jax.vjp(gelu, jnp.float32(VALUES))
    np.testing.assert_allclose(values, VALUES * CDF, rtol=2e-6, atol=2e-6)
    (derivative,) = pull(jnp.full(len(VALUES), 3.0))
    np.testing.assert_allclose(derivative, 3.0 * (CDF + VALUES * DENSITY), rtol=2e-6, atol=2e-6)


def test_bfloat16_is_as_near_as_it_can_be() -> None:
    values, pull = jax.vjp(gelu, jnp.bfloat16(VALUES))
    assert values.dtype == jnp.bfloat16
    rounded = np.asarray(jnp.bfloat16(VALUES), np.float64)
    cdf = np.array([0.5 * math.erfc(-value / math.sqrt(2.0)) for value in rounded])
    # Eight bits of each factor.
    np.testing.assert_allclose(np.float64(values), rounded * cdf, rtol=0.02, atol=0.004)
    (derivative,) = pull(jnp.ones(len(VALUES), jnp.bfloat16))
    density = np.exp(-0.5 * rounded**2) / math.sqrt(2.0 * math.pi)
    np.testing.assert_allclose(np.float64(derivative), cdf + rounded * density, atol=0.02)
