"""Scores of classifications and of regressions. In: arrays of answers and predictions. Out: numbers
between -1 and 1; higher is better.

What has no value, such as the correlation with a constant, is 0.
"""

import numpy as np
from jaxtyping import Bool, Float, Int

Classes = Int[np.ndarray, " examples"]
LabelSets = Bool[np.ndarray, "examples labels"]
Values = Float[np.ndarray, " examples"]


def accuracy(answers: Classes, predictions: Classes) -> float:
    """answers = [0, 1, 1, 2], predictions = [0, 1, 2, 2] -> 0.75"""
    return float(np.mean(answers == predictions))


def f1(answers: Classes, predictions: Classes, *, positive: int = 1) -> float:
    """F1 of one class, as GLUE counts it for MRPC and QQP.

    answers = [1, 1, 1, 0], predictions = [1, 0, 1, 1] -> 2/3
    """
    return micro_f1((answers == positive)[:, None], (predictions == positive)[:, None])


def macro_f1(answers: LabelSets, predictions: LabelSets) -> float:
    """Mean F1 of the labels that occur, in answers or in predictions.

    answers = [[1, 0, 0], [1, 0, 0], [0, 1, 0]], predictions = [[1, 0, 0], [0, 1, 0], [0, 1, 0]]
    -> 2/3, the mean of 2/3 and 2/3; nothing was of the third label
    """
    occurs = (answers | predictions).any(axis=0)
    of_labels = _f1(
        np.sum(answers & predictions, axis=0), np.sum(answers, axis=0), np.sum(predictions, axis=0)
    )
    return float(np.mean(of_labels[occurs])) if occurs.any() else 0.0


def micro_f1(answers: LabelSets, predictions: LabelSets) -> float:
    """F1 over all labels of all examples together.

    answers = [[1, 1], [1, 0]], predictions = [[1, 0], [1, 1]] -> 2/3
    """
    return float(_f1(np.sum(answers & predictions), np.sum(answers), np.sum(predictions)))


def exact_match(answers: LabelSets, predictions: LabelSets) -> float:
    """answers = [[1, 1], [1, 0]], predictions = [[1, 0], [1, 0]] -> 0.5"""
    return float(np.mean((answers == predictions).all(axis=1)))


def mcc(answers: Classes, predictions: Classes) -> float:
    """Matthews correlation, in its form for any number of classes (Gorodkin 2004).

    answers = [1, 1, 0, 0], predictions = [1, 0, 0, 0] -> 1 / sqrt 3
    """
    num_classes = int(max(answers.max(), predictions.max())) + 1
    answered = np.bincount(answers, minlength=num_classes).astype(np.float64)
    predicted = np.bincount(predictions, minlength=num_classes).astype(np.float64)
    total, correct = float(len(answers)), float(np.sum(answers == predictions))
    spreads = (total**2 - predicted @ predicted) * (total**2 - answered @ answered)
    return float((correct * total - answered @ predicted) / np.sqrt(spreads)) if spreads else 0.0


def pearson(answers: Values, predictions: Values) -> float:
    """answers = [1, 2, 3], predictions = [2, 4, 6] -> 1.0"""
    first, second = (np.asarray(x, np.float64) for x in (answers, predictions))
    # Their mean may differ from equal values by a rounding error, and so would correlate.
    if np.ptp(first) == 0.0 or np.ptp(second) == 0.0:
        return 0.0
    first, second = first - first.mean(), second - second.mean()
    # A root each: the product of two small spreads may be 0 where neither is.
    spread = np.sqrt(first @ first) * np.sqrt(second @ second)
    return float(first @ second / spread) if spread else 0.0


def spearman(answers: Values, predictions: Values) -> float:
    """Correlation of ranks. answers = [1, 2, 3], predictions = [1, 10, 100] -> 1.0"""
    return pearson(ranks(answers), ranks(predictions))


def ranks(values: Values) -> Values:
    """Rank of each value, from 1; equal ones share the mean of theirs.

    values = [10, 30, 30, 20] -> [1, 3.5, 3.5, 2]
    """
    _, indices, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[indices]


def label_sets(classes: Classes, *, num_labels: int) -> LabelSets:
    """label_sets([2, 0], num_labels=3) -> [[0, 0, 1], [1, 0, 0]]"""
    return classes[:, None] == np.arange(num_labels)


def _f1(hits: np.ndarray, answered: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Harmonic mean of precision and recall, 0 without a hit."""
    return 2.0 * hits / np.maximum(answered + predicted, 1)
