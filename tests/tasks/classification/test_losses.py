"""Losses of classification, beside what the same numbers give in numpy."""

import jax.numpy as jnp
import numpy as np
import pytest

from spanbert_jax.tasks.classification.losses import label_loss, label_set_loss, score_loss
from spanbert_jax.training.objective import mean_metrics

LN2 = float(np.log(2))


def test_losses_of_the_docstrings():
    ones = jnp.array([1, 1])
    summed = label_loss(
        jnp.zeros((2, 2)), labels=jnp.array([0, 1]), row_weights=ones,
        class_weights=jnp.array([1.0, 3.0]),
    )  # fmt: skip
    assert float(summed.loss) == pytest.approx(4 * LN2) and float(summed.weight) == 2
    summed = label_set_loss(
        jnp.zeros((1, 2)), labels=jnp.array([[1, 0]]), row_weights=jnp.array([1]),
        class_weights=jnp.array([3.0, 1.0]),
    )  # fmt: skip
    assert float(summed.loss) == pytest.approx(2 * LN2)
    summed = score_loss(jnp.array([[1.0], [2.0]]), scores=jnp.array([3.0, 2.0]), row_weights=ones)
    assert (float(summed.loss), summed.correct) == (4.0, None)
    assert mean_metrics({"task": summed}) == {"task_loss": 2.0}


def test_rows_of_weight_0_count_nothing():
    logits, row_weights = jnp.array([[2.0, -1.0], [9.0, 9.0]]), jnp.array([1, 0])
    weights = jnp.ones(2)
    summed = [
        label_loss(
            logits, labels=jnp.array([1, 0]), row_weights=row_weights, class_weights=weights
        ),
        label_set_loss(
            logits, labels=jnp.array([[0, 1], [0, 0]]), row_weights=row_weights,
            class_weights=weights,
        ),
        score_loss(logits[:, :1], scores=jnp.array([0.0, 5.0]), row_weights=row_weights),
    ]  # fmt: skip
    assert [float(each.weight) for each in summed] == [1.0, 1.0, 1.0]
    assert [float(each.correct) for each in summed[:2]] == [0.0, 0.0]
    expected = [
        np.log1p(np.exp(3.0)), (np.log1p(np.exp(2.0)) + np.log1p(np.exp(1.0))) / 2, 4.0,
    ]  # fmt: skip
    np.testing.assert_allclose([float(each.loss) for each in summed], expected, rtol=1e-6)


def test_a_row_is_right_where_its_label_or_all_of_its_labels_are():
    one = label_loss(
        jnp.array([[0.0, 1.0], [1.0, 0.0]]), labels=jnp.array([1, 1]),
        row_weights=jnp.array([1, 1]), class_weights=jnp.ones(2),
    )  # fmt: skip
    several = label_set_loss(
        jnp.array([[1.0, -1.0], [1.0, 1.0]]), labels=jnp.array([[1, 0], [1, 0]]),
        row_weights=jnp.array([1, 1]), class_weights=jnp.ones(2),
    )  # fmt: skip
    assert float(one.correct) == float(several.correct) == 1.0
