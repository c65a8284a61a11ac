"""SemEval-2010 Task 8: nine relations in two directions, and Other. The official macro F1."""

from collections.abc import Sequence

from spanbert_jax.tasks.relation.example import RelationExample
from spanbert_jax.tasks.relation.predictions import lines_with_ids
from spanbert_jax.tasks.relation.scores import semeval_scores
from spanbert_jax.tasks.relation.semeval_file import LABELS, read_semeval
from spanbert_jax.tasks.relation.task import RelationTask
from spanbert_jax.tasks.task import Dataset, Tables, Verdict


class SemEval(RelationTask):
    """The official form of the shared task (Hendrickx et al. 2010); e1 is the subject."""

    metric = "macro_f1"

    def read(self, path: str, *, training: bool) -> Dataset[RelationExample]:
        return self.dataset(read_semeval(path), training=training)

    def labels(self, train: Sequence[RelationExample]) -> list[str]:
        """All 19, seen or not: one of them has a single example in the whole training set."""
        return list(LABELS)

    def scores_of(self, gold: Sequence[str], predicted: Sequence[str]) -> dict[str, float]:
        scores = semeval_scores(gold, predicted)
        return {name: 100.0 * score for name, score in scores.items()}

    def prediction_files(
        self, examples: Sequence[RelationExample], verdict: Verdict, *, tables: Tables
    ) -> dict[str, str]:
        """proposed_answers.txt as the official scorer reads it."""
        relations = [prediction.relation for prediction in verdict.predictions]
        return {"proposed_answers.txt": lines_with_ids(examples, relations)}
