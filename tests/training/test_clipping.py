"""Clipping by each tensor's norm, whatever arrays hold the tensors."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from spanbert_jax.model.layer_stack import stack_layers
from spanbert_jax.training.clipping import clip_by_tensor_norm


def clipped(gradients: Any) -> Any:
    return clip_by_tensor_norm(1.0).update(gradients, optax.EmptyState())[0]


def test_each_tensor_is_scaled_to_the_norm_and_smaller_ones_are_left() -> None:
    found = clipped({"kernel": jnp.array([3.0, 4.0]), "bias": jnp.array([0.5])})
    np.testing.assert_allclose(found["kernel"], [0.6, 0.8], rtol=1e-6)
    np.testing.assert_array_equal(found["bias"], [0.5])


def test_a_gradient_of_zeros_stays_zero() -> None:
    np.testing.assert_array_equal(clipped({"bias": jnp.zeros(3)})["bias"], np.zeros(3))


def test_query_key_and_value_are_tensors_of_their_own() -> None:
    kernels = np.zeros((3, 2, 1, 1), np.float32)
    kernels[:, :, 0, 0] = [[3.0, 4.0], [0.3, 0.4], [0.0, 2.0]]
    found = clipped({"attention": {"qkv_kernel": jnp.asarray(kernels)}})["attention"]["qkv_kernel"]
    np.testing.assert_allclose(found[:, :, 0, 0], [[0.6, 0.8], [0.3, 0.4], [0.0, 1.0]], rtol=1e-6)


def test_stacked_layers_are_clipped_as_separate_ones() -> None:
    rng = np.random.default_rng(0)

    def layer(scale: float) -> Any:
        shapes = {"qkv_kernel": (3, 4, 2, 2), "qkv_bias": (3, 2, 2), "out_kernel": (2, 2, 4)}
        return {
            "attention": {name: scale * rng.normal(size=shape) for name, shape in shapes.items()},
            "norm": {"scale": scale * rng.normal(size=4)},
        }

    separate = {"encoder": {f"layer_{i}": layer(scale) for i, scale in enumerate((0.1, 1.0, 9.0))}}
    separate = jax.tree.map(jnp.float32, separate)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6),
        clipped(stack_layers(separate)),
        stack_layers(clipped(separate)),
    )
