"""Optimizers by name. In: the optimizer config. Out: an optax transformation.

The forms of Adam that SpanBERT was trained with, and LAMB, keep the same state, so that a run can
change from one to another. What looks at whole tensors sees those of BERT; see tensors.py.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import optax
from optax import contrib

from spanbert_jax.config import OptimizerConfig
from spanbert_jax.model.layer_stack import LAYER, STACK
from spanbert_jax.training.clipping import clip_by_tensor_norm
from spanbert_jax.training.tensors import each_tensor, layout_of, names_of

# Of RMS of 0.2 are the updates of AdamW, whose learning rates Muon then takes (Liu et al. 2025,
# sec. 2.2).
_RMS_OF_ADAM = 0.2


def make_optimizer(
    config: OptimizerConfig, schedule: optax.Schedule
) -> optax.GradientTransformation:
    """Clip, direction, decoupled weight decay, learning rate (sec. 4.2).

    The released code decays a parameter before its update, p (1 - rate * weight_decay) - rate * u,
    or as part of it, p - rate * (u + weight_decay * p): the same, since u does not depend on p.
    """
    return optax.chain(
        _clip(config),
        _direction(config),
        _decay_and_scale(config),
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


def _direction(config: OptimizerConfig) -> optax.GradientTransformation:
    """What a parameter moves along, in learning rates."""
    beta1, beta2, epsilon = config.beta1, config.beta2, config.epsilon
    match config.name:
        case "adamw" | "lamb":
            return optax.scale_by_adam(b1=beta1, b2=beta2, eps=epsilon)
        case "fairseq_adamw" | "bert_adam":
            corrects = config.name == "fairseq_adamw"
            return scale_by_raw_moments(beta1, beta2, epsilon=epsilon, bias_correction=corrects)
        case "lion":
            return optax.scale_by_lion(b1=beta1, b2=beta2)
        case "adafactor":
            return _scale_by_adafactor()
        case "muon":
            return _scale_by_muon(config)


def _decay_and_scale(config: OptimizerConfig) -> optax.GradientTransformation:
    """Weight decay, the step of LAMB, the rates of layers.

    With the state of weight decay alone, which holds nothing: a checkpoint knows its links by their
    states, and goes on with an optimizer that has the same ones.
    """

    def mask(params: Any) -> Any:
        return decay_mask(params, config.no_decay)

    decay = optax.add_decayed_weights(config.weight_decay, mask=mask)
    trust = optax.masked(each_tensor(optax.scale_by_trust_ratio()), mask)

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        updates, state = decay.update(updates, state, params)
        if config.name == "lamb":
            # Of every tensor as long as the tensor itself (You et al. 2020, algorithm 2); those
            # without weight decay keep their steps, as in the authors' code.
            updates, _ = trust.update(updates, trust.init(params), params)
        return _scaled_by_layer(updates, config.layer_decay), state

    return optax.GradientTransformation(decay.init, update)


def _scale_by_adafactor() -> optax.GradientTransformation:
    """Shazeer and Stern 2018, algorithm 4: no first moment, the second one of a matrix from its
    rows and columns, updates clipped at an RMS of 1, steps relative to the RMS of the tensor.
    """
    return each_tensor(
        optax.chain(
            optax.scale_by_factored_rms(decay_rate=0.8, epsilon=1e-30),
            optax.clip_by_block_rms(1.0),
            optax.scale_by_param_block_rms(min_scale=1e-3),
        ),
        as_matrices=True,
    )


def _scale_by_muon(config: OptimizerConfig) -> optax.GradientTransformation:
    """Momentum of matrices, all of its singular values made 1 by five iterations of Newton and
    Schulz (Jordan 2024), at the RMS of Adam's updates (Liu et al. 2025); Adam for the rest.
    """
    matrices = optax.chain(
        contrib.scale_by_muon(beta=config.momentum, weight_dimension_numbers=_matrix_axes),
        optax.stateless(lambda updates, _: jax.tree.map_with_path(_at_rms_of_adam, updates)),
    )
    adam = optax.scale_by_adam(b1=config.beta1, b2=config.beta2, eps=config.epsilon)
    return optax.partition({"muon": matrices, "adam": adam}, _muon_or_adam)


def _muon_or_adam(params: Any) -> Any:
    """Muon for what multiplies hidden states; neither embeddings nor what gives out labels."""

    def label(path: tuple[Any, ...], _: Any) -> str:
        is_output = not {"task_head", "next_sentence_head"}.isdisjoint(names_of(path))
        return "muon" if layout_of(path).num_inputs and not is_output else "adam"

    return jax.tree.map_with_path(label, params)


def _matrix_axes(params: Any) -> Any:
    """What axes of each array are inputs and outputs of a matrix, as optax has them."""

    def axes(path: tuple[Any, ...], array: jax.Array) -> contrib.MuonDimensionNumbers:
        stacks, inputs = layout_of(path)
        return contrib.MuonDimensionNumbers(
            tuple(range(stacks, stacks + inputs)), tuple(range(stacks + inputs, array.ndim))
        )

    return jax.tree.map_with_path(axes, params)


def _at_rms_of_adam(path: tuple[Any, ...], update: jax.Array) -> jax.Array:
    """An orthogonal (m, n) has an RMS of 1 / sqrt(max(m, n))."""
    stacks, inputs = layout_of(path)
    sizes = update.shape[stacks : stacks + inputs], update.shape[stacks + inputs :]
    return update * (_RMS_OF_ADAM * math.sqrt(max(map(math.prod, sizes))))


def _scaled_by_layer(updates: Any, decay: float) -> Any:
    """Layer-wise learning rates: the top layer's by `decay`, the next one's by its square, and so
    on down to the embeddings; heads keep theirs (Clark et al. 2020, appendix B, whose code takes
    one power more throughout the encoder).
    """
    if decay == 1.0:
        return updates
    num_layers = _num_layers(updates)
    return jax.tree.map_with_path(
        lambda path, update: update * _layer_scale(path, update, num_layers, decay), updates
    )


def _layer_scale(
    path: tuple[Any, ...], update: jax.Array, num_layers: int, decay: float
) -> jax.Array | float:
    """Of a layer's array, or of a stack of layers, one for each."""
    parts = names_of(path)
    if "embeddings" in parts:
        return float(decay ** (num_layers + 1))
    if STACK in parts:
        scales = decay ** jnp.arange(num_layers, 0, -1, dtype=jnp.float32)
        return scales.reshape(-1, *(1,) * (update.ndim - 1))
    found = next(filter(None, map(LAYER.fullmatch, parts)), None)
    return float(decay ** (num_layers - int(found[1]))) if found else 1.0


def _num_layers(tree: Any) -> int:
    """Of an encoder whose layers are separate or stacked."""
    separate, stacked = set(), 0
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        parts = names_of(path)
        separate |= {part for part in parts if LAYER.fullmatch(part)}
        stacked = leaf.shape[0] if STACK in parts else stacked
    return stacked or len(separate)


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
