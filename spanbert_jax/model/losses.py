"""Losses as (sum, weight) pairs, which add up over microbatches; one division, at the end.

In: logits and targets. Out: `WeightedSums`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


class WeightedSums(NamedTuple):
    """Sums over the targets of one objective, in float32."""

    loss: Float[Array, ""]
    """Cross-entropy in nats."""
    correct: Float[Array, ""] | None
    """Targets than which no other token was more probable; None where nothing is right or wrong,
    as of numbers."""
    weight: Float[Array, ""]
    """Targets."""


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
    logits = logits.astype(jnp.float32)
    target_logits = jnp.take_along_axis(logits, target_ids[..., None], axis=-1)[..., 0]
    losses = jax.nn.logsumexp(logits, axis=-1) - target_logits
    # The maximum is in the logsumexp already; an argmax would pass over the vocabulary once more.
    hits = target_logits >= jnp.max(logits, axis=-1)
    weights_f32 = weights.astype(jnp.float32)
    return WeightedSums(
        jnp.sum(losses * weights_f32), jnp.sum(hits * weights_f32), jnp.sum(weights_f32)
    )
