"""Scores of classifications, by literal arrays and by their properties."""

import numpy as np
import pytest
from scipy import stats

from spanbert_jax.tasks.classification.metrics import (
    accuracy,
    exact_match,
    f1,
    label_sets,
    macro_f1,
    mcc,
    micro_f1,
    pearson,
    ranks,
    spearman,
)


def classes(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def sets(*rows: list[int]) -> np.ndarray:
    return np.array(rows, bool)


def test_scores_of_the_docstrings():
    assert accuracy(classes(0, 1, 1, 2), classes(0, 1, 2, 2)) == 0.75
    assert f1(classes(1, 1, 1, 0), classes(1, 0, 1, 1)) == pytest.approx(2 / 3)
    answers, predictions = (
        sets([1, 0, 0], [1, 0, 0], [0, 1, 0]),
        sets([1, 0, 0], [0, 1, 0], [0, 1, 0]),
    )
    assert macro_f1(answers, predictions) == pytest.approx(2 / 3)
    assert micro_f1(sets([1, 1], [1, 0]), sets([1, 0], [1, 1])) == pytest.approx(2 / 3)
    assert exact_match(sets([1, 1], [1, 0]), sets([1, 0], [1, 0])) == 0.5
    assert mcc(classes(1, 1, 0, 0), classes(1, 0, 0, 0)) == pytest.approx(1 / np.sqrt(3))
    assert ranks(np.array([10.0, 30.0, 30.0, 20.0])).tolist() == [1.0, 3.5, 3.5, 2.0]
    assert spearman(np.array([1.0, 2.0, 3.0]), np.array([1.0, 10.0, 100.0])) == pytest.approx(1.0)
    assert label_sets(classes(2, 0), num_labels=3).tolist() == [
        [False, False, True], [True, False, False],
    ]  # fmt: skip


def test_correlations_are_those_of_scipy_also_where_values_are_equal():
    rng = np.random.default_rng(0)
    answers = rng.integers(0, 6, 200).astype(np.float64)
    predictions = np.round(answers + rng.normal(0, 2, 200), 0)
    assert pearson(answers, predictions) == pytest.approx(stats.pearsonr(answers, predictions)[0])
    assert spearman(answers, predictions) == pytest.approx(stats.spearmanr(answers, predictions)[0])


def test_mcc_of_several_classes_is_the_correlation_of_their_indicators():
    rng = np.random.default_rng(1)
    answers = rng.integers(0, 4, 300)
    predictions = np.where(rng.random(300) < 0.6, answers, rng.integers(0, 4, 300))
    one, other = (label_sets(x, num_labels=4) - label_sets(x, num_labels=4).mean(axis=0)
                  for x in (answers, predictions))  # fmt: skip
    expected = np.sum(one * other) / np.sqrt(np.sum(one * one) * np.sum(other * other))
    assert mcc(answers, predictions) == pytest.approx(expected)


def test_what_has_no_value_is_0():
    assert mcc(classes(0, 1, 0, 1), classes(0, 0, 0, 0)) == 0.0
    assert f1(classes(0, 0), classes(0, 0)) == 0.0
    assert pearson(np.array([1.0, 2.0]), np.array([3.0, 3.0])) == 0.0
    # The mean of three tenths is not quite a tenth.
    assert pearson(np.full(3, 0.1), np.full(3, 0.1)) == 0.0
    assert macro_f1(sets([0, 0]), sets([0, 0])) == 0.0
    assert micro_f1(sets([0, 0]), sets([0, 0])) == 0.0


def test_perfect_predictions_score_1_and_opposite_ones_minus_1():
    answers = classes(0, 1, 1, 0, 1)
    assert accuracy(answers, answers) == f1(answers, answers) == mcc(answers, answers) == 1.0
    assert mcc(answers, 1 - answers) == -1.0
    assert pearson(answers.astype(float), -answers.astype(float)) == pytest.approx(-1.0)
