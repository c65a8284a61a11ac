"""The nine tasks of GLUE: official files in, official scores and submission files out."""

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from spanbert_jax.config.tasks import GlueConfig
from spanbert_jax.corpus.documents import Reading
from spanbert_jax.corpus.paths import read_lines
from spanbert_jax.errors import UserError
from spanbert_jax.tasks.classification import metrics
from spanbert_jax.tasks.classification.answers import Answer
from spanbert_jax.tasks.classification.examples import Layout, TextExample, examples_of
from spanbert_jax.tasks.classification.glue_formats import (
    DIAGNOSTIC,
    GLUE,
    MATCHED,
    MISMATCHED,
    GlueFormat,
)
from spanbert_jax.tasks.classification.kinds import (
    Prediction,
    Regression,
    SingleLabel,
    as_classes,
)
from spanbert_jax.tasks.classification.text_task import TextTask
from spanbert_jax.tasks.records import TFDS, Table, files_of, read_table
from spanbert_jax.tasks.task import Dataset, Tables, Verdict


class Glue(TextTask):
    """The task of GLUE that the config names."""

    def __init__(self, config: GlueConfig) -> None:
        super().__init__(config)
        self.format = GLUE[config.glue_task]
        self.kind = GlueLabel(self.format) if self.format.labels else GlueScore()
        self.metric = self.format.metric
        self.is_pair = bool(self.format.text_pair)
        self.fixed_labels = self.format.labels

    def read(self, path: str, *, training: bool) -> Dataset[TextExample]:
        """Examples of an official file; of MNLI's dev, those of `dev_mismatched` behind it."""
        config, dataset = self.config, self._read(path, training=training)
        if training or not config.dev_mismatched or path != config.dev:
            return dataset
        more = self._read(config.dev_mismatched, training=False)
        return Dataset([*dataset.examples, *more.examples], (*dataset.notes, *more.notes))

    def _read(self, path: str, *, training: bool) -> Dataset[TextExample]:
        form = self.format
        is_tfds = path.startswith(TFDS)
        table = read_table(
            path,
            file_format="auto" if is_tfds else "tsv",
            columns=() if is_tfds else _headerless(path, form),
            leave_out_ragged=training and form.has_ragged_lines,
        )
        layout = _layout(table, form)
        self._check_columns(path, table, layout)
        dataset = examples_of(
            table, layout, place=path, kind=self.kind, labels=form.labels,
            training=training,
        )  # fmt: skip
        return _in_part(dataset, _part_of(path)) if self.config.glue_task == "mnli" else dataset

    def _check_columns(self, path: str, table: Table, layout: Layout) -> None:
        """Raise `UserError` for a file of another task, whose columns no flag names."""
        for column in (layout.text, layout.text_pair):
            if column and column not in table.columns:
                raise UserError(
                    f"{path}: must have the columns of GLUE's {self.config.glue_task}, has no "
                    f"{column!r}, only {', '.join(map(repr, table.columns))}; name the official "
                    "file, or read any table with configs/text_classification.py"
                )

    def known_scores(
        self,
        examples: Sequence[TextExample],
        predictions: Sequence[Prediction],
        labels: Sequence[str],
    ) -> dict[str, float]:
        """The scores of GLUE's table; of MNLI its parts apart, and the first as `accuracy`."""
        parts = list(dict.fromkeys(example.part for example in examples))
        scores: dict[str, float] = {}
        for part in parts:
            chosen = [
                (example.answer, prediction.answer)
                for example, prediction in zip(examples, predictions, strict=True)
                if example.part == part
            ]
            answers, guesses = zip(*chosen, strict=True)
            of_part = glue_scores(self.config.glue_task, answers, guesses)
            scores = of_part | scores
            if part:
                scores |= {f"{part}_{name}": value for name, value in of_part.items()}
        return scores

    def submission_files(
        self, examples: Sequence[TextExample], verdict: Verdict, *, tables: Tables
    ) -> dict[str, str]:
        """One file for the test set, as GLUE's server takes it; of MNLI one for each part.

        In the order of their index: TensorFlow Datasets keeps a split in another one.
        """
        files: dict[str, list[tuple[str, str]]] = {}
        for example, prediction in zip(examples, verdict.predictions, strict=True):
            index = example.id.removeprefix(f"{example.part}-") if example.part else example.id
            line = (index, submitted(prediction.answer))
            files.setdefault(self.format.submissions[example.part], []).append(line)
        header = ("index", "prediction")
        return {
            name: "".join("\t".join(line) + "\n" for line in [header, *sorted(lines, key=_place)])
            for name, lines in files.items()
        }


class GlueLabel(SingleLabel):
    """A label, by any of the names that it has in GLUE's files and in TensorFlow Datasets."""

    def __init__(self, form: GlueFormat) -> None:
        self._aliases = form.aliases

    def read(self, value: Any, *, where: str) -> Answer | None:
        label = super().read(value, where=where)
        return self._aliases.get(str(label), label) or None


class GlueScore(Regression):
    """How similar two sentences are, from 0 to 5; TensorFlow Datasets has -1 for unknown."""

    def read(self, value: Any, *, where: str) -> Answer | None:
        score = super().read(value, where=where)
        return None if score == -1.0 else score


def glue_scores(task: str, answers: Sequence[Any], predictions: Sequence[Any]) -> dict[str, float]:
    """The scores that GLUE counts for a task, between -1 and 1."""
    form = GLUE[task]
    if not form.labels:
        return Regression().scores(answers, predictions, ())
    truth, guess = as_classes(answers, form.labels), as_classes(predictions, form.labels)
    if form.metric == "mcc":
        return {"mcc": metrics.mcc(truth, guess)}
    accuracy = metrics.accuracy(truth, guess)
    if form.metric == "accuracy":
        return {"accuracy": accuracy}
    f1 = metrics.f1(truth, guess)
    return {"accuracy_and_f1": (accuracy + f1) / 2, "accuracy": accuracy, "f1": f1}


def submitted(answer: Answer) -> str:
    """As the server takes it: a label, or a score of 0 to 5. 5.12345 -> "5.000" """
    return answer if isinstance(answer, str) else f"{np.clip(answer, 0.0, 5.0):.3f}"


def _place(line: tuple[str, str]) -> int:
    """Where a line of a submission stands; what has no number keeps its place at the end."""
    return int(line[0]) if line[0].isdecimal() else sys.maxsize


def _part_of(path: str) -> str:
    """Which part of MNLI's evaluation a file holds, by its official name, or by its name here."""
    name = path.rpartition("/")[2]
    if MISMATCHED in name:
        return MISMATCHED
    # The server calls the diagnostic set AX.
    is_diagnostic = DIAGNOSTIC in name or name.lower().startswith(("ax.", "ax@"))
    return DIAGNOSTIC if is_diagnostic else MATCHED


def _in_part(dataset: Dataset[TextExample], part: str) -> Dataset[TextExample]:
    """Ids say of which part they are: those of both parts begin at 0."""
    examples = [
        example._replace(part=part, id=f"{part}-{example.id}") for example in dataset.examples
    ]
    return dataset._replace(examples=examples)


def _headerless(path: str, form: GlueFormat) -> tuple[str, ...]:
    """Columns of a file without a header line: CoLA's, but for its test file."""
    if not form.headerless:
        return ()
    _, first = next(read_lines(files_of(path)[0], Reading()), (1, ""))
    return () if form.text[0] in first.split("\t") else form.headerless


def _layout(table: Table, form: GlueFormat) -> Layout:
    def first_of(names: tuple[str, ...], *, optional: bool = False) -> str:
        present = (name for name in names if name in table.columns)
        return next(present, "" if optional or not names else names[0])

    return Layout(
        first_of(form.text), first_of(form.text_pair), first_of(form.answer),
        first_of(form.id, optional=True),
    )  # fmt: skip
