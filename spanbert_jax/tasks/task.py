"""What fine-tuning needs to know of a task. In: files. Out: rows, a head, a loss, scores.

A task is a subclass of `Task`: it reads examples, turns them into rows of token ids, names a head
and a loss, and makes predictions and scores of what the head gave. Everything else (batches of like
length, devices, the train step, checkpoints, the choice of the best) is the same for every task.
"""

import hashlib
import importlib
import inspect
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from spanbert_jax.config import ModelConfig
from spanbert_jax.config.tasks import TaskConfig
from spanbert_jax.corpus.tokenizers import Tokenizer
from spanbert_jax.data.batch import TaskBatch, TaskRow
from spanbert_jax.errors import UserError
from spanbert_jax.model.losses import WeightedSums
from spanbert_jax.tasks.records import read_table

Example = TypeVar("Example")
Tables = dict[str, Any]
"""What a task learns from its training data and a checkpoint keeps: labels, marker tables."""
Settings = dict[str, Any]
"""What a task tunes on dev and applies at test time, such as {"null_threshold": -1.5}."""
Outputs = Mapping[str, np.ndarray]
"""What the head gave for one row, by name; padding is cut off where it was per token."""


class Dataset(NamedTuple, Generic[Example]):
    """The examples of a file, and what is to be said of it."""

    examples: Sequence[Example]
    notes: tuple[str, ...] = ()
    """What was repaired, or is left out, with counts: "12 answers are not in their context"."""


class Verdict(NamedTuple):
    """Predictions for all examples of a data set, and how good they are."""

    predictions: Any
    """Of the task's own form; one for each example."""
    scores: dict[str, float]
    """By name, in percent where the benchmark counts so. Empty where no answers are known."""
    settings: Settings
    """Those the predictions were made with."""


class Task(Generic[Example]):
    """One task: how its examples become rows, and what the model's outputs mean."""

    metric: str
    """Name of the score by which the best checkpoint is kept; higher is better."""
    per_token: ClassVar[frozenset[str]] = frozenset()
    """Fields of a row, and outputs of the head, whose first axis is the tokens of the row."""
    verb: ClassVar[str] = ""
    """What `spanbert predict` calls it: answer, classify, relation or tag."""

    example_fields: ClassVar[tuple[str, ...]] = ()
    """Names of all fields that `example` takes; none where it says so itself."""

    def __init__(self, config: Any) -> None:
        self.config = config

    @property
    def code_digest(self) -> str:
        """Of the file that defines the task, which may be its user's own."""
        return hashlib.sha256(Path(inspect.getfile(type(self))).read_bytes()).hexdigest()[:12]

    def read(self, path: str, *, training: bool) -> Dataset[Example]:
        """Read a file of examples: by default records of a table, as dicts by column.

        training: leave out what cannot be trained on, and count it in the notes; else keep
            every example, with or without a known answer.

        Raises:
            UserError: the file is malformed; names file, line or record, and the reason.
        """
        return Dataset([cast(Example, record.values) for record in read_table(path).records])

    def tables(self, train: Sequence[Example], tokenizer: Tokenizer) -> Tables:
        """What is fixed by the training data, as JSON can hold it: it is kept in the checkpoint.

        Raises:
            UserError: the training data cannot be learnt from, such as data of a single label.
        """
        return {}

    def rows(
        self,
        examples: Sequence[Example],
        *,
        tokenizer: Tokenizer,
        tables: Tables,
        training: bool,
    ) -> Iterable[TaskRow]:
        """Rows of the examples, in their order, one or several each; none is longer than
        `config.max_length`.

        training: the rows carry the fields that `loss` needs; else they need only those that the
            head reads.

        Raises:
            UserError: an example cannot be a row, such as one with a label unseen in training.
        """
        raise NotImplementedError

    def is_answered(self, example: Example) -> bool:
        """Whether the answer of an example is known; one such is needed to compare checkpoints."""
        return True

    def remarks(self, rows: Sequence[TaskRow], *, tables: Tables) -> tuple[str, ...]:
        """What is to be said of the rows of a data set, as `Dataset.notes` of its examples, where
        it took the tokenizer or the tables to find out: "3 rows lost an entity".

        A number that it begins with is how many there are; of rows that are made in chunks, the
        numbers of the same remark are added up."""
        return ()

    def head(self, model: ModelConfig, tables: Tables, dtype: Any) -> nn.Module:
        """The module behind the encoder, of model/task_heads.py or the task's own.

        It says in `uses_pooler` whether it reads the pooled state of [CLS], and is called with the
        hidden states (batch, length, embed), `pooled` (batch, embed) or None, `fields` (those of
        the rows, as arrays of a batch), `mask` (batch, length; True for tokens) and `seed` (of
        dropout; None drops nothing), and returns a dict of float32 arrays whose first axis is the
        batch.
        """
        raise NotImplementedError

    def loss(self, outputs: dict[str, jax.Array], batch: TaskBatch, tables: Tables) -> WeightedSums:
        """Sum of the loss over the targets of a batch; rows of weight 0 count nothing.

        Its weight is that of `weight`. Pure: traced by jit.
        """
        raise NotImplementedError

    def weight(self, batch: TaskBatch) -> jax.Array:
        """Number of targets in a batch, by which the sum of the loss is divided."""
        return jnp.sum(batch.row_weights).astype(jnp.float32)

    def judge(
        self,
        examples: Sequence[Example],
        rows: Sequence[TaskRow],
        outputs: Sequence[Outputs],
        *,
        tables: Tables,
        settings: Settings | None = None,
    ) -> Verdict:
        """Predictions and scores; `rows` and `outputs` run side by side.

        settings: those of a checkpoint; None tunes them on these examples.
        """
        raise NotImplementedError

    def prediction_files(
        self, examples: Sequence[Example], verdict: Verdict, *, tables: Tables
    ) -> dict[str, str]:
        """The predictions as the benchmark's own scorer reads them: contents by file name.

        A task without a form of its own has a JSON object a line, as `described` makes them.
        """
        described = self.described(examples, verdict, tables=tables)
        lines = (json.dumps(each, ensure_ascii=False) + "\n" for each in described)
        return {"predictions.jsonl": "".join(lines)}

    def submission_files(
        self, examples: Sequence[Example], verdict: Verdict, *, tables: Tables
    ) -> dict[str, str]:
        """The predictions as the benchmark's server takes them, where it has one."""
        raise UserError(f"--submission: task {self.config.name} has no submission format")

    def read_predictions(
        self, path: str, examples: Sequence[Example], *, tables: Tables | None = None
    ) -> Verdict:
        """Score predictions for `examples` that lie in a file of `prediction_files`.

        tables: of the checkpoint beside which they are scored, which may have more labels than the
            examples; None where there is none.

        Raises:
            UserError: the file is malformed, or is for other examples.
        """
        raise UserError(f"{path}: task {self.config.name} scores no files of predictions")

    def example(self, fields: Mapping[str, Any]) -> Example:
        """One example without an answer, of what a user gave `spanbert predict` as JSON.

        A task whose examples are dicts takes them as they are.

        Raises:
            UserError: a field is missing, unknown or of another kind.
        """
        return cast(Example, dict(fields))

    def described(
        self, examples: Sequence[Example], verdict: Verdict, *, tables: Tables
    ) -> list[dict[str, Any]]:
        """The predictions as JSON objects, one an example, for `spanbert predict`."""
        return [{"prediction": prediction} for prediction in verdict.predictions]


def load_task(config: TaskConfig) -> Task[Any]:
    """The task that `config` is the config of."""
    definition = config.definition
    if isinstance(definition, str):
        module, _, name = definition.partition(":")
        definition = getattr(importlib.import_module(module), name)
    if not (isinstance(definition, type) and issubclass(definition, Task)):
        raise UserError(
            f"task {config.name or type(config).__name__}: its config must name its `definition`, "
            f"a subclass of spanbert_jax.tasks.task.Task, found {definition!r}"
        )
    return definition(config)
