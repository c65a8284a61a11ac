"""Exact match and F1 of answers, as the official scorer of SQuAD 2.0 reckons them.

In: predicted texts and right ones. Out: scores. Pure; SQuAD 1.1 is the case without unanswerable
questions.
"""

import re
import string
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

_ARTICLES = re.compile(r"\b(a|an|the)\b", re.UNICODE)
_PUNCTUATION = frozenset(string.punctuation)


def normalize_answer(text: str) -> str:
    """Without case, ASCII punctuation, English articles and superfluous white space.

    normalize_answer("The  U.S.") -> "us"
    """
    plain = "".join(letter for letter in text.lower() if letter not in _PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", plain).split())


def exact_match(right: str, predicted: str) -> float:
    return float(normalize_answer(right) == normalize_answer(predicted))


def token_f1(right: str, predicted: str) -> float:
    """F1 of the words; where one of the two has none, whether both have none.

    token_f1("cat", "the cat sat") -> 2/3: precision 1/2, recall 1
    """
    right_words = normalize_answer(right).split()
    predicted_words = normalize_answer(predicted).split()
    if not right_words or not predicted_words:
        return float(right_words == predicted_words)
    return f1_of_words(right_words, predicted_words)


def f1_of_words(right: list[str], predicted: list[str]) -> float:
    common = sum((Counter(right) & Counter(predicted)).values())
    if common == 0:
        return 0.0
    precision, recall = common / len(predicted), common / len(right)
    return 2 * precision * recall / (precision + recall)


def right_answers(answers: Sequence[str]) -> list[str]:
    """What a prediction is compared with: the answers of which something is left once they are
    normalized, else that there is none.
    """
    return [answer for answer in answers if normalize_answer(answer)] or [""]


def best_over(metric: Callable[[str, str], float], answers: Sequence[str], predicted: str) -> float:
    """The score against the answer that suits it best."""
    return max(metric(answer, predicted) for answer in answers)


class Scored(NamedTuple):
    """Scores of one question, before any threshold."""

    exact: float
    f1: float
    has_answer: bool
    predicted: bool
    """Whether the prediction is not empty."""
    null_odds: float
    """By how much no answer scored above the best one; 0 where that was not asked."""


def score_question(answers: Sequence[str], predicted: str, null_odds: float = 0.0) -> Scored:
    right = right_answers(answers)
    return Scored(
        best_over(exact_match, right, predicted), best_over(token_f1, right, predicted),
        bool(answers), bool(predicted), null_odds,
    )  # fmt: skip


def total_scores(scored: Sequence[Scored], threshold: float | None = None) -> dict[str, float]:
    """exact and f1 in percent; with a threshold also by whether a question has an answer.

    threshold: null odds above it make a prediction empty.
    """
    if threshold is not None:
        scored = [_with_threshold(each, threshold) for each in scored]
    scores = _averages(scored) | {"total": float(len(scored))}
    if threshold is None:
        return scores
    for name, has_answer in (("HasAns", True), ("NoAns", False)):
        part = [each for each in scored if each.has_answer == has_answer]
        if part:
            parts = _averages(part) | {"total": float(len(part))}
            scores |= {f"{name}_{key}": value for key, value in parts.items()}
    return scores


def _with_threshold(scored: Scored, threshold: float) -> Scored:
    if scored.null_odds <= threshold:
        return scored
    right = float(not scored.has_answer)
    return scored._replace(exact=right, f1=right)


def _averages(scored: Sequence[Scored]) -> dict[str, float]:
    return {
        "exact": 100.0 * sum(each.exact for each in scored) / len(scored),
        "f1": 100.0 * sum(each.f1 for each in scored) / len(scored),
    }


class Threshold(NamedTuple):
    """The threshold on null odds by which a score is best."""

    score: float
    """In percent."""
    value: float
    nothing: bool
    """Whether no threshold beats answering nothing at all; `value` is 0 then, by convention."""


def best_threshold(scored: Sequence[Scored], metric: str) -> Threshold:
    """Answer one question after the other, those first that most likely have an answer, and keep
    the best sum: the official scorer's search.

    metric: exact or f1.
    """
    current = best = float(sum(not each.has_answer for each in scored))
    value, nothing = 0.0, True
    for each in sorted(scored, key=lambda each: each.null_odds):
        if each.has_answer:
            current += getattr(each, metric)
        elif each.predicted:
            current -= 1.0
        if current > best:
            best, value, nothing = current, each.null_odds, False
    return Threshold(100.0 * best / len(scored), value, nothing)


def best_thresholds(scored: Sequence[Scored]) -> dict[str, float]:
    """best_exact, best_f1 and their thresholds, by the names of the official scorer."""
    exact, f1 = (best_threshold(scored, metric) for metric in ("exact", "f1"))
    return {
        "best_exact": exact.score, "best_exact_thresh": exact.value,
        "best_f1": f1.score, "best_f1_thresh": f1.value,
    }  # fmt: skip


def tuned_threshold(scored: Sequence[Scored]) -> float:
    """The threshold of the best F1. Where answering nothing is best, one below all odds: the
    official scorer's 0 would not do that.
    """
    found = best_threshold(scored, "f1")
    if not found.nothing:
        return found.value
    return min(each.null_odds for each in scored) - 1.0


def check_ids(predictions: Mapping[str, str], ids: Sequence[str]) -> tuple[list[str], list[str]]:
    """Ids that the predictions lack, and ids that they alone have."""
    known = set(ids)
    return [each for each in ids if each not in predictions], [
        each for each in predictions if each not in known
    ]
