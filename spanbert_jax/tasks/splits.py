"""A file of a task, read and made into rows, and what a model says of it. In: a path. Out: examples
with their rows; predictions and scores.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import numpy as np

from spanbert_jax.corpus.tokenizers import Tokenizer
from spanbert_jax.data.batch import TaskBatch
from spanbert_jax.data.task_batches import RowBatches
from spanbert_jax.errors import UserError
from spanbert_jax.tasks.outputs import outputs_of
from spanbert_jax.tasks.task import Settings, Tables, Task, Verdict


@dataclass(frozen=True)
class TaskSplit:
    """Examples of one file, and their rows."""

    examples: Sequence[Any]
    rows: RowBatches

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over rows and examples: rows that are not trained on have no answers."""
        digest = hashlib.sha256(self.rows.fingerprint.encode())
        for example in self.examples:
            digest.update(json.dumps(example, default=_as_json, skipkeys=True).encode())
        return digest.hexdigest()


def _as_json(value: Any) -> Any:
    """What of an example is no JSON, told the same by every process."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, set | frozenset):
        return sorted(map(repr, value))
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    # Of a task's own kind: its text may name an address in memory, which is another each time.
    return type(value).__name__


@dataclass(frozen=True)
class TaskData:
    """A task, what it learnt from its training data, and both splits."""

    task: Task[Any]
    tables: Tables
    train: TaskSplit
    dev: TaskSplit

    @property
    def fingerprints(self) -> dict[str, str]:
        """By split: what is trained on, and what checkpoints are compared on."""
        return {"train": self.train.rows.fingerprint, "dev": self.dev.fingerprint}


def read_task_data(
    task: Task[Any], *, tokenizer: Tokenizer, say: Callable[[str], None]
) -> TaskData:
    """Read both files of the task and turn them into rows; what was left out is said.

    Raises:
        UserError: a file is malformed, or there is nothing to train on, or to compare by.
    """
    path = task.config.train
    read = task.read(path, training=True)
    _tell(path, read.examples, read.notes, say)
    if not read.examples:
        raise UserError(
            f"--task.train {path}: must hold an example to train on, found none; name another file"
        )
    tables = task.tables(read.examples, tokenizer)
    train = split_of(read.examples, task, tokenizer=tokenizer, tables=tables, training=True)
    if not train.rows.rows:
        raise UserError(
            f"--task.train {path}: its examples must make rows to train on, found none of "
            f"{len(read.examples):,} that does; raise --task.max-length {task.config.max_length}, "
            "or mend what the task leaves out"
        )
    _remark(path, task.remarks(train.rows.rows, tables=tables), say)
    dev = read_split(task.config.dev, task, tokenizer=tokenizer, tables=tables, say=say)
    if not any(map(task.is_answered, dev.examples)):
        raise UserError(
            f"--task.dev {task.config.dev}: must hold known answers, by which the best checkpoint "
            f"is chosen, found none in {len(dev.examples):,} examples; name another file"
        )
    return TaskData(task, tables, train, dev)


def read_split(
    path: str,
    task: Task[Any],
    *,
    tokenizer: Tokenizer,
    tables: Tables,
    say: Callable[[str], None],
) -> TaskSplit:
    """Read a file that is not trained on, and turn it into rows.

    Raises:
        UserError: it is malformed, or empty.
    """
    examples = read_examples(path, task, say=say)
    split = split_of(examples, task, tokenizer=tokenizer, tables=tables, training=False)
    _remark(path, task.remarks(split.rows.rows, tables=tables), say)
    return split


def read_examples(path: str, task: Task[Any], *, say: Callable[[str], None]) -> Sequence[Any]:
    """Read a file that is not trained on: every example of it is kept.

    Raises:
        UserError: it is malformed, or empty.
    """
    read = task.read(path, training=False)
    _tell(path, read.examples, read.notes, say)
    if not read.examples:
        raise UserError(f"{path}: must hold an example, found none; name another file")
    return read.examples


def split_of(
    examples: Sequence[Any],
    task: Task[Any],
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


def judge(
    split: TaskSplit,
    task: Task[Any],
    *,
    tables: Tables,
    settings: Settings | None,
    batch_size: int,
    run: Callable[[TaskBatch], dict[str, jax.Array]],
) -> Verdict:
    """Predictions for a split, and scores where answers are known.

    settings: those of a checkpoint; None tunes them on this split. run: starts the model on a batch
        of the host.
    """
    outputs = outputs_of(split.rows, task, batch_size=batch_size, run=run)
    rows = split.rows.rows
    return task.judge(split.examples, rows, outputs, tables=tables, settings=settings)


def _tell(
    path: str, examples: Sequence[Any], notes: Sequence[str], say: Callable[[str], None]
) -> None:
    """-> "train.json: 3,083 examples", and a line for every note."""
    say("\n  ".join((f"{path}: {len(examples):,} examples", *notes)))


def _remark(path: str, remarks: Sequence[str], say: Callable[[str], None]) -> None:
    if remarks:
        say("\n  ".join((f"{path}: of its rows", *remarks)))
