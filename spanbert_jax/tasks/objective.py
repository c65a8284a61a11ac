"""A model with the head of a task. In: a task, what it learnt, the encoder's config. Out: its
outputs and its loss, for train steps and for answers.
"""

from typing import Any

import jax

from spanbert_jax.config import ComputeConfig, ModelConfig
from spanbert_jax.data.batch import TaskBatch
from spanbert_jax.model.pretraining import compute_dtype
from spanbert_jax.model.task_model import TaskModel
from spanbert_jax.tasks.task import Tables, Task
from spanbert_jax.training.task_objective import TaskObjective


def objective_of(
    task: Task[Any], tables: Tables, model: ModelConfig, compute: ComputeConfig
) -> TaskObjective:
    """The model with the head of a task, and its loss."""
    head = task.head(model, tables, compute_dtype(compute))

    def loss(outputs: dict[str, jax.Array], batch: TaskBatch) -> Any:
        return task.loss(outputs, batch, tables)

    return TaskObjective(TaskModel(model, compute, head), loss, task.weight)
