"""Entities by a tag for each word: O, or B or I of a type, by the state of its first piece."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from spanbert_jax.config import ModelConfig
from spanbert_jax.data.batch import TaskBatch
from spanbert_jax.model.losses import WeightedSums, cross_entropy
from spanbert_jax.model.task_heads import TokenHead
from spanbert_jax.tasks.tagging.entities import OUTSIDE, entities_of
from spanbert_jax.tasks.tagging.method import Found
from spanbert_jax.tasks.tagging.windows import Window
from spanbert_jax.tasks.task import Outputs


def tag_names(types: Sequence[str]) -> list[str]:
    """tag_names(["LOC", "PER"]) -> ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]"""
    return [OUTSIDE, *(f"{state}-{kind}" for kind in types for state in "BI")]


class Bio:
    """Token classification, read as conlleval reads tags: any row of tags is some entities."""

    def inputs(self, window: Window, *, length: int) -> dict[str, np.ndarray]:
        return {}

    def targets(
        self, tags: Sequence[str], window: Window, *, types: Sequence[str], length: int
    ) -> dict[str, np.ndarray]:
        """label_ids, label_weights (length,): at the first piece of each word that is judged."""
        ids = {tag: i for i, tag in enumerate(tag_names(types))}
        judged = slice(window.judged_start - window.start, window.judged_end - window.start)
        positions = window.first_pieces[judged]
        label_ids, label_weights = np.zeros(length, np.int32), np.zeros(length, np.int32)
        label_ids[positions] = [ids[tag] for tag in tags[window.judged_start : window.judged_end]]
        label_weights[positions] = 1
        return {"label_ids": label_ids, "label_weights": label_weights}

    def head(self, model: ModelConfig, dtype: Any, *, types: Sequence[str]) -> nn.Module:
        return TokenHead(model, dtype, num_classes=len(tag_names(types)))

    def loss(self, outputs: dict[str, jax.Array], batch: TaskBatch) -> WeightedSums:
        return cross_entropy(
            outputs["logits"],
            target_ids=batch.fields["label_ids"],
            weights=batch.fields["label_weights"] * batch.row_weights[:, None],
        )

    def weight(self, batch: TaskBatch) -> jax.Array:
        weights = batch.fields["label_weights"] * batch.row_weights[:, None]
        return jnp.sum(weights).astype(jnp.float32)

    def entities(
        self, windows: Sequence[Window], outputs: Sequence[Outputs], *, types: Sequence[str]
    ) -> list[Found]:
        """The probability of an entity is the product of those of its tags."""
        names = tag_names(types)
        judged = []
        for window, output in zip(windows, outputs, strict=True):
            words = slice(window.judged_start - window.start, window.judged_end - window.start)
            judged.append(output["logits"][window.first_pieces[words]])
        logits = np.concatenate(judged)
        odds = np.exp(logits - logits.max(axis=-1, keepdims=True))
        best = logits.argmax(axis=-1)
        probabilities = (odds / odds.sum(axis=-1, keepdims=True))[np.arange(len(best)), best]
        entities = entities_of([names[i] for i in best])
        return [
            Found(each, float(probabilities[each.start : each.end].prod())) for each in entities
        ]
