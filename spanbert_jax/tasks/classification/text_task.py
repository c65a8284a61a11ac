"""What every classification of texts is: rows of texts, a pooled head, answers and their scores."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from spanbert_jax.config import ModelConfig
from spanbert_jax.corpus.tokenizers import Tokenizer
from spanbert_jax.data.batch import TaskBatch, TaskRow
from spanbert_jax.errors import UserError
from spanbert_jax.model.losses import WeightedSums
from spanbert_jax.model.task_heads import PooledHead
from spanbert_jax.tasks.classification.answers import labels_of, read_id, read_text
from spanbert_jax.tasks.classification.examples import (
    TextExample,
    check_labels,
)
from spanbert_jax.tasks.classification.kinds import (
    Kind,
    Prediction,
)
from spanbert_jax.tasks.classification.prediction_files import (
    predictions_table,
    read_predictions_table,
)
from spanbert_jax.tasks.classification.rows import text_rows
from spanbert_jax.tasks.task import Outputs, Settings, Tables, Task, Verdict


class TextTask(Task[TextExample]):
    """A classification of texts; a subclass says what kind it is, and reads."""

    verb = "classify"
    example_fields = ("text", "text_pair", "id")
    kind: Kind
    is_pair: bool
    separator = ","
    fixed_labels: tuple[str, ...] = ()

    def tables(self, train: Sequence[TextExample], tokenizer: Tokenizer) -> Tables:
        """Labels in the order of the head's outputs, and how much each counts in the loss."""
        if not self.kind.has_labels:
            return {"labels": [], "class_weights": []}
        found = {label for example in train for label in labels_of(known_answer(example))}
        if len(found) < (1 if self.kind.per_label else 2):
            raise UserError(
                f"--task.train {self.config.train}: must hold examples of several labels, found "
                f"{', '.join(map(repr, found)) or 'none'}; add some, or name another label column"
            )
        labels = list(self.fixed_labels or sorted(found))
        return {"labels": labels, "class_weights": self._class_weights(train, labels)}

    def _class_weights(self, train: Sequence[TextExample], labels: list[str]) -> list[float]:
        return [1.0] * len(labels)

    def rows(
        self,
        examples: Sequence[TextExample],
        *,
        tokenizer: Tokenizer,
        tables: Tables,
        training: bool,
    ) -> Iterator[TaskRow]:
        """One row an example: [CLS] text [SEP], and its second text and [SEP]."""
        if self.kind.has_labels:
            check_labels(examples, tables["labels"])
        rows = text_rows(
            [example.text for example in examples],
            [example.text_pair for example in examples],
            tokenizer=tokenizer,
            max_length=self.config.max_length,
        )
        for number, (row, example) in enumerate(zip(rows, examples, strict=True)):
            fields: dict[str, Any] = {}
            if training:
                fields["target"] = self.kind.target(known_answer(example), tables["labels"])
            yield TaskRow(row.token_ids, row.segment_ids, number, fields, notes=row.is_cut)

    def remarks(self, rows: Sequence[TaskRow], *, tables: Tables) -> tuple[str, ...]:
        """Of texts that were cut off."""
        cut = sum(bool(row.notes) for row in rows)
        length = self.config.max_length
        what = f"rows lost the end of their text, cut at --task.max-length {length}"
        return (f"{cut} {what}",) if cut else ()

    def is_answered(self, example: TextExample) -> bool:
        return example.answer is not None

    def head(self, model: ModelConfig, tables: Tables, dtype: Any) -> nn.Module:
        return PooledHead(model, dtype, num_classes=self.kind.num_outputs(tables["labels"]))

    def loss(self, outputs: dict[str, jax.Array], batch: TaskBatch, tables: Tables) -> WeightedSums:
        return self.kind.loss(
            outputs["logits"],
            targets=batch.fields["target"],
            row_weights=batch.row_weights,
            class_weights=tables["class_weights"],
        )

    def judge(
        self,
        examples: Sequence[TextExample],
        rows: Sequence[TaskRow],
        outputs: Sequence[Outputs],
        *,
        tables: Tables,
        settings: Settings | None = None,
    ) -> Verdict:
        labels = tables["labels"]
        predictions = [self.kind.predict(np.asarray(out["logits"]), labels) for out in outputs]
        return Verdict(predictions, self.score(examples, predictions, labels), {})

    def score(
        self,
        examples: Sequence[TextExample],
        predictions: Sequence[Prediction],
        labels: Sequence[str],
    ) -> dict[str, float]:
        """Scores in percent over the examples whose answer is known; {} where none is."""
        known = [
            (example, prediction)
            for example, prediction in zip(examples, predictions, strict=True)
            if example.answer is not None
        ]
        if not known:
            return {}
        scores = self.known_scores(
            [example for example, _ in known], [prediction for _, prediction in known], labels
        )
        return {name: 100.0 * value for name, value in scores.items()}

    def known_scores(
        self,
        examples: Sequence[TextExample],
        predictions: Sequence[Prediction],
        labels: Sequence[str],
    ) -> dict[str, float]:
        """Scores between -1 and 1."""
        answers = [example.answer for example in examples]
        return self.kind.scores(answers, [prediction.answer for prediction in predictions], labels)

    def prediction_files(
        self, examples: Sequence[TextExample], verdict: Verdict, *, tables: Tables
    ) -> dict[str, str]:
        table = predictions_table(
            examples, verdict.predictions, labels=tables["labels"], separator=self.separator
        )
        return {"predictions.tsv": table}

    def read_predictions(
        self, path: str, examples: Sequence[TextExample], *, tables: Tables | None = None
    ) -> Verdict:
        """Read predictions.tsv and score it."""
        answers = read_predictions_table(path, examples, kind=self.kind, labels=self.fixed_labels)
        given = [example.answer for example in examples if example.answer is not None]
        labels = self.fixed_labels or sorted(
            {label for answer in (*answers, *given) for label in labels_of(answer)}
        )
        predictions = [Prediction(answer) for answer in answers]
        return Verdict(predictions, self.score(examples, predictions, labels), {})

    def example(self, fields: Mapping[str, Any]) -> TextExample:
        """Of {"text": ...}, of pairs {"text": ..., "text_pair": ...}; "id" may stand beside."""
        needed = ("text", "text_pair") if self.is_pair else ("text",)
        if not set(needed) <= fields.keys() <= {*needed, "id"}:
            raise UserError(
                f"an example must have {' and '.join(needed)}, and may have id; found "
                f"{', '.join(fields) or 'nothing'}; name its fields so"
            )
        texts = [read_text(fields[name], column=name, where="example") for name in needed]
        name = read_id(fields["id"], where="example") if "id" in fields else ""
        return TextExample(texts[0], texts[1] if self.is_pair else None, id=name)

    def described(
        self, examples: Sequence[TextExample], verdict: Verdict, *, tables: Tables
    ) -> list[dict[str, Any]]:
        return [
            _described(example, prediction, tables["labels"])
            for example, prediction in zip(examples, verdict.predictions, strict=True)
        ]


def known_answer(example: TextExample) -> Any:
    assert example.answer is not None, "examples without an answer are not trained on"
    return example.answer


def _described(
    example: TextExample, prediction: Prediction, labels: Sequence[str]
) -> dict[str, Any]:
    """A prediction as a JSON object."""
    described: dict[str, Any] = {"id": example.id} if example.id else {}
    described["text"] = example.text
    if example.text_pair is not None:
        described["text_pair"] = example.text_pair
    probabilities = dict(zip(labels, prediction.probabilities, strict=True))
    match prediction.answer:
        case float():
            return described | {"score": prediction.answer}
        case tuple():
            return described | {"labels": list(prediction.answer), "probabilities": probabilities}
        case label:
            return described | {
                "label": label, "probability": probabilities[label],
                "probabilities": probabilities,
            }  # fmt: skip
