"""One pure step: (state, batch) -> (state, metrics).

No clock, file or print inside; no gradient outside.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import optax

from spanbert_jax.training.objective import (
    Objective,
    Params,
    Sums,
    mean_metrics,
    total_loss,
)

Metrics = dict[str, jax.Array]
# Of the mean that a norm is compared with.
_USUAL_STEPS = 100


@flax.struct.dataclass
class TrainState:
    """Everything a step changes."""

    step: jax.Array
    """int32, steps taken, skipped ones included."""
    params: Params
    optimizer_state: Any
    skipped_steps: jax.Array
    """int32, steps whose gradients were not finite, or a spike."""
    usual_grad_norm: jax.Array | None = None
    """float32, mean of the last steps that were taken; None where no spike is looked for."""


def init_state(
    objective: Objective,
    optimizer: optax.GradientTransformation,
    *,
    batch: Any,
    seed: int | jax.Array,
    looks_for_spikes: bool = False,
) -> TrainState:
    """Random parameters, boxed with their logical axes, and zero moments."""
    params = objective.init(jax.random.key(seed), batch)
    zero = jnp.zeros((), jnp.int32)
    return TrainState(
        step=zero, params=params, optimizer_state=optimizer.init(nn.unbox(params)),
        skipped_steps=zero,
        usual_grad_norm=jnp.zeros((), jnp.float32) if looks_for_spikes else None,
    )  # fmt: skip


def make_train_step(
    objective: Objective,
    optimizer: optax.GradientTransformation,
    *,
    schedule: optax.Schedule,
    num_microbatches: int,
    seed: int | jax.Array,
    max_norm_ratio: float = 0.0,
) -> Callable[[TrainState, Any], tuple[TrainState, Metrics]]:
    """Build the step; jit it with shardings and a donated state.

    Gradients that are not finite leave parameters and moments as they were; the step is counted in
    `skipped_steps`. So do those whose norm is more than `max_norm_ratio` (0 for never) times the
    usual one.
    """

    def train_step(state: TrainState, batch: Any) -> tuple[TrainState, Metrics]:
        key = jax.random.fold_in(jax.random.key(seed), state.step)
        gradients, sums = _accumulate(objective, state.params, batch, num_microbatches, key)
        with jax.named_scope("optimizer"):
            norm = optax.tree.norm(gradients)
            usual, taken = _judge(state, norm, max_norm_ratio)
            updates, optimizer_state = optimizer.update(
                gradients, state.optimizer_state, state.params
            )
            proposed = (optax.apply_updates(state.params, updates), optimizer_state)
            params, optimizer_state = jax.tree.map(
                lambda new, old: jnp.where(taken, new, old),
                proposed,
                (state.params, state.optimizer_state),
            )
        skipped = state.skipped_steps + jnp.where(taken, 0, 1)
        metrics = {
            "loss": total_loss(sums, objective.scales(batch)),
            **mean_metrics(sums),
            # The optimizer's own count: a skipped step is no update.
            "learning_rate": schedule(state.step - state.skipped_steps),
            "grad_norm": norm,
            "skipped_steps": skipped,
        }
        return TrainState(state.step + 1, params, optimizer_state, skipped, usual), metrics

    return train_step


def _judge(
    state: TrainState, norm: jax.Array, max_norm_ratio: float
) -> tuple[jax.Array | None, jax.Array]:
    """The usual norm after this step, and whether the step is taken."""
    taken, usual = jnp.isfinite(norm), state.usual_grad_norm
    if usual is None:
        return None, taken
    num_taken = state.step - state.skipped_steps
    # Nothing is known of a run that has begun to look on its way: its next norm is the usual one.
    unknown = usual == 0.0
    taken &= unknown | (num_taken < _USUAL_STEPS) | (norm <= max_norm_ratio * usual)
    # A mean at first, of which then a hundredth is forgotten at every step.
    weight = jnp.where(unknown, 1.0, 1.0 / jnp.minimum(num_taken + 1, _USUAL_STEPS))
    return jnp.where(taken, usual + weight * (norm - usual), usual), taken


def make_eval_step(objective: Objective) -> Callable[[Params, Any], Sums]:
    """Build the evaluation of one batch: sums to be added over batches."""

    def eval_step(params: Params, batch: Any) -> Sums:
        return objective.sums(params, batch, None)

    return eval_step


def _accumulate(
    objective: Objective,
    params: Params,
    batch: Any,
    num_microbatches: int,
    key: jax.Array,
) -> tuple[Params, Sums]:
    """Gradient of the batch's loss and its sums, one microbatch after the other."""
    scales = objective.scales(batch)

    def loss(params: Params, part: Any, key: jax.Array) -> tuple[jax.Array, Sums]:
        sums = objective.sums(params, part, key)
        return total_loss(sums, scales), sums

    gradient = jax.grad(loss, has_aux=True)
    if num_microbatches == 1:
        return gradient(params, batch, key)

    def add_microbatch(carry: Any, part_and_key: Any) -> tuple[Any, None]:
        part, part_key = part_and_key
        return jax.tree.map(jnp.add, carry, gradient(params, part, part_key)), None

    parts = jax.tree.map(lambda field: _split_rows(field, num_microbatches), batch)
    keys = jax.random.split(key, num_microbatches)
    first = jax.tree.map(lambda field: field[0], parts)
    zeros = jax.tree.map(
        lambda leaf: jnp.zeros(leaf.shape, leaf.dtype),
        jax.eval_shape(gradient, params, first, keys[0]),
    )
    return jax.lax.scan(add_microbatch, zeros, (parts, keys))[0]


def _split_rows(field: jax.Array, num_parts: int) -> jax.Array:
    """(B, ...) -> (num_parts, B / num_parts, ...), each part with rows of every device.

    [[0], [1], [2], [3]], 2 -> [[[0], [2]], [[1], [3]]]
    """
    rows = field.reshape(-1, num_parts, *field.shape[1:])
    return jnp.swapaxes(rows, 0, 1)
