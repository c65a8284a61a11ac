"""The learning rate over a run. In: the optimizer config and the run's length. Out: a schedule.

A schedule maps the number of updates made so far to the rate of the next one.
"""

import jax
import jax.numpy as jnp
import optax

from spanbert_jax.config import OptimizerConfig


def make_schedule(config: OptimizerConfig, num_steps: int) -> optax.Schedule:
    """The schedule that `config` names, for a run of `num_steps` updates."""
    warmup = config.warmup_steps + config.warmup_fraction * num_steps
    if config.schedule == "warmup_linear":
        return warmup_linear(config.learning_rate, warmup_steps=warmup, num_steps=num_steps)
    if config.schedule == "warmup_stable_decay":
        return warmup_stable_decay(
            config.learning_rate, warmup_steps=warmup, num_steps=num_steps,
            fraction=config.decay_fraction, power=config.decay_power, end=config.end_learning_rate,
        )  # fmt: skip
    return polynomial(
        config.learning_rate, warmup_steps=warmup, num_steps=num_steps,
        power=config.decay_power, end=config.end_learning_rate,
    )  # fmt: skip


def polynomial(
    peak: float, *, warmup_steps: float, num_steps: int, power: float = 1.0, end: float = 0.0
) -> optax.Schedule:
    """Linear warmup to `peak`, then decay to `end` by a power of what is left of the run.

    As fairseq's polynomial decay, with which SpanBERT was pretrained: it knows the number n of the
    last update, the first time n = 1, so that the first two updates share a rate. What is left is
    1 - n / num_steps, counted from the start of the run and not from the end of the warmup: the
    rate drops a little after it.

    polynomial(1.0, warmup_steps=2, num_steps=10) at 0, 1, ... 10
    -> 0.5, 0.5, 1.0, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0
    """

    def learning_rate(step: jax.Array) -> jax.Array:
        step = jnp.maximum(step, 1).astype(jnp.float32)
        # A warmup shorter than one update is over before the first.
        rising = peak * (step / max(warmup_steps, 1.0))
        left = jnp.maximum(num_steps - step, 0.0) / num_steps
        return jnp.where(step <= warmup_steps, rising, end + (peak - end) * left**power)

    return learning_rate


def warmup_linear(peak: float, *, warmup_steps: float, num_steps: int) -> optax.Schedule:
    """Linear warmup from 0 to `peak`, then straight down to 0 at the end of the run.

    As BertAdam, with which SpanBERT was fine-tuned: the first update has rate 0, and there is no
    drop after the warmup, which need not be a whole number of updates.

    warmup_linear(1.0, warmup_steps=2, num_steps=10) at 0, 1, ... 10
    -> 0.0, 0.5, 1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125, 0.0
    """

    def learning_rate(step: jax.Array) -> jax.Array:
        step = jnp.asarray(step, jnp.float32)
        # Shorter than one update, of either line only the end at rate 0 is ever asked for.
        rising = step / max(warmup_steps, 1.0)
        falling = jnp.maximum(num_steps - step, 0.0) / max(num_steps - warmup_steps, 1.0)
        return peak * jnp.where(step < warmup_steps, rising, falling)

    return learning_rate


def warmup_stable_decay(
    peak: float,
    *,
    warmup_steps: float,
    num_steps: int,
    fraction: float,
    power: float = 1.0,
    end: float = 0.0,
) -> optax.Schedule:
    """Linear warmup from 0 to `peak`, a plateau, and decay to `end` over the last `fraction`.

    As MiniCPM (Hu et al. 2024, sec. 4.2), with a power in place of its exponential: a line does as
    well (Hagele et al. 2024, sec. 3). The plateau does not depend on the length of the run.

    warmup_stable_decay(1.0, warmup_steps=2, num_steps=10, fraction=0.4) at 0, 1, ... 10
    -> 0.0, 0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 0.75, 0.5, 0.25, 0.0
    """

    def learning_rate(step: jax.Array) -> jax.Array:
        step = jnp.asarray(step, jnp.float32)
        rising = peak * (step / max(warmup_steps, 1.0))
        left = jnp.clip((num_steps - step) / (fraction * num_steps), 0.0, 1.0)
        return jnp.where(step < warmup_steps, rising, end + (peak - end) * left**power)

    return learning_rate
