"""The data of a fine-tuning run. In: its task, its weights' tokenizer. Out: examples and rows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from spanbert_jax.config.tasks import TaskConfig
from spanbert_jax.corpus.files import as_path
from spanbert_jax.corpus.tokenizers import Tokenizer
from spanbert_jax.data.task_batches import RowBatches
from spanbert_jax.errors import UserError
from spanbert_jax.tasks.task import Tables, Task, load_task


@dataclass(frozen=True)
class TaskSplit:
    """Examples of one file, and their rows."""

    examples: Sequence[Any]
    rows: RowBatches


@dataclass(frozen=True)
class TaskData:
    """A task, what it learnt from its training data, and both splits."""

    task: Task[Any]
    tables: Tables
    train: TaskSplit
    dev: TaskSplit


def check_files(config: TaskConfig) -> None:
    """Raise `UserError` for a file that is not there, before weights are read."""
    for flag, path in (("--task.train", config.train), ("--task.dev", config.dev)):
        check_file(flag, path)


def check_file(flag: str, path: str) -> None:
    """Raise `UserError` for a file that is not there; what TFDS has is looked for later."""
    if not path:
        raise UserError(f"{flag} is missing; name a file of the form that the task reads")
    if not path.startswith("tfds:") and not as_path(path).exists():
        raise UserError(f"{flag} {path}: there is no such file; check the path")


def read_task_data(
    config: TaskConfig, *, tokenizer: Tokenizer, say: Callable[[str], None]
) -> TaskData:
    """Read both files and turn them into rows; what was left out is said.

    Raises:
        UserError: a file is malformed, or there is nothing to train on.
    """
    task = load_task(config)
    read = task.read(config.train, training=True)
    _tell(config.train, read.examples, read.notes, say)
    if not read.examples:
        raise UserError(
            f"--task.train {config.train}: must hold an example to train on, found none"
        )
    tables = task.tables(read.examples, tokenizer)
    train = split_of(task, read.examples, tokenizer=tokenizer, tables=tables, training=True)
    dev = read_split(config.dev, task, tokenizer=tokenizer, tables=tables, say=say)
    return TaskData(task, tables, train, dev)


def read_split(
    path: str,
    task: Task[Any],
    *,
    tokenizer: Tokenizer,
    tables: Tables,
    say: Callable[[str], None],
) -> TaskSplit:
    """Read a file that is not trained on: every example of it is kept."""
    read = task.read(path, training=False)
    _tell(path, read.examples, read.notes, say)
    if not read.examples:
        raise UserError(f"{path}: must hold an example, found none; name another file")
    return split_of(task, read.examples, tokenizer=tokenizer, tables=tables, training=False)


def split_of(
    task: Task[Any],
    examples: Sequence[Any],
    *,
    tokenizer: Tokenizer,
    tables: Tables,
    training: bool,
) -> TaskSplit:
    """Examples with their rows."""
    rows = list(task.rows(examples, tokenizer=tokenizer, tables=tables, training=training))
    batches = RowBatches(
        rows, max_length=task.config.max_length, per_token=task.per_token, pad_id=tokenizer.pad_id
    )
    return TaskSplit(examples, batches)


def _tell(
    path: str, examples: Sequence[Any], notes: Sequence[str], say: Callable[[str], None]
) -> None:
    say(f"{path}: {len(examples):,} examples" + "".join(f"\n  {note}" for note in notes))
