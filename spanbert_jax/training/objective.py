"""What a train step minimises; that of pretraining is masked language model plus span boundary
(sec. 3.2), or plus BERT's next sentence.

In: parameters and a batch. Out: (sum, weight) pairs, and the factor of each sum in the loss.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any, Protocol

import jax
import jax.numpy as jnp

from spanbert_jax.config import ObjectiveConfig
from spanbert_jax.data.batch import PretrainBatch
from spanbert_jax.model.layer_stack import unstack_layers
from spanbert_jax.model.losses import (
    TargetLosses,
    WeightedSums,
    cross_entropy,
    target_losses,
)
from spanbert_jax.model.pretraining import SpanBert

Params = dict
Sums = dict[str, WeightedSums]


class Objective(Protocol):
    """What a train step needs to know; to it, a batch is any tree of arrays."""

    def init(self, key: jax.Array, batch: Any) -> Params:
        """Random parameters, boxed with their logical axes."""

    def sums(self, params: Params, batch: Any, dropout_key: jax.Array | None) -> Sums:
        """Sums of each loss over the batch; without a key nothing is dropped."""

    def scales(self, batch: Any) -> dict[str, jax.Array]:
        """Factor of each sum in the loss, known before any forward pass."""


@dataclass(frozen=True)
class PretrainObjective:
    """What a train step needs to know of pretraining."""

    model: SpanBert
    config: ObjectiveConfig

    def init(self, key: jax.Array, batch: PretrainBatch) -> Params:
        """Random parameters, boxed with their logical axes: the same in both layouts of layers."""
        return random_parameters(self.model, key, model_inputs(batch))

    def sums(self, params: Params, batch: PretrainBatch, dropout_key: jax.Array | None) -> Sums:
        """Sums of each loss over the batch; without a key nothing is dropped."""
        logits: Any = self.model.apply(
            {"params": params},
            **model_inputs(batch),
            deterministic=dropout_key is None,
            rngs={} if dropout_key is None else {"dropout": dropout_key},
        )
        weights = {"mlm": batch.masked_weights, "sbo": batch.boundary_weights}
        num_objectives = logits.vocabulary.shape[1]
        target_ids = jnp.repeat(batch.masked_ids[:, None], num_objectives, axis=1)
        losses = target_losses(logits.vocabulary, target_ids)
        sums = {
            name: TargetLosses(losses.nats[:, i], losses.hits[:, i]).sums(weights[name])
            for i, name in enumerate(("mlm", "sbo")[:num_objectives])
        }
        if logits.next_sentence is not None:
            labels, is_pair = batch.next_sentence_label, _is_pair(batch)
            sums["nsp"] = cross_entropy(
                logits.next_sentence[:, None],
                target_ids=jnp.maximum(labels, 0)[:, None],
                weights=is_pair[:, None],
            )
        return sums

    def scales(self, batch: PretrainBatch) -> dict[str, jax.Array]:
        """Factor of each sum in the loss, known before any forward pass.

        So gradients of microbatches only add up, and the unit is the masked token, globally.
        """
        masked = jnp.sum(batch.masked_weights).astype(jnp.float32)
        boundary = jnp.sum(batch.boundary_weights).astype(jnp.float32)
        if self.config.loss_normalization == "original":
            # The released criterion divides by the number of SBO targets plus one.
            scales = {"mlm": 1.0 / jnp.maximum(masked, 1.0), "sbo": 1.0 / (boundary + 1.0)}
        else:
            scales = {name: 1.0 / jnp.maximum(masked, 1.0) for name in ("mlm", "sbo")}
        scales["sbo"] *= self.config.span_boundary_weight
        if self.model.config.next_sentence_head:
            scales["nsp"] = 1.0 / jnp.maximum(jnp.sum(_is_pair(batch)).astype(jnp.float32), 1.0)
        return scales


def random_parameters(model: Any, key: jax.Array, inputs: dict[str, Any]) -> Params:
    """Parameters of a module with `compute`, boxed with their logical axes.

    Drawn for all layers at once, which compiles several times faster than layer by layer.
    """
    scanned = model.clone(compute=dataclasses.replace(model.compute, scan_layers=True))
    params = scanned.init(key, **inputs)["params"]
    return params if model.compute.scan_layers else unstack_layers(params)


def _is_pair(batch: PretrainBatch) -> jax.Array:
    """1 for rows of two segments; the others have no label."""
    return (batch.next_sentence_label >= 0).astype(jnp.int32)


def model_inputs(batch: PretrainBatch) -> dict[str, Any]:
    """The fields of a batch that the model sees; targets and weights are the losses'."""
    targets = ("masked_ids", "masked_weights", "boundary_weights", "next_sentence_label")
    return {name: value for name, value in batch._asdict().items() if name not in targets}


def total_loss(sums: Sums, scales: dict[str, jax.Array]) -> jax.Array:
    """The scalar that is minimised."""
    return sum((scales[name] * value.loss for name, value in sums.items()), jnp.float32(0.0))


def mean_metrics(sums: Sums) -> dict[str, jax.Array]:
    """Mean loss and accuracy of each objective over its own targets."""
    metrics = {}
    for name, value in sums.items():
        weight = jnp.maximum(value.weight, 1.0)
        metrics[f"{name}_loss"] = value.loss / weight
        if value.correct is not None:
            metrics[f"{name}_accuracy"] = value.correct / weight
    return metrics
