"""Means over all targets, however they are spread over batches."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from spanbert_jax.data.batch import PretrainBatch
from spanbert_jax.model.losses import WeightedSums, cross_entropy
from spanbert_jax.training.evaluation import evaluate
from spanbert_jax.training.objective import Sums

BOTH = {"mlm": 1.0, "sbo": 0.5}


def sums(loss: float, correct: float, weight: float) -> WeightedSums:
    return WeightedSums(jnp.float32(loss), jnp.float32(correct), jnp.float32(weight))


def evaluate_sums(batches: list[Sums], objective_weights: dict[str, float]) -> dict[str, float]:
    """Batches that stand for their own sums."""
    return evaluate(
        {}, batches,  # type: ignore[arg-type]
        eval_step=lambda params, batch: batch,  # type: ignore[arg-type,return-value]
        objective_weights=objective_weights,
    )  # fmt: skip


def test_means_are_over_targets_and_not_over_batches() -> None:
    batches = [
        {"mlm": sums(6.0, 1.0, 2.0), "sbo": sums(8.0, 0.0, 1.0)},
        {"mlm": sums(6.0, 3.0, 6.0), "sbo": sums(4.0, 3.0, 3.0)},
    ]
    metrics = evaluate_sums(batches, BOTH)
    assert metrics == pytest.approx(
        {
            "held_out_loss": 1.5 + 0.5 * 3.0,
            "held_out_mlm_loss": 1.5,  # the mean of the batches' means is 2
            "held_out_mlm_accuracy": 0.5,
            "held_out_sbo_loss": 3.0,
            "held_out_sbo_accuracy": 0.75,
        }
    )
    assert all(type(value) is float for value in metrics.values())


def test_the_loss_of_a_model_without_span_boundary_head_is_its_language_model_loss() -> None:
    metrics = evaluate_sums([{"mlm": sums(6.0, 1.0, 2.0)}], BOTH)
    assert metrics["held_out_loss"] == 3.0
    assert "held_out_sbo_loss" not in metrics


def test_small_batches_add_up_to_one_big_batch(make_batch: Any) -> None:
    batch: PretrainBatch = make_batch(0)
    table = jnp.asarray(np.random.default_rng(0).normal(size=(16, 50)), jnp.float32)

    @jax.jit
    def eval_step(params: Any, batch: PretrainBatch) -> Sums:
        logits, targets = params["table"][batch.masked_positions], batch.masked_ids
        return {
            "mlm": cross_entropy(logits, target_ids=targets, weights=batch.masked_weights),
            "sbo": cross_entropy(-logits, target_ids=targets, weights=batch.boundary_weights),
        }

    def rows(start: int, stop: int) -> PretrainBatch:
        return jax.tree.map(lambda field: jnp.asarray(field[start:stop]), batch)

    def mean(*parts: PretrainBatch) -> dict[str, float]:
        return evaluate({"table": table}, parts, eval_step=eval_step, objective_weights=BOTH)

    whole = mean(rows(0, 8))
    assert mean(rows(0, 4), rows(4, 8)) == pytest.approx(whole, rel=1e-5)
    assert mean(rows(0, 4)) != pytest.approx(whole, rel=1e-2)
