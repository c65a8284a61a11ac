"""What a model says of the rows of a task. In: rows, a compiled model. Out: its outputs by row."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import numpy as np

from spanbert_jax.data.batch import TaskBatch
from spanbert_jax.data.task_batches import Chosen, RowBatches
from spanbert_jax.tasks.task import Outputs, Task


def outputs_of(
    rows: RowBatches,
    task: Task[Any],
    *,
    batch_size: int,
    run: Callable[[TaskBatch], dict[str, jax.Array]],
) -> list[Outputs]:
    """The head's outputs for every row, in the order of the rows.

    run: starts the model on a batch of the host; the next batch is made ready meanwhile.
    """
    batches = [(chosen, batch_size) for chosen in rows.longest_first(batch_size=batch_size)]
    return outputs_of_batches(batches, rows, task, run=run)


def outputs_of_batches(
    batches: Iterable[tuple[Chosen, int]],
    rows: RowBatches,
    task: Task[Any],
    *,
    run: Callable[[TaskBatch], dict[str, jax.Array]],
) -> list[Outputs]:
    """As `outputs_of`.

    batches: of the rows, each of them in one, with the number of rows that it is filled up to.
    """
    outputs: list[Outputs] = [{} for _ in rows.rows]
    for chosen, values in _one_behind(
        (chosen, run(rows.batch(chosen, batch_size=batch_size))) for chosen, batch_size in batches
    ):
        host = jax.device_get(values)
        for i, number in enumerate(chosen.row_numbers):
            length = len(rows.rows[number].token_ids)
            outputs[number] = {
                name: np.array(array[i, :length] if name in task.per_token else array[i])
                for name, array in host.items()
            }
    return outputs


def _one_behind(items: Iterable[tuple[Chosen, Any]]) -> Iterator[tuple[Chosen, Any]]:
    """`items`, each when the next one is begun: devices compute while the host decodes."""
    waiting = None
    for item in items:
        if waiting is not None:
            yield waiting
        waiting = item
    if waiting is not None:
        yield waiting
