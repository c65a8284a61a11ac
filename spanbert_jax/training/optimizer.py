"""AdamW and its schedule. In: the optimizer config. Out: an optax transformation."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from spanbert_jax.config import OptimizerConfig


def linear_schedule(config: OptimizerConfig, num_steps: int) -> optax.Schedule:
    """Learning rate of the update after `step` others: linear warmup, then linear decay to 0.

    As the released code: the decay is (1 - step / num_steps) of the peak, counted from the start of
    the run and not from the end of the warmup, so the rate drops a little after the warmup; the
    first two updates share the first warmup value.
    """

    def learning_rate(step: jax.Array) -> jax.Array:
        step = jnp.maximum(step, 1).astype(jnp.float32)
        warmup = step / max(config.warmup_steps, 1)
        decay = jnp.maximum(0.0, 1.0 - step / num_steps)
        return config.learning_rate * jnp.where(step <= config.warmup_steps, warmup, decay)

    return learning_rate


def decay_mask(params: Any, no_decay: tuple[str, ...]) -> Any:
    """True where weight decay applies: no part of the parameter's name is in `no_decay`.

    {"dense": {"kernel": ..., "bias": ...}}, ("bias",) -> {"dense": {"kernel": True, "bias": False}}
    """

    def decays(path: tuple[Any, ...], _: Any) -> bool:
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        return not any(part in name for part in no_decay)

    return jax.tree_util.tree_map_with_path(decays, params)


def make_optimizer(
    config: OptimizerConfig, schedule: optax.Schedule
) -> optax.GradientTransformation:
    """Clip by global norm, Adam moments, decoupled weight decay, learning rate (sec. 4.2)."""
    return optax.chain(
        optax.clip_by_global_norm(config.max_grad_norm),
        optax.scale_by_adam(b1=config.beta1, b2=config.beta2, eps=config.epsilon),
        optax.add_decayed_weights(
            config.weight_decay, mask=lambda params: decay_mask(params, config.no_decay)
        ),
        optax.scale_by_learning_rate(schedule),
    )
