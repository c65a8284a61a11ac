"""What ways to find entities have in common: what a row needs, a head, a loss, and decoding."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import flax.linen as nn
import jax
import numpy as np

from spanbert_jax.config import ModelConfig
from spanbert_jax.data.batch import TaskBatch
from spanbert_jax.model.losses import WeightedSums
from spanbert_jax.tasks.tagging.entities import Entity
from spanbert_jax.tasks.tagging.windows import Window
from spanbert_jax.tasks.task import Outputs


class Found(NamedTuple):
    """A predicted entity."""

    entity: Entity
    probability: float


class Method(Protocol):
    """One way to find the entities of a sentence."""

    def inputs(self, window: Window, *, length: int) -> dict[str, np.ndarray]:
        """Fields of a row of `length` tokens that the head reads."""

    def targets(
        self, tags: Sequence[str], window: Window, *, types: Sequence[str], length: int
    ) -> dict[str, np.ndarray]:
        """Fields that the loss reads; `tags` are those of the whole sentence, in BIO."""

    def head(self, model: ModelConfig, dtype: Any, *, types: Sequence[str]) -> nn.Module: ...

    def loss(self, outputs: dict[str, jax.Array], batch: TaskBatch) -> WeightedSums: ...

    def weight(self, batch: TaskBatch) -> jax.Array: ...

    def entities(
        self, windows: Sequence[Window], outputs: Sequence[Outputs], *, types: Sequence[str]
    ) -> list[Found]:
        """The entities of a sentence by all its windows, in their order; none overlap."""
