"""Text classification as a task: tables in, a pooled head, labels or scores out."""

from collections.abc import Sequence

from spanbert_jax.config.tasks import TextClassificationConfig
from spanbert_jax.tasks.classification.examples import Layout, TextExample, examples_of
from spanbert_jax.tasks.classification.kinds import MultiLabel, Regression, SingleLabel
from spanbert_jax.tasks.classification.text_task import TextTask, known_answer
from spanbert_jax.tasks.records import read_table
from spanbert_jax.tasks.task import Dataset


class TextClassification(TextTask):
    """Texts of any table, by the columns that the config names."""

    def __init__(self, config: TextClassificationConfig) -> None:
        super().__init__(config)
        kinds = {
            "single_label": SingleLabel(),
            "multi_label": MultiLabel(config.label_separator),
            "regression": Regression(),
        }
        self.kind = kinds[config.kind]
        self.metric = config.metric_name
        self.is_pair = bool(config.text_pair_column)
        self.separator = config.label_separator
        self.fixed_labels = config.labels if self.kind.has_labels else ()

    def read(self, path: str, *, training: bool) -> Dataset[TextExample]:
        config = self.config
        table = read_table(path, file_format=config.file_format, columns=config.columns)
        layout = Layout(
            config.text_column, config.text_pair_column, config.label_column, config.id_column
        )
        return examples_of(
            table, layout, place=path, kind=self.kind, labels=self.fixed_labels, training=training
        )

    def _class_weights(self, train: Sequence[TextExample], labels: list[str]) -> list[float]:
        if self.config.class_weights:
            return list(self.config.class_weights)
        if self.config.class_weighting == "balanced":
            return self.kind.balanced_weights([known_answer(example) for example in train], labels)
        return super()._class_weights(train, labels)
