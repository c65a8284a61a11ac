"""Exact match and F1 of answers, as the official scorer of MRQA 2019 reckons them."""

from collections.abc import Mapping, Sequence

from spanbert_jax.tasks.question_answering.scoring import (
    best_over,
    exact_match,
    f1_of_words,
    normalize_answer,
)


def token_f1(right: str, predicted: str) -> float:
    """F1 of the words; 0 where one of the two has none, even where both have none."""
    return f1_of_words(normalize_answer(right).split(), normalize_answer(predicted).split())


def total_scores(
    answers: Mapping[str, Sequence[str]],
    predictions: Mapping[str, str],
    *,
    skip_missing: bool = False,
) -> dict[str, float]:
    """exact and f1 in percent, over all questions.

    answers: all texts that count as right, by id.
    skip_missing: leave out questions without a prediction, which else count 0.
    """
    counted = [each for each in answers if not skip_missing or each in predictions]
    predicted = [each for each in counted if each in predictions]
    exact = sum(best_over(exact_match, answers[each], predictions[each]) for each in predicted)
    f1 = sum(best_over(token_f1, answers[each], predictions[each]) for each in predicted)
    total = len(counted)
    return {"exact": 100.0 * exact / total, "f1": 100.0 * f1 / total, "total": float(total)}
