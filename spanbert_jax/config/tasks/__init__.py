"""What each kind of task can be told, as frozen dataclasses; standard library only."""

from spanbert_jax.config.tasks.classification import GlueConfig, TextClassificationConfig
from spanbert_jax.config.tasks.question_answering import (
    MrqaConfig,
    QuestionAnsweringConfig,
    SquadConfig,
)
from spanbert_jax.config.tasks.task import TaskConfig, task_config_of

__all__ = [
    "GlueConfig",
    "MrqaConfig",
    "QuestionAnsweringConfig",
    "SquadConfig",
    "TaskConfig",
    "TextClassificationConfig",
    "task_config_of",
]
