"""Losses as (sum, weight) pairs, which add up over microbatches; one division, at the end.

In: logits and targets. Out: `WeightedSums`.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


class WeightedSums(NamedTuple):
    """Sums over the targets of one objective, in float32."""

    loss: Float[Array, ""]
    """Cross-entropy in nats."""
    correct: Float[Array, ""] | None
    """Targets than which no other token was more probable; None where nothing is right or wrong,
    as of numbers."""
    weight: Float[Array, ""]
    """Targets."""


class TargetLosses(NamedTuple):
    """What each target costs."""

    nats: Float[Array, "*targets"]
    """Its cross-entropy."""
    hits: Bool[Array, "*targets"]
    """Whether no other token was more probable."""

    def sums(self, weights: Int[Array, "*targets"]) -> WeightedSums:
        """Over the targets with weight 1."""
        counted = weights.astype(jnp.float32)
        return WeightedSums(
            jnp.sum(self.nats * counted), jnp.sum(self.hits * counted), jnp.sum(counted)
        )


def cross_entropy(
    logits: Float[Array, "batch predictions vocab"],
    *,
    target_ids: Int[Array, "batch predictions"],
    weights: Int[Array, "batch predictions"],
) -> WeightedSums:
    """Sum cross-entropy and hits over the slots with weight 1.

    logits = [[[0., 0.], [1., 2.]]], target_ids = [[1, 0]], weights = [[1, 0]]
    -> loss ln 2, correct 1, weight 1
    """
    return target_losses(logits, target_ids).sums(weights)


def target_losses(
    logits: Float[Array, "*targets vocab"], target_ids: Int[Array, "*targets"]
) -> TargetLosses:
    """Cross-entropy and hit of every target; gradients flow to the logits."""
    with jax.named_scope("loss"):
        nats, hits = _target_losses(logits.astype(jnp.float32), target_ids)
        return TargetLosses(nats, hits)


@jax.custom_vjp
def _target_losses(logits: jax.Array, target_ids: jax.Array) -> tuple[jax.Array, jax.Array]:
    return _target_losses_forward(logits, target_ids)[0]


def _target_losses_forward(
    logits: jax.Array, target_ids: jax.Array
) -> tuple[tuple[jax.Array, jax.Array], tuple[jax.Array, jax.Array, jax.Array]]:
    # One reduction finds the maximum, of which the hits are known too: an argmax would pass over
    # the vocabulary once more.
    most = jnp.max(logits, axis=-1)
    normalizer = most + jnp.log(jnp.sum(jnp.exp(logits - most[..., None]), axis=-1))
    of_target = jnp.take_along_axis(logits, target_ids[..., None], axis=-1)[..., 0]
    return (normalizer - of_target, of_target >= most), (logits, normalizer, target_ids)


def _target_losses_backward(
    saved: tuple[jax.Array, jax.Array, jax.Array], gradients: tuple[jax.Array, Any]
) -> tuple[jax.Array, None]:
    """softmax(logits) less 1 at the target, in one pass over the logits.

    JAX's own rule scatters into an array of zeros as large as the logits, and adds it.
    """
    logits, normalizer, target_ids = saved
    # A custom rule has the scope of where it is called, not of where it is written.
    with jax.named_scope("loss"):
        softmax = jnp.exp(logits - normalizer[..., None])
        is_target = jnp.arange(logits.shape[-1]) == target_ids[..., None]
        return jnp.where(is_target, softmax - 1.0, softmax) * gradients[0][..., None], None


_target_losses.defvjp(_target_losses_forward, _target_losses_backward)
