"""The schedule of the released code, and AdamW against the formulas of its papers."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from spanbert_jax.config import OptimizerConfig
from spanbert_jax.training.optimizer import decay_mask, linear_schedule, make_optimizer


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (0, 0.2), (1, 0.2),  # the first two updates share a value
        (5, 1.0), (9, 1.8), (10, 2.0),  # warmup, to the peak
        (11, 1.78), (50, 1.0), (99, 0.02), (100, 0.0),  # 2 x (1 - step / 100): from 2.0 to 1.78
        (150, 0.0),
    ],
)  # fmt: skip
def test_schedule_warms_up_drops_a_little_and_falls_to_zero(step: int, expected: float) -> None:
    schedule = linear_schedule(OptimizerConfig(learning_rate=2.0, warmup_steps=10), 100)
    np.testing.assert_allclose(schedule(jnp.int32(step)), expected, rtol=1e-5, atol=1e-6)


def test_schedule_without_warmup_only_falls() -> None:
    schedule = linear_schedule(OptimizerConfig(learning_rate=1.0, warmup_steps=0), 4)
    rates = [float(schedule(jnp.int32(step))) for step in range(5)]
    np.testing.assert_allclose(rates, [0.75, 0.75, 0.5, 0.25, 0.0])


def test_decay_mask_of_the_docstring() -> None:
    params = {"dense": {"kernel": 1.0, "bias": 1.0}}
    assert decay_mask(params, ("bias",)) == {"dense": {"kernel": True, "bias": False}}
    assert decay_mask(params, ()) == {"dense": {"kernel": True, "bias": True}}


def test_decay_mask_knows_parts_of_names_at_every_depth() -> None:
    params = {"layer_norm": {"scale": 1.0}, "head": {"qkv_bias": 1.0, "kernel": 1.0}}
    assert decay_mask(params, ("bias", "layer_norm")) == {
        "layer_norm": {"scale": False}, "head": {"qkv_bias": False, "kernel": True},
    }  # fmt: skip


CONFIG = OptimizerConfig(
    learning_rate=0.1, beta1=0.8, beta2=0.9, epsilon=1e-3, weight_decay=0.5, max_grad_norm=2.0
)
RATES = (0.1, 0.3)
PARAMS = {"dense": {"kernel": np.array([[1.0, -2.0]]), "bias": np.array([4.0])}}
# Of norms 13, which is clipped to 2, and 1, which is not.
GRADIENTS = (
    {"dense": {"kernel": np.array([[3.0, 4.0]]), "bias": np.array([12.0])}},
    {"dense": {"kernel": np.array([[0.6, 0.0]]), "bias": np.array([-0.8])}},
)


def updated(config: OptimizerConfig) -> Any:
    """PARAMS after one step for each of GRADIENTS."""
    optimizer = make_optimizer(config, lambda count: jnp.array(RATES)[count])
    params = jax.tree.map(jnp.float32, PARAMS)
    state = optimizer.init(params)
    for gradients in GRADIENTS:
        updates, state = optimizer.update(jax.tree.map(jnp.float32, gradients), state, params)
        params = jax.tree.map(jnp.add, params, updates)
    return params["dense"]


def adam(param: np.ndarray, gradients: list[np.ndarray], *, decay: float) -> np.ndarray:
    """Kingma and Ba 2015, algorithm 1, with the decay of Loshchilov and Hutter 2019 outside it."""
    first = second = np.zeros_like(param)
    for step, (rate, gradient) in enumerate(zip(RATES, gradients, strict=True), start=1):
        first = 0.8 * first + 0.2 * gradient
        second = 0.9 * second + 0.1 * gradient**2
        root = np.sqrt(second / (1 - 0.9**step)) + 1e-3
        param = param - rate * (first / (1 - 0.8**step) / root + decay * param)
    return param


@pytest.mark.parametrize(
    ("no_decay", "kernel_decay", "bias_decay"),
    [((), 0.5, 0.5), (("bias",), 0.5, 0.0), (("dense",), 0.0, 0.0)],
)
def test_steps_are_those_of_adamw_on_gradients_clipped_by_their_global_norm(
    no_decay: tuple[str, ...], kernel_decay: float, bias_decay: float
) -> None:
    actual = updated(dataclasses.replace(CONFIG, no_decay=no_decay))
    kernel, bias = PARAMS["dense"]["kernel"], PARAMS["dense"]["bias"]
    kernel_gradients = [np.array([[3.0, 4.0]]) * 2 / 13, np.array([[0.6, 0.0]])]
    bias_gradients = [np.array([12.0]) * 2 / 13, np.array([-0.8])]
    np.testing.assert_allclose(
        actual["kernel"], adam(kernel, kernel_gradients, decay=kernel_decay), rtol=1e-6
    )
    np.testing.assert_allclose(
        actual["bias"], adam(bias, bias_gradients, decay=bias_decay), rtol=1e-6
    )
