"""Evaluation on held-out documents. In: parameters and batches. Out: mean losses and accuracies."""

from collections.abc import Callable, Iterable

import jax
import jax.numpy as jnp

from spanbert_jax.data.batch import PretrainBatch
from spanbert_jax.training.objective import Params, Sums, mean_metrics


def evaluate(
    params: Params,
    batches: Iterable[PretrainBatch],
    *,
    eval_step: Callable[[Params, PretrainBatch], Sums],
    objective_weights: dict[str, float],
) -> dict[str, float]:
    """Mean over all targets of all batches, under names that begin with `held_out_`.

    `held_out_loss`, by which the best checkpoint is chosen, is their weighted sum.
    """
    total: Sums | None = None
    for batch in batches:
        sums = eval_step(params, batch)
        total = sums if total is None else jax.tree.map(jnp.add, total, sums)
    assert total is not None, "the pipeline promises at least one held-out batch"
    metrics = {name: float(value) for name, value in mean_metrics(total).items()}
    loss = sum(
        weight * metrics.get(f"{name}_loss", 0.0) for name, weight in objective_weights.items()
    )
    return {f"held_out_{name}": value for name, value in {"loss": loss, **metrics}.items()}
