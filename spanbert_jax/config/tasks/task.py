"""What every task is told: where its data lie, and how long its rows may be."""

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

from spanbert_jax.errors import UserError, require

_KNOWN: dict[str, type["TaskConfig"]] = {}


@dataclass(frozen=True)
class TaskConfig:
    """What every task is told. A task of its own is a subclass, with a name and a definition."""

    name: ClassVar[str] = ""
    """By which a checkpoint remembers its task."""
    definition: ClassVar[Any] = None
    """The `tasks.task.Task` that this is the config of: the class itself, or "module:Class", which
    is imported when it is needed. A config file imports neither numpy nor jax for it."""

    fixed: ClassVar[tuple[str, ...]] = ()
    """Fields that a fine-tuned model depends on: whoever asks it cannot change them."""
    beside_dev: ClassVar[tuple[str, ...]] = ()
    """Fields that name files read with `dev`: whoever asks about another file means that alone."""
    part_of_dev: ClassVar[tuple[str, ...]] = ()
    """Fields that say which part of `dev` is read: with another one it is another data set."""

    train: str = ""
    """What is trained on: a file (local or gs://), in the form that the task reads."""
    dev: str = ""
    """What checkpoints are compared on, in the same form."""
    max_length: int = 128
    """Tokens of a row, special ones included; what is longer is cut, or read in windows."""

    def __str__(self) -> str:
        return self.name

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if cls.name:
            _KNOWN[cls.name] = cls

    def __post_init__(self) -> None:
        require(
            self.max_length >= 8, "--task.max-length", self.max_length,
            "must be at least 8", "use 128, as the paper for sentences, or 512 for questions",
        )  # fmt: skip

    @property
    def files(self) -> dict[str, str]:
        """What must be there before weights are read: paths by their flags."""
        return {"--task.train": self.train, "--task.dev": self.dev}


def task_config_of(name: str) -> type[TaskConfig]:
    """The config class of a task by the name that a checkpoint remembers.

    Raises:
        UserError: no task of that name is known.
    """
    if name not in _KNOWN:
        raise UserError(
            f"task {name}: must be one of {', '.join(sorted(_KNOWN))}, or be defined by the file "
            "that --task-file names"
        )
    return _KNOWN[name]


def of_another_dev(trained: TaskConfig) -> TaskConfig:
    """A checkpoint's task for whoever names a file of his own, without those read beside the old
    one.
    """
    defaults: dict[str, Any] = {field.name: field.default for field in dataclasses.fields(trained)}
    return dataclasses.replace(trained, **{name: defaults[name] for name in trained.beside_dev})


def check_fixed(trained: TaskConfig, asked: TaskConfig) -> None:
    """Raise `UserError` where a task differs from a checkpoint's in what the model depends on.

    Of kind single_label and regression
    -> "--task.kind regression: must be as the checkpoint was trained, with single_label; ..."
    """
    for name in trained.fixed:
        old, new = getattr(trained, name, None), getattr(asked, name, None)
        require(
            old == new, f"--task.{name.replace('_', '-')}", _typed(new),
            f"must be as the checkpoint was trained, with {_typed(old)}", "leave it out",
        )  # fmt: skip


def _typed(value: object) -> str:
    return " ".join(map(str, value)) or "none" if isinstance(value, tuple) else str(value)
