"""The sets of MRQA 2019. In: files in its form. Out: answers, and the official scores."""

from collections.abc import Sequence

from spanbert_jax.config.tasks import MrqaConfig
from spanbert_jax.errors import UserError
from spanbert_jax.tasks.question_answering import mrqa_scoring
from spanbert_jax.tasks.question_answering.decoding import Prediction
from spanbert_jax.tasks.question_answering.extractive import ExtractiveTask
from spanbert_jax.tasks.question_answering.halves import half_ids, half_note
from spanbert_jax.tasks.question_answering.mrqa_file import read_mrqa
from spanbert_jax.tasks.question_answering.question import Question
from spanbert_jax.tasks.task import Dataset, Settings, Verdict


class Mrqa(ExtractiveTask):
    """Spans of a context; every question has an answer.

    Scores: `exact` and `f1` in percent, of the answer that suits a prediction best.
    """

    config: MrqaConfig

    def read(self, path: str, *, training: bool) -> Dataset[Question]:
        """As `Task.read`; of what is not trained on, the half that `config.half` names."""
        dataset = read_mrqa(path, training=training)
        half, seed = self.config.half, self.config.half_seed
        if training or half == "all":
            return dataset
        ids = half_ids([example.id for example in dataset.examples], half=half, seed=seed)
        if not ids:
            raise UserError(
                f"--task.half {half}: must hold questions, but none of {path} is in it by "
                f"--task.half-seed {seed}; use --task.half all"
            )
        chosen = frozenset(ids)
        examples = [example for example in dataset.examples if example.id in chosen]
        note = half_note(ids, total=len(dataset.examples), half=half, seed=seed)
        return Dataset(examples, (*dataset.notes, note))

    def verdict(
        self,
        examples: Sequence[Question],
        predictions: Sequence[Prediction],
        settings: Settings | None,
    ) -> Verdict:
        known = [
            (example.id, example.answers, prediction.text)
            for example, prediction in zip(examples, predictions, strict=True)
            if example.known
        ]
        scores: dict[str, float] = {}
        if known:
            scores = mrqa_scoring.total_scores(
                {key: answers for key, answers, _ in known}, {key: text for key, _, text in known}
            )
        return Verdict(list(predictions), scores, {})
