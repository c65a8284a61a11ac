"""SQuAD 1.1 and 2.0. In: files in SQuAD's form. Out: answers, and the official scores."""

from collections.abc import Sequence

from spanbert_jax.config.tasks import SquadConfig
from spanbert_jax.tasks.question_answering.decoding import Prediction
from spanbert_jax.tasks.question_answering.extractive import ExtractiveTask
from spanbert_jax.tasks.question_answering.question import Question
from spanbert_jax.tasks.question_answering.scoring import (
    Scored,
    best_thresholds,
    score_question,
    total_scores,
    tuned_threshold,
)
from spanbert_jax.tasks.question_answering.squad_file import read_squad
from spanbert_jax.tasks.task import Dataset, Settings, Verdict

THRESHOLD = "null_threshold"
# The threshold where none was tuned: the more likely of the best answer and of none.
EVEN_ODDS = 0.0


class Squad(ExtractiveTask):
    """Spans of a context, or none where `unanswerable`.

    Scores: `exact` and `f1` of the answers as they are given, in percent. With unanswerable
    questions these are after the threshold, that of the checkpoint or, while it is fine-tuned, the
    best one for F1 on the same questions; and beside them stand HasAns_*, NoAns_* and best_*, what
    the best thresholds for these questions would give. While the threshold is tuned, f1 is best_f1,
    but where questions have equal odds.
    """

    config: SquadConfig

    @property
    def with_null(self) -> bool:
        return self.config.unanswerable

    def read(self, path: str, *, training: bool) -> Dataset[Question]:
        return read_squad(path, training=training, unanswerable=self.config.unanswerable)

    def verdict(
        self,
        examples: Sequence[Question],
        predictions: Sequence[Prediction],
        settings: Settings | None,
    ) -> Verdict:
        scored = [
            score_question(example.answers, prediction.text, prediction.null_odds or 0.0)
            for example, prediction in zip(examples, predictions, strict=True)
            if example.known
        ]
        if not self.with_null:
            return Verdict(list(predictions), total_scores(scored) if scored else {}, {})
        if all(prediction.null_odds is None for prediction in predictions):
            # Of a file of answers, which stand as they are: there is nothing to put a threshold on.
            scores = total_scores(scored, EVEN_ODDS) if scored else {}
            return Verdict(list(predictions), scores, {})
        threshold = _threshold(scored, settings)
        final = [_with_threshold(prediction, threshold) for prediction in predictions]
        scores = {}
        if scored:
            scores = total_scores(scored, threshold) | best_thresholds(scored)
        return Verdict(final, scores, {THRESHOLD: threshold})


def _threshold(scored: Sequence[Scored], settings: Settings | None) -> float:
    if settings is not None and THRESHOLD in settings:
        return settings[THRESHOLD]
    return tuned_threshold(scored) if scored else EVEN_ODDS


def _with_threshold(prediction: Prediction, threshold: float) -> Prediction:
    odds = prediction.null_odds
    return prediction if odds is None or odds <= threshold else prediction._replace(text="")
