"""What each kind of task can be told, as frozen dataclasses; standard library only."""

from spanbert_jax.config.tasks.question_answering import (
    MrqaConfig,
    QuestionAnsweringConfig,
    SquadConfig,
)
from spanbert_jax.config.tasks.task import TaskConfig, task_config_of

__all__ = [
    "MrqaConfig",
    "QuestionAnsweringConfig",
    "SquadConfig",
    "TaskConfig",
    "task_config_of",
]
