"""Adam in the forms SpanBERT was trained with. In: the optimizer config. Out: an optax
transformation.

All forms keep the same state, so that a run can change from one to another.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import optax

from spanbert_jax.config import OptimizerConfig
from spanbert_jax.training.clipping import clip_by_tensor_norm


def make_optimizer(
    config: OptimizerConfig, schedule: optax.Schedule
) -> optax.GradientTransformation:
    """Clip, Adam moments, decoupled weight decay, learning rate (sec. 4.2).

    The released code decays a parameter before its update, p (1 - rate * weight_decay) - rate * u,
    or as part of it, p - rate * (u + weight_decay * p): the same, since u does not depend on p.
    """
    return optax.chain(
        _clip(config),
        _scale_by_adam(config),
        optax.add_decayed_weights(
            config.weight_decay, mask=lambda params: decay_mask(params, config.no_decay)
        ),
        optax.scale_by_learning_rate(schedule),
    )


def decay_mask(params: Any, no_decay: tuple[str, ...]) -> Any:
    """True where weight decay applies: no part of the parameter's name is in `no_decay`.

    {"dense": {"kernel": ..., "bias": ...}}, ("bias",) -> {"dense": {"kernel": True, "bias": False}}
    """

    def decays(path: tuple[Any, ...], _: Any) -> bool:
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        return not any(part in name for part in no_decay)

    return jax.tree_util.tree_map_with_path(decays, params)


def _clip(config: OptimizerConfig) -> optax.GradientTransformation:
    if config.max_grad_norm == 0.0:
        return optax.identity()
    if config.clip_by == "tensor_norm":
        return clip_by_tensor_norm(config.max_grad_norm)
    # The original adds 1e-6 to this norm too: a millionth part, which Adam divides out again.
    return optax.clip_by_global_norm(config.max_grad_norm)


def _scale_by_adam(config: OptimizerConfig) -> optax.GradientTransformation:
    beta1, beta2, epsilon = config.beta1, config.beta2, config.epsilon
    if config.name == "adamw":
        return optax.scale_by_adam(b1=beta1, b2=beta2, eps=epsilon)
    corrects = config.name == "fairseq_adamw"
    return scale_by_raw_moments(beta1, beta2, epsilon=epsilon, bias_correction=corrects)


def scale_by_raw_moments(
    beta1: float, beta2: float, *, epsilon: float, bias_correction: bool
) -> optax.GradientTransformation:
    """Adam whose epsilon joins the root of the second moment as it is, not bias-corrected.

    m <- beta1 m + (1 - beta1) g;  v <- beta2 v + (1 - beta2) g^2;  u = c_t m / (sqrt(v) + epsilon)

    With bias correction c_t = sqrt(1 - beta2^t) / (1 - beta1^t), the other order of computation in
    Kingma and Ba 2015, sec. 2, whose epsilon they write with a hat; it weighs most in the first
    updates, 32 times at t = 1 and beta2 = 0.999. Without, c_t = 1, as BERT was trained: the first
    updates are then (1 - beta1) / sqrt(1 - beta2) times as large, 3.2 for the usual betas.
    """

    def init(params: optax.Params) -> optax.ScaleByAdamState:
        first, second = optax.tree.zeros_like(params), optax.tree.zeros_like(params)
        return optax.ScaleByAdamState(jnp.zeros((), jnp.int32), mu=first, nu=second)

    def update(
        gradients: optax.Updates, state: optax.ScaleByAdamState, params: optax.Params | None = None
    ) -> tuple[optax.Updates, optax.ScaleByAdamState]:
        del params
        count = optax.safe_increment(state.count)
        first = optax.tree.update_moment(gradients, state.mu, beta1, 1)
        second = optax.tree.update_moment(gradients, state.nu, beta2, 2)
        factor = jnp.float32(1.0)
        if bias_correction:
            factor = jnp.sqrt(_one_minus_power(beta2, count)) / _one_minus_power(beta1, count)
        updates = jax.tree.map(lambda m, v: factor * (m / (jnp.sqrt(v) + epsilon)), first, second)
        return updates, optax.ScaleByAdamState(count, mu=first, nu=second)

    return optax.GradientTransformation(init, update)


def _one_minus_power(beta: float, count: jax.Array) -> jax.Array:
    """1 - beta^count. _one_minus_power(0.9, 2) -> 0.19"""
    # 1 - 0.999 loses four digits in float32; the logarithm is taken in float64, here and now.
    return -jnp.expm1(count * (math.log(beta) if beta else -math.inf))
