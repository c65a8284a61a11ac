"""What each kind of task can be told, as frozen dataclasses; standard library only."""

from spanbert_jax.config.tasks.classification import GlueConfig, TextClassificationConfig
from spanbert_jax.config.tasks.question_answering import (
    MrqaConfig,
    QuestionAnsweringConfig,
    SquadConfig,
)
from spanbert_jax.config.tasks.relation import RelationConfig, SemEvalConfig, TacredConfig
from spanbert_jax.config.tasks.tagging import TaggingConfig
from spanbert_jax.config.tasks.task import (
    TaskConfig,
    check_fixed,
    of_another_dev,
    task_config_of,
)

__all__ = [
    "GlueConfig",
    "MrqaConfig",
    "QuestionAnsweringConfig",
    "RelationConfig",
    "SemEvalConfig",
    "SquadConfig",
    "TacredConfig",
    "TaggingConfig",
    "TaskConfig",
    "TextClassificationConfig",
    "check_fixed",
    "of_another_dev",
    "task_config_of",
]
