"""What each kind of task can be told, as frozen dataclasses; standard library only."""

from spanbert_jax.config.tasks.task import TaskConfig

__all__ = ["TaskConfig"]
