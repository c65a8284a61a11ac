"""TACRED: relations of typed entities, most pairs without one. Micro F1 without no_relation."""

from collections import Counter
from collections.abc import Sequence

from spanbert_jax.config.tasks.relation import TacredConfig
from spanbert_jax.tasks.relation.example import RelationExample
from spanbert_jax.tasks.relation.predictions import lines_with_ids
from spanbert_jax.tasks.relation.scores import micro_scores
from spanbert_jax.tasks.relation.tacred_file import read_tacred
from spanbert_jax.tasks.relation.task import RelationTask
from spanbert_jax.tasks.task import Dataset, Tables, Verdict


class Tacred(RelationTask):
    """Relations in the JSON form of TACRED (Zhang et al. 2017)."""

    metric = "f1"
    config: TacredConfig

    def read(self, path: str, *, training: bool) -> Dataset[RelationExample]:
        examples, notes = self.dataset(read_tacred(path), training=training)
        negative = self.config.negative_label
        if training and not any(example.relation == negative for example in examples):
            notes += (f"no example has --task.negative-label {negative}: all relations are scored",)
        return Dataset(examples, notes)

    def labels(self, train: Sequence[RelationExample]) -> list[str]:
        """no_relation first, then by frequency; the first seen before others as frequent."""
        negative = self.config.negative_label
        counts = Counter(example.relation for example in train)
        ranked = [label for label, _ in counts.most_common() if label not in (negative, None)]
        return [negative, *map(str, ranked)]

    def scores_of(self, gold: Sequence[str], predicted: Sequence[str]) -> dict[str, float]:
        scores = micro_scores(gold, predicted, negative=self.config.negative_label)
        return {name: 100.0 * score for name, score in scores.items()}

    def prediction_files(
        self, examples: Sequence[RelationExample], verdict: Verdict, *, tables: Tables
    ) -> dict[str, str]:
        """predictions.txt as the official scorer reads it, and predictions.tsv with ids."""
        relations = [prediction.relation for prediction in verdict.predictions]
        return {
            "predictions.txt": "".join(f"{relation}\n" for relation in relations),
            "predictions.tsv": lines_with_ids(examples, relations),
        }
