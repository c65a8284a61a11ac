"""Losses of classification. In: what the head gave and the answers of a batch. Out: weighted sums,
whose weight is the number of rows.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from spanbert_jax.model.losses import WeightedSums

Logits = Float[Array, "batch classes"]
PerRow = Int[Array, " batch"]
PerClass = Float[Array, " classes"]


def label_loss(
    logits: Logits, *, labels: PerRow, row_weights: PerRow, class_weights: PerClass
) -> WeightedSums:
    """Cross-entropy of one label a row, times the weight of the label.

    logits = [[0, 0], [0, 0]], labels = [0, 1], row_weights = [1, 1], class_weights = [1, 3]
    -> loss 4 ln 2, weight 2
    """
    losses = -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=-1)[:, 0]
    return _summed(
        losses * class_weights[labels], jnp.argmax(logits, axis=-1) == labels, row_weights
    )


def label_set_loss(
    logits: Logits,
    *,
    labels: Int[Array, "batch classes"],
    row_weights: PerRow,
    class_weights: PerClass,
) -> WeightedSums:
    """Mean over the labels of the binary cross-entropy of each; a row is right where all are.

    logits = [[0, 0]], labels = [[1, 0]], row_weights = [1], class_weights = [3, 1]
    -> loss (3 ln 2 + ln 2) / 2
    """
    there = -jax.nn.log_sigmoid(logits) * class_weights
    losses = jnp.where(labels > 0, there, -jax.nn.log_sigmoid(-logits))
    correct = jnp.all((logits > 0) == (labels > 0), axis=-1)
    return _summed(jnp.mean(losses, axis=-1), correct, row_weights)


def score_loss(
    logits: Logits, *, scores: Float[Array, " batch"], row_weights: PerRow
) -> WeightedSums:
    """Squared error; no number is right or wrong.

    logits = [[1.0], [2.0]], scores = [3.0, 2.0], row_weights = [1, 1] -> loss 4
    """
    losses = jnp.square(logits[:, 0] - scores)
    return _summed(losses, None, row_weights)


def _summed(
    losses: Float[Array, " batch"], correct: Array | None, row_weights: PerRow
) -> WeightedSums:
    weights = row_weights.astype(jnp.float32)
    right = None if correct is None else jnp.sum(correct * weights)
    return WeightedSums(jnp.sum(losses * weights), right, jnp.sum(weights))
