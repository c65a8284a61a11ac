"""Entities by a class for each span of words: a type, or none. Of spans that overlap the most
probable one stays."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from spanbert_jax.config import ModelConfig
from spanbert_jax.config.tasks.tagging import TaggingConfig
from spanbert_jax.data.batch import TaskBatch
from spanbert_jax.model.losses import WeightedSums, cross_entropy
from spanbert_jax.model.word_span_head import WordSpanHead
from spanbert_jax.tasks.tagging.entities import Entity, entities_of
from spanbert_jax.tasks.tagging.method import Found
from spanbert_jax.tasks.tagging.windows import Window
from spanbert_jax.tasks.task import Outputs

NONE = 0


class Spans(NamedTuple):
    """Span classification: every span of at most max_span_words words, in one window that holds it:
    that which judges its first word, or else the next one that it does not reach beyond."""

    config: TaggingConfig

    def inputs(self, window: Window, *, length: int) -> dict[str, np.ndarray]:
        """first_pieces, last_pieces (length,): at j the positions of those of the j-th word."""
        return {
            "first_pieces": _filled(window.first_pieces, length),
            "last_pieces": _filled(window.last_pieces, length),
        }

    def targets(
        self, tags: Sequence[str], window: Window, *, types: Sequence[str], length: int
    ) -> dict[str, np.ndarray]:
        """span_labels, span_weights (length, widths): at [j, k] of the span of words j .. j+k."""
        widths = self.config.max_span_words
        labels = np.zeros((length, widths), np.int32)
        for kind, start, end in entities_of(tags):
            if window.start <= start and end <= window.end and end - start <= widths:
                labels[start - window.start, end - start - 1] = 1 + types.index(kind)
        weights = np.zeros((length, widths), np.int32)
        weights[: window.end - window.start] = self._judged(window)
        return {"span_labels": labels, "span_weights": weights}

    def _judged(self, window: Window) -> np.ndarray:
        """(words, widths) bool: the spans that a window judges."""
        first = np.arange(window.start, window.end)[:, None]
        last = first + np.arange(self.config.max_span_words)
        own = (window.judged_start <= first) & (first < window.judged_end)
        too_long_before = (first < window.judged_start) & (last >= window.previous_end)
        return (own | too_long_before) & (last < window.end)

    def head(self, model: ModelConfig, dtype: Any, *, types: Sequence[str]) -> nn.Module:
        config = self.config
        return WordSpanHead(
            model, dtype, num_classes=1 + len(types), max_span_words=config.max_span_words,
            width_size=config.width_size, hidden_size=config.span_hidden_size,
        )  # fmt: skip

    def loss(self, outputs: dict[str, jax.Array], batch: TaskBatch) -> WeightedSums:
        """Summed over all spans, and divided by the number of words: a mean over spans, most of
        which are none, would make the gradient as small as epsilon. A word is right where all spans
        that begin with it are."""
        logits, labels = outputs["span_logits"], batch.fields["span_labels"]
        weights = batch.fields["span_weights"] * batch.row_weights[:, None, None]
        sums = cross_entropy(
            logits.reshape(len(logits), -1, logits.shape[-1]),
            target_ids=labels.reshape(len(logits), -1),
            weights=weights.reshape(len(logits), -1),
        )
        right = jnp.all((logits.argmax(axis=-1) == labels) | (weights == 0), axis=-1)
        return WeightedSums(sums.loss, jnp.sum(right * weights[..., 0] * 1.0), self.weight(batch))

    def weight(self, batch: TaskBatch) -> jax.Array:
        # Of its own width every word that is judged has one span.
        words = batch.fields["span_weights"][..., 0] * batch.row_weights[:, None]
        return jnp.sum(words).astype(jnp.float32)

    def entities(
        self, windows: Sequence[Window], outputs: Sequence[Outputs], *, types: Sequence[str]
    ) -> list[Found]:
        candidates: list[Found] = []
        for window, output in zip(windows, outputs, strict=True):
            candidates += self._candidates(window, output["span_logits"], types)
        return without_overlaps(candidates, num_words=windows[-1].end)

    def _candidates(self, window: Window, logits: np.ndarray, types: Sequence[str]) -> list[Found]:
        """The spans of a window for which some type is more probable than none."""
        logits = logits[: window.end - window.start]
        odds = np.exp(logits - logits.max(axis=-1, keepdims=True))
        probabilities = odds / odds.sum(axis=-1, keepdims=True)
        best = logits.argmax(axis=-1)
        found = []
        for j, k in np.argwhere((best != NONE) & self._judged(window)).tolist():
            start = window.start + j
            entity = Entity(types[best[j, k] - 1], start, start + k + 1)
            found.append(Found(entity, float(probabilities[j, k, best[j, k]])))
        return found


def without_overlaps(candidates: Sequence[Found], *, num_words: int) -> list[Found]:
    """Candidates, the most probable first, each unless a word of it is taken; in their order.

    (PER, 0, 2) .9, (LOC, 1, 2) .8, (LOC, 3, 4) .6 -> (PER, 0, 2), (LOC, 3, 4)
    """
    taken, kept = np.zeros(num_words, bool), []
    for found in sorted(candidates, key=lambda found: -found.probability):
        words = slice(found.entity.start, found.entity.end)
        if not taken[words].any():
            taken[words] = True
            kept.append(found)
    return sorted(kept, key=lambda found: found.entity.start)


def _filled(values: np.ndarray, length: int) -> np.ndarray:
    filled = np.zeros(length, np.int32)
    filled[: len(values)] = values
    return filled
