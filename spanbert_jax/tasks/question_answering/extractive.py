"""What all tasks of question answering share: windows as rows, a head for spans, answers.

In: questions. Out: rows, the loss, predictions in the official files. How a file is read, and how
answers are scored, is for squad.py and mrqa.py to say.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from spanbert_jax.config import ModelConfig
from spanbert_jax.config.tasks import QuestionAnsweringConfig
from spanbert_jax.corpus.tokenizers import Tokenizer
from spanbert_jax.data.batch import TaskBatch, TaskRow
from spanbert_jax.errors import UserError
from spanbert_jax.model.losses import WeightedSums, target_losses
from spanbert_jax.model.task_heads import SpanHead
from spanbert_jax.tasks.question_answering.answer_text import texts_of
from spanbert_jax.tasks.question_answering.contexts import encode_questions
from spanbert_jax.tasks.question_answering.decoding import Prediction, Scores, predict
from spanbert_jax.tasks.question_answering.prediction_files import (
    as_json,
    described,
    given,
    n_best_json,
    read_predictions,
)
from spanbert_jax.tasks.question_answering.question import Question
from spanbert_jax.tasks.question_answering.windows import Trained, question_room, rows_of
from spanbert_jax.tasks.task import Outputs, Settings, Tables, Task, Verdict

_FIELDS = ("question", "context", "id")


class ExtractiveTask(Task[Question]):
    """Answers are spans of the context. Subclasses say how files are read and answers scored."""

    metric = "f1"
    per_token = frozenset({"start", "end"})
    verb = "answer"
    example_fields = _FIELDS

    config: QuestionAnsweringConfig

    @property
    def with_null(self) -> bool:
        """Whether no answer is an answer."""
        return False

    def tables(self, train: Sequence[Question], tokenizer: Tokenizer) -> Tables:
        """Nothing is learnt; refuses a tokenizer whose answers could not be put into words."""
        texts_of(self.config).check(tokenizer)
        return {}

    def rows(
        self,
        examples: Sequence[Question],
        *,
        tokenizer: Tokenizer,
        tables: Tables,
        training: bool,
    ) -> Iterator[TaskRow]:
        for encoded in encode_questions(examples, tokenizer):
            yield from rows_of(encoded, config=self.config, tokenizer=tokenizer, training=training)

    def remarks(self, rows: Sequence[TaskRow], *, tables: Tables) -> tuple[str, ...]:
        """Of questions that were cut off, and of answers that are trained on in no window."""
        cut = {row.example for row in rows if row.notes.question_cut}
        answered = {
            row.example for row in rows if isinstance(row.notes, Trained) and row.notes.has_answer
        }
        lost = answered - {row.example for row in rows if row.fields.get("answer_end")}
        room = question_room(self.config)
        remarks = (
            (cut, f"longer than {room} tokens; the rest is cut off"),
            (lost, "no window holds all of their answer; trained on as if without one"),
        )
        return tuple(f"{len(found):,} of the questions: {what}" for found, what in remarks if found)

    def is_answered(self, example: Question) -> bool:
        return example.known

    def head(self, model: ModelConfig, tables: Tables, dtype: Any) -> nn.Module:
        return SpanHead(model, dtype)

    def loss(self, outputs: dict[str, jax.Array], batch: TaskBatch, tables: Tables) -> WeightedSums:
        """Half the cross-entropy of the start and half that of the end, of each row; a row is right
        where both are.
        """
        start, end = (jnp.asarray(batch.fields[f"answer_{edge}"]) for edge in ("start", "end"))
        # Padding has scores so low that it counts nothing.
        of_start, of_end = (
            target_losses(outputs["start"], start),
            target_losses(outputs["end"], end),
        )
        losses = (of_start.nats + of_end.nats) / 2
        right = (jnp.argmax(outputs["start"], -1) == start) & (
            jnp.argmax(outputs["end"], -1) == end
        )
        weights = batch.row_weights.astype(jnp.float32)
        return WeightedSums(jnp.sum(losses * weights), jnp.sum(right * weights), jnp.sum(weights))

    def predictions(
        self, examples: Sequence[Question], rows: Sequence[TaskRow], outputs: Sequence[Outputs]
    ) -> list[Prediction]:
        """The best answers to each question, before any threshold."""
        texts = texts_of(self.config)
        found: list[Prediction] = []
        side_by_side = zip(rows, outputs, strict=True)
        for example, group in groupby(side_by_side, key=lambda pair: pair[0].example):
            assert example == len(found), "rows are in the order of their examples"
            windows, scores = [], []
            for row, output in group:
                windows.append(row.notes)
                scores.append(_scores(output))
            found.append(
                predict(windows, scores, config=self.config, texts=texts, with_null=self.with_null)
            )
        assert len(found) == len(examples)
        return found

    def judge(
        self,
        examples: Sequence[Question],
        rows: Sequence[TaskRow],
        outputs: Sequence[Outputs],
        *,
        tables: Tables,
        settings: Settings | None = None,
    ) -> Verdict:
        predictions = self.predictions(examples, rows, outputs)
        return self.verdict(examples, predictions, settings)

    def verdict(
        self,
        examples: Sequence[Question],
        predictions: Sequence[Prediction],
        settings: Settings | None,
    ) -> Verdict:
        """Score predictions, and tune and apply what is to be tuned."""
        raise NotImplementedError

    def read_predictions(
        self, path: str, examples: Sequence[Question], *, tables: Tables | None = None
    ) -> Verdict:
        """The answers of a predictions.json to the same questions, and their scores.

        Raises:
            UserError: the file is malformed, or answers other questions.
        """
        texts = read_predictions(path, [example.id for example in examples])
        return self.verdict(examples, [given(text) for text in texts], None)

    def prediction_files(
        self, examples: Sequence[Question], verdict: Verdict, *, tables: Tables
    ) -> dict[str, str]:
        """predictions.json, and what lies behind it: the files of the released code."""
        ids = [example.id for example in examples]
        predictions: list[Prediction] = verdict.predictions
        pairs = list(zip(ids, predictions, strict=True))
        files = {
            "predictions.json": as_json({key: each.text for key, each in pairs}),
            "nbest_predictions.json": as_json({key: n_best_json(each) for key, each in pairs}),
        }
        if self.with_null:
            files["null_odds.json"] = as_json({key: each.null_odds for key, each in pairs})
        return files

    def example(self, fields: Mapping[str, Any]) -> Question:
        unknown = [name for name in fields if name not in _FIELDS]
        missing = [name for name in _FIELDS[:2] if name not in fields]
        if unknown or missing:
            raise UserError(
                "a question must have the fields 'question', 'context' and, if you like, 'id', "
                f"found {', '.join(map(repr, fields)) or 'none'}"
                + (f"; add {', '.join(map(repr, missing))}" if missing else "")
                + (f"; remove {', '.join(map(repr, unknown))}" if unknown else "")
            )
        for name in _FIELDS[:2]:
            if not isinstance(fields[name], str):
                raise UserError(f"field {name!r}: must be text, found {fields[name]!r:.60}")
        return Question(str(fields.get("id", "")), fields["question"], fields["context"])

    def described(
        self, examples: Sequence[Question], verdict: Verdict, *, tables: Tables
    ) -> list[dict[str, Any]]:
        return [
            described(example, prediction)
            for example, prediction in zip(examples, verdict.predictions, strict=True)
        ]


def _scores(output: Outputs) -> tuple[Scores, Scores]:
    return output["start"], output["end"]
