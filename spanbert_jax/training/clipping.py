"""Gradient clipping tensor by tensor. In: gradients. Out: those, none of a norm above the limit."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from spanbert_jax.training.tensors import layout_of


def clip_by_tensor_norm(max_norm: float) -> optax.GradientTransformation:
    """Scale each tensor's gradient down to `max_norm` where it is larger, whatever the others do.

    As BertAdam, where optax.clip_by_global_norm takes one norm over all. A tensor is what it was in
    BERT: one layer's, and query, key and value apart.

    clip_by_tensor_norm(1.0) on {"kernel": [3., 4.], "bias": [0.5]}
    -> {"kernel": [0.6, 0.8], "bias": [0.5]}
    """

    def clip(path: tuple[Any, ...], gradient: jax.Array) -> jax.Array:
        axes = tuple(range(layout_of(path).num_stacks, gradient.ndim))
        norm = jnp.sqrt(jnp.sum(jnp.square(gradient), axis=axes, keepdims=True))
        # 1e-6: as torch.nn.utils.clip_grad_norm_.
        return gradient * jnp.minimum(1.0, max_norm / (norm + 1e-6))

    return optax.stateless(lambda gradients, _: jax.tree_util.tree_map_with_path(clip, gradients))
