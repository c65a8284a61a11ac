"""Three kinds of classification: one label of a text, any number of labels, or a score.

In: answers. Out: what the head has, what it is trained on, what it predicts, how good that is.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from spanbert_jax.model.losses import WeightedSums
from spanbert_jax.tasks.classification import metrics
from spanbert_jax.tasks.classification.answers import (
    Answer,
    labels_of,
    read_label,
    read_label_set,
    read_score,
)
from spanbert_jax.tasks.classification.losses import label_loss, label_set_loss, score_loss

Labels = Sequence[str]


class Prediction(NamedTuple):
    """What is predicted of one example."""

    answer: Answer
    probabilities: tuple[float, ...] = ()
    """Of each label, in their order; of a score there are none."""


class Kind:
    """What differs between the kinds; answers are of one kind here."""

    has_labels = True
    per_label = False
    """Whether every label is decided by itself."""

    def read(self, value: Any, *, where: str) -> Answer | None:
        """The answer that a table holds; None where it is not known."""
        raise NotImplementedError

    def num_outputs(self, labels: Labels) -> int:
        return len(labels)

    def target(self, answer: Answer, labels: Labels) -> np.ndarray:
        """The field of a row that the loss compares with."""
        raise NotImplementedError

    def loss(
        self, logits: jax.Array, *, targets: jax.Array, row_weights: jax.Array,
        class_weights: Sequence[float],
    ) -> WeightedSums:  # fmt: skip
        raise NotImplementedError

    def balanced_weights(self, answers: Sequence[Answer], labels: Labels) -> list[float]:
        """Weights of the labels by how often they are trained on; 1 of one that never is."""
        raise NotImplementedError

    def predict(self, logits: np.ndarray, labels: Labels) -> Prediction:
        raise NotImplementedError

    def scores(
        self, answers: Sequence[Any], predictions: Sequence[Any], labels: Labels
    ) -> dict[str, float]:
        """Every score of this kind, between -1 and 1."""
        raise NotImplementedError


class SingleLabel(Kind):
    """One label of several."""

    def read(self, value: Any, *, where: str) -> Answer | None:
        return read_label(value, where=where)

    def target(self, answer: Answer, labels: Labels) -> np.ndarray:
        return np.int32(labels.index(answer))  # type: ignore[return-value]

    def loss(
        self, logits: jax.Array, *, targets: jax.Array, row_weights: jax.Array,
        class_weights: Sequence[float],
    ) -> WeightedSums:  # fmt: skip
        weights = jnp.asarray(class_weights, jnp.float32)
        return label_loss(logits, labels=targets, row_weights=row_weights, class_weights=weights)

    def balanced_weights(self, answers: Sequence[Answer], labels: Labels) -> list[float]:
        """n / (classes that occur x n of the class): their mean over the examples is 1."""
        counts = _counts(answers)
        share = len(answers) / len(counts)
        return [share / counts[label] if counts[label] else 1.0 for label in labels]

    def predict(self, logits: np.ndarray, labels: Labels) -> Prediction:
        scores = logits.astype(np.float64)
        probabilities = np.exp(scores - scores.max())
        probabilities /= probabilities.sum()
        return Prediction(labels[int(np.argmax(scores))], tuple(probabilities.tolist()))

    def scores(
        self, answers: Sequence[Any], predictions: Sequence[Any], labels: Labels
    ) -> dict[str, float]:
        truth, guess = as_classes(answers, labels), as_classes(predictions, labels)
        sets = [metrics.label_sets(x, num_labels=len(labels)) for x in (truth, guess)]
        return {
            "accuracy": metrics.accuracy(truth, guess),
            "macro_f1": metrics.macro_f1(*sets),
            "mcc": metrics.mcc(truth, guess),
        }


@dataclass(frozen=True)
class MultiLabel(Kind):
    """Any number of labels, each decided by itself: predicted from a probability of 0.5 on."""

    per_label = True
    separator: str = ","

    def read(self, value: Any, *, where: str) -> Answer | None:
        return read_label_set(value, where=where, separator=self.separator)

    def target(self, answer: Answer, labels: Labels) -> np.ndarray:
        return np.isin(labels, labels_of(answer)).astype(np.int32)

    def loss(
        self, logits: jax.Array, *, targets: jax.Array, row_weights: jax.Array,
        class_weights: Sequence[float],
    ) -> WeightedSums:  # fmt: skip
        weights = jnp.asarray(class_weights, jnp.float32)
        return label_set_loss(
            logits, labels=targets, row_weights=row_weights, class_weights=weights
        )

    def balanced_weights(self, answers: Sequence[Answer], labels: Labels) -> list[float]:
        """Examples without the label to those with it: both together count the same."""
        counts, total = _counts(answers), len(answers)
        return [
            (total - counts[label]) / counts[label] if 0 < counts[label] < total else 1.0
            for label in labels
        ]

    def predict(self, logits: np.ndarray, labels: Labels) -> Prediction:
        probabilities = 0.5 * (1.0 + np.tanh(0.5 * logits.astype(np.float64)))
        chosen = [label for label, logit in zip(labels, logits, strict=True) if logit > 0]
        return Prediction(tuple(sorted(chosen)), tuple(probabilities.tolist()))

    def scores(
        self, answers: Sequence[Any], predictions: Sequence[Any], labels: Labels
    ) -> dict[str, float]:
        truth, guess = (
            np.array([np.isin(labels, labels_of(x)) for x in sets])
            for sets in (answers, predictions)
        )
        return {
            "micro_f1": metrics.micro_f1(truth, guess),
            "macro_f1": metrics.macro_f1(truth, guess),
            "accuracy": metrics.exact_match(truth, guess),
        }


class Regression(Kind):
    """A number, learnt by squared error."""

    has_labels = False

    def read(self, value: Any, *, where: str) -> Answer | None:
        return read_score(value, where=where)

    def num_outputs(self, labels: Labels) -> int:
        return 1

    def target(self, answer: Answer, labels: Labels) -> np.ndarray:
        return np.float32(answer)  # type: ignore[arg-type, return-value]

    def loss(
        self, logits: jax.Array, *, targets: jax.Array, row_weights: jax.Array,
        class_weights: Sequence[float],
    ) -> WeightedSums:  # fmt: skip
        return score_loss(logits, scores=targets, row_weights=row_weights)

    def predict(self, logits: np.ndarray, labels: Labels) -> Prediction:
        return Prediction(float(logits[0]))

    def scores(
        self, answers: Sequence[Any], predictions: Sequence[Any], labels: Labels
    ) -> dict[str, float]:
        truth, guess = np.array(answers, np.float64), np.array(predictions, np.float64)
        pearson, spearman = metrics.pearson(truth, guess), metrics.spearman(truth, guess)
        return {
            "pearson_and_spearman": (pearson + spearman) / 2,
            "pearson": pearson,
            "spearman": spearman,
        }


def as_classes(answers: Sequence[str], labels: Labels) -> np.ndarray:
    """as_classes(["b", "a"], ("a", "b")) -> [1, 0]"""
    numbers = {label: number for number, label in enumerate(labels)}
    return np.array([numbers[answer] for answer in answers], np.int64)


def _counts(answers: Sequence[Answer]) -> Counter[str]:
    return Counter(label for answer in answers for label in labels_of(answer))
