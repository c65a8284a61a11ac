"""A fine-tuned model at hand. In: examples as dicts, or a file of its task. Out: predictions as
dicts, or with scores.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import flax.errors
import jax
import numpy as np

from spanbert_jax.config import ComputeConfig, ModelConfig
from spanbert_jax.config.files import nearest
from spanbert_jax.corpus.tokenizers import Tokenizer
from spanbert_jax.data.batch import TaskBatch
from spanbert_jax.errors import UserError, reworded
from spanbert_jax.inference.verbs import Fields, Verbs, check_verb, is_one
from spanbert_jax.tasks.objective import objective_of
from spanbert_jax.tasks.outputs import outputs_of_batches
from spanbert_jax.tasks.splits import TaskSplit, read_split, split_of
from spanbert_jax.tasks.task import Settings, Tables, Task, Verdict
from spanbert_jax.weights.loaded_model import BATCH_TOKENS, Encoded, LoadedModel
from spanbert_jax.weights.loading import Pretrained, at_hand

Watch = Callable[[int, int], None]
"""Told how many rows are begun, and of how many."""


class RefusedExample(UserError):
    """One of several examples cannot be asked."""

    def __init__(self, message: str, number: int = 0) -> None:
        super().__init__(message)
        self.number = number
        """Which one it is, from 0."""


@dataclass(frozen=True)
class FineTunedModel(Verbs):
    """A task, and the model that learnt it.

    model = spanbert_jax.load("runs/squad2")
    model.answer("Where was Ada born?", "Ada was born in London.")["answer"] -> "London"
    """

    task: Task[Any]
    config: ModelConfig
    params: Any
    """Nested dicts of float32 arrays; layers separate (`layer_0` and on)."""
    tokenizer: Tokenizer
    tables: Tables
    """What the task learnt from its training data."""
    settings: Settings
    """What was tuned on dev."""
    step: int
    """Of the checkpoint."""
    dtype: Literal["float32", "bfloat16", "auto"] = "float32"
    """Of matrix products: float32, bfloat16, or auto for what the device is good at."""
    batch_tokens: int = BATCH_TOKENS
    """Tokens of a batch, padding included."""

    def predict(
        self, examples: Iterable[Mapping[str, Any]], *, top: int | None = None
    ) -> list[Fields]:
        """Predictions for examples, as JSON has both; see `Verbs` for what they are.

        top: candidates and labels of each that are given; None for all.

        Raises:
            UserError: an example has other fields than the task takes; names which one it is.
        """
        read = []
        for number, fields in enumerate(examples):
            with reworded(lambda message, n=number: f"example {n}: {message}"):  # type: ignore[misc]
                read.append(self.example(fields))
        try:
            return self.described(read, top=top)
        except RefusedExample as error:
            raise UserError(f"example {error.number}: {error}") from error

    def example(self, fields: Mapping[str, Any]) -> Any:
        """An example of the task, of what JSON has."""
        known = self.task.example_fields
        for name in fields:
            if known and name not in known:
                close = nearest(str(name), list(known))
                raise UserError(
                    f"field {name!r} is none of {', '.join(known)}; "
                    + (f"the nearest one is {close}" if close else "leave it out")
                )
        return self.task.example(fields)

    def described(
        self,
        examples: Sequence[Any],
        *,
        top: int | None = None,
        remark: Callable[[Sequence[str]], None] = lambda _: None,
    ) -> list[Fields]:
        """Predictions for examples of the task.

        remark: takes what is to be said of their rows, such as how many were cut.

        Raises:
            RefusedExample: one of them cannot be a row; says which.
        """
        if not examples:
            return []
        split = self._split(examples)
        remark(self.task.remarks(split.rows.rows, tables=self.tables))
        described = self.task.described(examples, self.judge(split), tables=self.tables)
        return [shortened(each, top) for each in described]

    def read(self, path: str, *, say: Callable[[str], None] = lambda _: None) -> TaskSplit:
        """A file of the task, read and made into rows. say: takes what is to be said of it."""
        return read_split(path, self.task, tokenizer=self.tokenizer, tables=self.tables, say=say)

    def judge(
        self, split: TaskSplit, *, tune: bool = False, watch: Watch = lambda *_: None
    ) -> Verdict:
        """Predictions for all examples of a split, and scores where answers are known.

        tune: what was tuned on dev is tuned anew on this split.
        """
        rows, begun = split.rows.rows, 0

        def run(batch: TaskBatch) -> dict[str, jax.Array]:
            nonlocal begun
            begun += int(np.sum(batch.row_weights))
            watch(begun, len(rows))
            return self._outputs(batch)

        batches = split.rows.by_tokens(self.batch_tokens)
        outputs = outputs_of_batches(batches, split.rows, self.task, run=run)
        settings = None if tune else self.settings
        return self.task.judge(split.examples, rows, outputs, tables=self.tables, settings=settings)

    @property
    def encoder(self) -> LoadedModel:
        """The model without the head of its task."""
        return self._encoder

    def encode(self, texts: str | Sequence[str], **options: Any) -> Encoded:
        """Hidden states of every token of every text; see `LoadedModel.encode`."""
        return self.encoder.encode(texts, **options)

    def _ask(self, verb: str, examples: Fields | Sequence[Fields]) -> Any:
        check_verb(verb, own=self.task.verb, found=f"one of the task {self.task.config.name}")
        if is_one(examples):
            return self.described([self.example(examples)])[0]  # type: ignore[arg-type]
        return self.predict(examples)  # type: ignore[arg-type]

    def _split(self, examples: Sequence[Any]) -> TaskSplit:
        try:
            return self._rows(examples)
        except UserError as error:
            # A task makes the rows of all at once, and need not say whose it could not make.
            low, high = 0, len(examples)
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (low, middle) if self._refusal(examples[low:middle]) else (middle, high)
            refusal = self._refusal(examples[low:high])
            if refusal is None:
                raise
            raise RefusedExample(str(refusal), low) from error

    def _rows(self, examples: Sequence[Any]) -> TaskSplit:
        return split_of(
            examples, self.task, tokenizer=self.tokenizer, tables=self.tables, training=False
        )

    def _refusal(self, examples: Sequence[Any]) -> UserError | None:
        """Why some examples cannot be rows; None where they can."""
        try:
            self._rows(examples)
        except UserError as error:
            return error
        return None

    def _outputs(self, batch: TaskBatch) -> dict[str, jax.Array]:
        try:
            return self._forward(self.params, batch)
        except flax.errors.FlaxError as error:
            raise UserError(
                f"task {self.task.config.name}: its head must have the parameters of the "
                f"checkpoint, found others ({error}); ask with the task as it was trained"
            ) from error

    @cached_property
    def _encoder(self) -> LoadedModel:
        parts = {name: self.params[name] for name in ("encoder", "pooler") if name in self.params}
        # A task may have brought a pooler to a model without one.
        model = dataclasses.replace(self.config, pooler="pooler" in parts)
        return at_hand(Pretrained(model, parts, self.tokenizer), dtype=self.dtype)

    @cached_property
    def _forward(self) -> Any:
        """The compiled model: outputs of the head."""
        compute = ComputeConfig(dtype=self.dtype)
        return jax.jit(objective_of(self.task, self.tables, self.config, compute).outputs)


def shortened(described: Fields, top: int | None) -> Fields:
    """The `top` best candidates of each kind.

    {"label": "a", "probabilities": {"a": 0.5, "b": 0.2, "c": 0.3}}, 2
    -> {"label": "a", "probabilities": {"a": 0.5, "c": 0.3}}
    """
    short = dict(described)
    if isinstance(odds := described.get("probabilities"), dict):
        best = sorted(odds.items(), key=lambda item: -item[1])
        short["probabilities"] = dict(best[:top])
    if isinstance(candidates := described.get("n_best"), list):
        short["n_best"] = candidates[:top]
    return short
