"""Answers out of the scores of starts and ends. In: windows and outputs of a question. Out: its
best answers, and how much better none at all scores.

As the released code reads them: the best starts and ends of each window, every pair of them that
can be an answer, the best of all windows, each text once.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64, Int64

from spanbert_jax.config.tasks import QuestionAnsweringConfig
from spanbert_jax.tasks.question_answering.answer_text import Texts
from spanbert_jax.tasks.question_answering.windows import Window

Scores = Float[np.ndarray, " length"]


class Candidate(NamedTuple):
    """An answer that may be given; the text is empty for none."""

    text: str
    start_score: float
    end_score: float
    span: tuple[int, int] | None = None
    """Characters [start, end) of the context."""

    @property
    def score(self) -> float:
        return self.start_score + self.end_score


class Prediction(NamedTuple):
    """What is answered to a question."""

    text: str
    """Empty where no answer is given."""
    best: Candidate
    """The best answer that is one, before any threshold."""
    n_best: tuple[Candidate, ...]
    """The best ones, best first."""
    probabilities: tuple[float, ...]
    """Of `n_best`, which add up to 1."""
    null_odds: float | None = None
    """By how much no answer scores above the best one; None where that is not asked."""


class Pairs(NamedTuple):
    """Starts and ends of one or more windows that can be an answer, each with its window."""

    window: Int64[np.ndarray, " pairs"]
    start: Int64[np.ndarray, " pairs"]
    end: Int64[np.ndarray, " pairs"]
    start_score: Float64[np.ndarray, " pairs"]
    end_score: Float64[np.ndarray, " pairs"]


def best_positions(scores: Scores, number: int) -> Int64[np.ndarray, " n"]:
    """Positions of the highest scores, the first one first where some are the same.

    best_positions([1., 3., 2., 3.], 3) -> [1, 3, 2]
    """
    return np.argsort(-scores, kind="stable")[:number]


def window_pairs(
    window: Window, start_scores: Scores, end_scores: Scores, *, config: QuestionAnsweringConfig
) -> tuple[Int64[np.ndarray, " pairs"], Int64[np.ndarray, " pairs"]]:
    """Positions in the row of starts and ends that can be an answer.

    Both are of the context; the start is one that this window shows best; the end is not before
    it, nor further than the longest answer. Starts run best first, and for each its ends.

    start_scores, end_scores: of the row; those beyond it (padding) are no answers, but take their
        place among the best as they do in the released code.
    """
    starts = best_positions(start_scores, config.n_best)
    ends = best_positions(end_scores, config.n_best)
    first, size = window.first_position, window.num_tokens
    inside = (starts >= first) & (starts < first + size)
    starts = starts[inside]
    starts = starts[window.max_context[starts - first]]
    ends = ends[(ends >= first) & (ends < first + size)]
    length = ends[None, :] - starts[:, None] + 1
    number, end = np.nonzero((length >= 1) & (length <= config.max_answer_length))
    return starts[number], ends[end]


def question_pairs(
    windows: Sequence[Window],
    scores: Sequence[tuple[Scores, Scores]],
    *,
    config: QuestionAnsweringConfig,
) -> Pairs:
    """The pairs of all windows of a question, best first; of the same score the first one found."""
    parts = []
    for number, (window, (starts, ends)) in enumerate(zip(windows, scores, strict=True)):
        start, end = window_pairs(window, starts, ends, config=config)
        # float64: the sums of two float32 that decide the order lose nothing.
        part = (np.full(len(start), number), start, end)
        parts.append((*part, starts[start].astype(np.float64), ends[end].astype(np.float64)))
    pairs = Pairs(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    order = np.argsort(-(pairs.start_score + pairs.end_score), kind="stable")
    return Pairs(*(column[order] for column in pairs))


def candidates(windows: Sequence[Window], pairs: Pairs, texts: Texts) -> Iterator[Candidate]:
    """Each pair with its text, in their order; without those that have none."""
    for number, start, end, start_score, end_score in zip(
        *(column.tolist() for column in pairs), strict=True
    ):
        window = windows[number]
        to_token = window.first_token - window.first_position
        tokens = (start + to_token, end + to_token)
        text, span = texts.locate(window.context, *tokens)
        if text:
            yield Candidate(text, start_score, end_score, span)


def null_candidate(scores: Sequence[tuple[Scores, Scores]]) -> Candidate:
    """No answer: the scores of [CLS] in the window where it scores least."""
    start, end = min(
        ((float(starts[0]), float(ends[0])) for starts, ends in scores), key=lambda each: sum(each)
    )
    return Candidate("", start, end)


def distinct(
    found: Iterator[Candidate], null: Candidate | None, *, number: int
) -> tuple[Candidate, ...]:
    """The first `number` candidates of different texts, with no answer where it belongs.

    Where no answer is asked for it is always among them, at the end if not before.
    """
    kept: dict[str, Candidate] = {}
    for candidate in found:
        if len(kept) >= number:
            break
        if null is not None and null.score > candidate.score:
            kept.setdefault("", null)
            if len(kept) >= number:
                break
        kept.setdefault(candidate.text, candidate)
    if null is not None:
        kept.setdefault("", null)
    return tuple(kept.values())


def predict(
    windows: Sequence[Window],
    scores: Sequence[tuple[Scores, Scores]],
    *,
    config: QuestionAnsweringConfig,
    texts: Texts,
    with_null: bool,
) -> Prediction:
    """The answer to one question, before any threshold: the best one that is an answer.

    scores: of starts and of ends, of each window.
    """
    null = null_candidate(scores) if with_null else None
    pairs = question_pairs(windows, scores, config=config)
    n_best = distinct(candidates(windows, pairs, texts), null, number=config.n_best)
    placeholder = Candidate(texts.placeholder, 0.0, 0.0)
    best = next((each for each in n_best if each.text), placeholder)
    if best is placeholder and (placeholder.text or not n_best):
        n_best = (placeholder, *n_best)
    odds = None if null is None else null.score - best.start_score - best.end_score
    return Prediction(best.text, best, n_best, softmax([each.score for each in n_best]), odds)


def softmax(scores: Sequence[float]) -> tuple[float, ...]:
    """softmax([0., math.log(3)]) -> (0.25, 0.75)."""
    most = max(scores)
    powers = [math.exp(score - most) for score in scores]
    total = sum(powers)
    return tuple(power / total for power in powers)
