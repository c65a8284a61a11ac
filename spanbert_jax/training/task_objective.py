"""The objective of fine-tuning: the loss of a task. In: parameters and a `TaskBatch`. Out: its sum
and weight, the factor of the sum in the loss; outputs of the head.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from spanbert_jax.data.batch import TaskBatch
from spanbert_jax.model.losses import WeightedSums
from spanbert_jax.model.task_model import TaskModel
from spanbert_jax.training.objective import Params, Sums, random_parameters


@dataclass(frozen=True)
class TaskObjective:
    """What a train step needs to know of a task."""

    model: TaskModel
    loss: Callable[[dict[str, jax.Array], TaskBatch], WeightedSums]
    """Of the head's outputs: its sum over the targets of a batch."""
    weight: Callable[[TaskBatch], jax.Array]
    """Targets of a batch, by which the sum is divided."""

    def init(self, key: jax.Array, batch: TaskBatch) -> Params:
        """Random parameters, boxed with their logical axes."""
        return random_parameters(self.model, key, self._inputs(batch))

    def outputs(
        self, params: Params, batch: TaskBatch, dropout_key: jax.Array | None = None
    ) -> dict[str, jax.Array]:
        """What the head gives; without a key nothing is dropped."""
        outputs: Any = self.model.apply(
            {"params": params},
            **self._inputs(batch),
            deterministic=dropout_key is None,
            rngs={} if dropout_key is None else {"dropout": dropout_key},
        )
        return outputs

    def sums(self, params: Params, batch: TaskBatch, dropout_key: jax.Array | None) -> Sums:
        """Sum of the task's loss over the batch."""
        return {"task": self.loss(self.outputs(params, batch, dropout_key), batch)}

    def scales(self, batch: TaskBatch) -> dict[str, jax.Array]:
        """One over the number of targets, globally; gradients of microbatches only add up."""
        return {"task": 1.0 / jnp.maximum(self.weight(batch), 1.0)}

    def _inputs(self, batch: TaskBatch) -> dict[str, Any]:
        """What the model sees of a batch."""
        names = ("token_ids", "segment_ids", "document_ids", "position_ids", "fields")
        inputs = {name: getattr(batch, name) for name in names}
        # Models of one segment, such as RoBERTa, tell two texts apart by what stands between.
        most = max(self.model.config.num_segments - 1, 0)
        return inputs | {"segment_ids": jnp.minimum(inputs["segment_ids"], most)}
