"""Optimizers and schedules against the numbers of the original, every step and every tensor."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from spanbert_jax.config import FINE_TUNING_OPTIMIZER, OptimizerConfig
from spanbert_jax.training.optimizer import make_optimizer
from spanbert_jax.training.schedule import make_schedule

TENSORS, NUM_STEPS = ("a", "b", "c"), 5
# Values up to 3 have float32 steps of 2.4e-7; five updates round as many times, in another order
# than the original's. Larger values have larger steps.
VALUE_TOLERANCE = 5e-7
# Relative: rates were float64 there, and here round five times to half of 1.2e-7.
RATE_TOLERANCE = 3e-7

PRETRAINING = OptimizerConfig(learning_rate=1e-2)
FINE_TUNING = replace(FINE_TUNING_OPTIMIZER, learning_rate=1e-2, warmup_fraction=0.4, no_decay=())


@pytest.fixture(scope="module")
def numbers(reference: Path) -> dict[str, np.ndarray]:
    with np.load(reference / "pretrain_forward" / "optimisers.npz") as file:
        return dict(file)


def constant(config: OptimizerConfig) -> optax.Schedule:
    return optax.constant_schedule(config.learning_rate)


def over_the_run(config: OptimizerConfig) -> optax.Schedule:
    return make_schedule(config, NUM_STEPS)


SERIES: dict[str, tuple[OptimizerConfig, Callable[[OptimizerConfig], optax.Schedule]]] = {
    "fairseq_adam_wd0.01_lr1e-2": (replace(PRETRAINING, max_grad_norm=0.0), constant),
    "fairseq_adam_wd0_lr1e-2_b2_0.98_eps1e-6": (
        replace(PRETRAINING, max_grad_norm=0.0, weight_decay=0.0, beta2=0.98, epsilon=1e-6),
        constant,
    ),
    "finetune_bertadam_lr1e-2_warm0.4_total5_wd0.01_clip1": (FINE_TUNING, over_the_run),
    "pretrain_bertadam_lr1e-2_noschedule_wd0.01_noclip": (
        replace(PRETRAINING, name="bert_adam", epsilon=1e-6, max_grad_norm=0.0),
        constant,
    ),
}


def test_every_series_of_the_file_is_compared(numbers: dict[str, np.ndarray]) -> None:
    found = {key.split("/")[0] for key in numbers if "/step" in key}
    assert found == set(SERIES)


@pytest.mark.parametrize("name", SERIES)
def test_every_step_of_every_tensor_is_the_originals(
    name: str, numbers: dict[str, np.ndarray]
) -> None:
    config, schedule = SERIES[name]
    optimizer = make_optimizer(config, schedule(config))
    params = {tensor: jnp.asarray(numbers[f"init/{tensor}"]) for tensor in TENSORS}
    state, update = optimizer.init(params), jax.jit(optimizer.update)
    for step in range(NUM_STEPS):
        gradients = {tensor: numbers[f"grads/{tensor}"][step] for tensor in TENSORS}
        updates, state = update(gradients, state, params)
        params = optax.apply_updates(params, updates)
        for tensor in TENSORS:
            expected = numbers[f"{name}/{tensor}/step{step + 1}"]
            tolerance = VALUE_TOLERANCE * max(1.0, np.abs(expected).max() / 3)
            np.testing.assert_allclose(
                params[tensor], expected, rtol=0, atol=tolerance,
                err_msg=f"{tensor} after update {step + 1}",
            )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("lr_poly_warm10_total100_pow1", OptimizerConfig(learning_rate=1e-4, warmup_steps=10)),
        (
            "lr_poly_warm5_total60_pow2_end1e5",
            OptimizerConfig(
                learning_rate=1e-4, warmup_steps=5, decay_power=2.0, end_learning_rate=1e-5
            ),
        ),
    ],
)
def test_polynomial_rates_are_those_set_after_each_update(
    name: str, config: OptimizerConfig, numbers: dict[str, np.ndarray]
) -> None:
    expected = numbers[name]
    steps = jnp.arange(1, len(expected) + 1)
    actual = make_schedule(config, len(expected))(steps)
    np.testing.assert_allclose(actual, expected, rtol=RATE_TOLERANCE)


def test_warmup_linear_rates_are_the_originals_at_each_part_of_the_run_and_beyond(
    numbers: dict[str, np.ndarray],
) -> None:
    num_steps = 100
    steps = np.rint(numbers["warmup_linear_x"] * num_steps).astype(np.int32)
    np.testing.assert_allclose(steps / num_steps, numbers["warmup_linear_x"], rtol=0, atol=1e-12)
    config = replace(FINE_TUNING, learning_rate=1.0, warmup_fraction=0.1)
    actual = make_schedule(config, num_steps)(jnp.asarray(steps))
    np.testing.assert_allclose(actual, numbers["warmup_linear_w0.1"], rtol=RATE_TOLERANCE)
