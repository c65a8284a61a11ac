"""The schedules of the released code, and the choice of one."""

import jax.numpy as jnp
import numpy as np
import pytest

from spanbert_jax.config import FINE_TUNING_OPTIMIZER, OptimizerConfig
from spanbert_jax.training.schedule import (
    make_schedule,
    polynomial,
    warmup_linear,
    warmup_stable_decay,
)


def rates(config: OptimizerConfig, num_steps: int) -> list[float]:
    schedule = make_schedule(config, num_steps)
    return [float(schedule(jnp.int32(step))) for step in range(num_steps + 1)]


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (0, 0.2), (1, 0.2),  # the first two updates share a value
        (5, 1.0), (9, 1.8), (10, 2.0),  # warmup, to the peak
        (11, 1.78), (50, 1.0), (99, 0.02), (100, 0.0),  # 2 x (1 - step / 100): from 2.0 to 1.78
        (150, 0.0),
    ],
)  # fmt: skip
def test_default_schedule_warms_up_drops_a_little_and_falls_to_zero(
    step: int, expected: float
) -> None:
    schedule = make_schedule(OptimizerConfig(learning_rate=2.0, warmup_steps=10), 100)
    np.testing.assert_allclose(schedule(jnp.int32(step)), expected, rtol=3e-7)


def test_default_schedule_without_warmup_only_falls() -> None:
    config = OptimizerConfig(learning_rate=1.0, warmup_steps=0)
    np.testing.assert_allclose(rates(config, 4), [0.75, 0.75, 0.5, 0.25, 0.0])


def test_schedules_of_the_docstrings() -> None:
    steps = jnp.arange(11)
    np.testing.assert_allclose(
        polynomial(1.0, warmup_steps=2, num_steps=10)(steps),
        [0.5, 0.5, 1.0, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0], rtol=3e-7,
    )  # fmt: skip
    np.testing.assert_allclose(
        warmup_linear(1.0, warmup_steps=2, num_steps=10)(steps),
        [0.0, 0.5, 1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125, 0.0], rtol=3e-7,
    )  # fmt: skip
    np.testing.assert_allclose(
        warmup_stable_decay(1.0, warmup_steps=2, num_steps=10, fraction=0.4)(steps),
        [0.0, 0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 0.75, 0.5, 0.25, 0.0], rtol=3e-7,
    )  # fmt: skip


def test_polynomial_schedule_falls_to_its_end_and_stays_there() -> None:
    config = OptimizerConfig(
        learning_rate=1.0, warmup_steps=0, decay_power=2.0, end_learning_rate=0.2
    )
    expected = [0.65, 0.65, 0.4, 0.25, 0.2]  # 0.2 + 0.8 x (1 - step / 4)^2
    np.testing.assert_allclose(rates(config, 4), expected, rtol=3e-7)
    assert make_schedule(config, 4)(jnp.int32(9)) == np.float32(0.2)


def test_a_plateau_ends_where_its_decay_begins_and_a_longer_run_has_the_same_one() -> None:
    config = OptimizerConfig(
        learning_rate=1.0, schedule="warmup_stable_decay", warmup_steps=1, decay_fraction=0.5,
        decay_power=2.0, end_learning_rate=0.2,
    )  # fmt: skip
    expected = [0.0, 1.0, 1.0, 0.4, 0.2]  # 0.2 + 0.8 x (half of what decays)^2
    np.testing.assert_allclose(rates(config, 4), expected, rtol=3e-7)
    assert rates(config, 40)[:20] == [0.0] + 19 * [1.0]


def test_a_warmup_as_a_fraction_is_that_part_of_the_steps() -> None:
    of_steps = OptimizerConfig(warmup_steps=5)
    of_run = OptimizerConfig(warmup_steps=0, warmup_fraction=0.25)
    assert rates(of_run, 20) == rates(of_steps, 20)


def test_a_warmup_may_end_between_two_updates() -> None:
    config = OptimizerConfig(
        learning_rate=1.0, schedule="warmup_linear", warmup_steps=0, warmup_fraction=0.25
    )
    expected = [0.0, 0.4, 0.8, 7 / 7.5, 6 / 7.5]  # 2.5 of 10 updates
    np.testing.assert_allclose(rates(config, 10)[:5], expected, rtol=3e-7)


@pytest.mark.parametrize("schedule", ["polynomial", "warmup_linear", "warmup_stable_decay"])
@pytest.mark.parametrize("warmup_steps", [0, 1, 3, 4])
def test_rates_are_numbers_between_zero_and_the_peak_whatever_the_warmup(
    schedule: str, warmup_steps: int
) -> None:
    config = OptimizerConfig(learning_rate=2.0, schedule=schedule, warmup_steps=warmup_steps)
    found = rates(config, 4)
    assert all(0.0 <= rate <= 2.0 for rate in found)
    assert max(found) > 0.0


def test_fine_tuning_peaks_after_a_tenth_of_the_run() -> None:
    found = rates(FINE_TUNING_OPTIMIZER, 50)
    assert np.argmax(found) == 5
    np.testing.assert_allclose(found[5], 2e-5, rtol=3e-7)
    assert (found[0], found[50]) == (0.0, 0.0)
