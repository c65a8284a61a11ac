"""Classifying texts, or pairs of texts: one label, several, or a score; and the tasks of GLUE."""

from dataclasses import dataclass
from typing import Literal

from spanbert_jax.config.tasks.task import TaskConfig
from spanbert_jax.errors import require, require_positive

AnswerKind = Literal["single_label", "multi_label", "regression"]
Metric = Literal[
    "default", "accuracy", "macro_f1", "micro_f1", "mcc", "pearson", "spearman",
    "pearson_and_spearman",
]  # fmt: skip
GlueName = Literal["cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte", "wnli"]

METRICS: dict[str, tuple[str, ...]] = {
    "single_label": ("accuracy", "macro_f1", "mcc"),
    "multi_label": ("micro_f1", "macro_f1", "accuracy"),
    "regression": ("pearson_and_spearman", "pearson", "spearman"),
}
"""Those that each kind of answer has, the default one first."""


@dataclass(frozen=True)
class TextClassificationConfig(TaskConfig):
    """Classify the texts of a table with named columns: CSV, TSV or JSON lines (.gz or .bz2 too),
    or a TensorFlow dataset, named as tfds:NAME/CONFIG@SPLIT.

    CSV is quoted as spreadsheets quote it; in TSV a quote is a letter like any other, as in GLUE.
    """

    name = "text_classification"
    definition = "spanbert_jax.tasks.classification.task:TextClassification"
    fixed = ("kind", "labels", "class_weighting", "class_weights")

    text_column: str = "text"
    """Holds the text."""
    text_pair_column: str = ""
    """Holds a second text, where an example is a pair."""
    label_column: str = "label"
    """Holds the answer; a file that is only predicted for may lack it."""
    id_column: str = ""
    """Names examples in files of predictions; without one they are numbered from 0."""
    columns: tuple[str, ...] = ()
    """Names of the columns of a CSV or TSV file whose first line does not name them."""
    file_format: Literal["auto", "csv", "tsv", "jsonl"] = "auto"
    """auto goes by the file's name."""
    kind: AnswerKind = "single_label"
    """multi_label: any number of labels, also none. regression: a number, learnt by squared
    error."""
    labels: tuple[str, ...] = ()
    """In the order of the head's outputs; empty takes those of the training data, sorted."""
    label_separator: str = ","
    """Stands between the labels of a cell, where there are several; JSON may hold a list."""
    class_weighting: Literal["none", "balanced"] = "none"
    """balanced: a label counts in the loss by the inverse of how often it is trained on."""
    class_weights: tuple[float, ...] = ()
    """How much each of `labels` counts in the loss, in their order. Of several labels, it is what
    a label that is there counts; one that is not there counts 1."""
    metric: Metric = "default"
    """By which the best checkpoint is kept: accuracy, or micro_f1 of several labels, or
    pearson_and_spearman (their mean) of numbers."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.metric in ("default", *METRICS[self.kind]), "--task.metric", self.metric,
            f"is no score of --task.kind {self.kind}",
            f"use one of {', '.join(METRICS[self.kind])}",
        )  # fmt: skip
        require(
            self.kind != "regression" or not self.labels, "--task.labels", " ".join(self.labels),
            "are none of numbers", "leave them out, or use another --task.kind",
        )  # fmt: skip
        require(
            len(set(self.labels)) == len(self.labels), "--task.labels", " ".join(self.labels),
            "must be different ones", "name each label once",
        )  # fmt: skip
        require(
            bool(self.text_column), "--task.text-column", "''", "must name a column", "use text"
        )
        require(
            bool(self.label_separator), "--task.label-separator", "''", "must not be empty", "use ,"
        )
        self._check_weights()

    def _check_weights(self) -> None:
        if self.class_weighting == "none" and not self.class_weights:
            return
        require(
            self.kind != "regression", "--task.kind", self.kind, "has no classes to weigh",
            "leave out --task.class-weights and --task.class-weighting",
        )  # fmt: skip
        if not self.class_weights:
            return
        weights = " ".join(map(str, self.class_weights))
        require(
            self.class_weighting == "none", "--task.class-weights", weights,
            "cannot stand beside --task.class-weighting balanced", "use one of them",
        )  # fmt: skip
        require(
            len(self.class_weights) == len(self.labels), "--task.class-weights", weights,
            f"must be one for each of --task.labels, which are {len(self.labels)}",
            "name both, in the same order",
        )  # fmt: skip
        for weight in self.class_weights:
            require_positive("--task.class-weights", weight, "1.0 for each label")

    @property
    def metric_name(self) -> str:
        return METRICS[self.kind][0] if self.metric == "default" else self.metric


@dataclass(frozen=True)
class GlueConfig(TaskConfig):
    """A task of GLUE, from its official TSV files or TensorFlow Datasets, as tfds:glue/rte@train.

    Columns, labels, scores and submission files are GLUE's.
    """

    name = "glue"
    definition = "spanbert_jax.tasks.classification.glue:Glue"
    fixed = ("glue_task",)
    beside_dev = ("dev_mismatched",)

    glue_task: GlueName = "sst2"
    """Which of the nine."""
    dev_mismatched: str = ""
    """MNLI: read and scored together with `dev`, which by its name is the matched part. The best
    checkpoint is that of `dev`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            not self.dev_mismatched or self.glue_task == "mnli", "--task.dev-mismatched",
            self.dev_mismatched, f"is of mnli alone, not of {self.glue_task}", "leave it out",
        )  # fmt: skip
        require(
            not self.dev_mismatched or self.dev_mismatched != self.dev, "--task.dev-mismatched",
            self.dev_mismatched, "must be another file than --task.dev", "leave it out",
        )  # fmt: skip

    @property
    def files(self) -> dict[str, str]:
        mismatched = {"--task.dev-mismatched": self.dev_mismatched} if self.dev_mismatched else {}
        return super().files | mismatched
