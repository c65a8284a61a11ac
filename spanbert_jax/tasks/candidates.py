"""What may stand in a masked span. In: log-probabilities of each position. Out: ranked candidates.

Pure functions on numpy arrays; tasks/fill.py runs the model around them.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float64


class MaskedSpan(NamedTuple):
    """A maximal run of masked tokens in a row."""

    start: int
    length: int

    @property
    def left(self) -> int:
        """Position of the observed token before the span, x_{s-1}."""
        return self.start - 1

    @property
    def right(self) -> int:
        """Position of the observed token after the span, x_{e+1}."""
        return self.start + self.length


class RankedSpan(NamedTuple):
    """Token ids that could fill a span, and how likely they are."""

    token_ids: tuple[int, ...]
    probability: float


def masked_spans(token_ids: Sequence[int], *, mask_id: int) -> list[MaskedSpan]:
    """Find the maximal runs of `mask_id`.

    token_ids = [1, 7, 4, 4, 8, 4, 2], mask_id = 4 -> [(2, 2), (5, 1)] as (start, length)
    """
    masked = np.concatenate([[False], np.asarray(token_ids) == mask_id, [False]])
    edges = np.flatnonzero(masked[1:] != masked[:-1]).reshape(-1, 2)
    return [MaskedSpan(int(start), int(end - start)) for start, end in edges]


def log_probabilities(
    logits: Float[np.ndarray, "positions vocab"], *, candidates: Bool[np.ndarray, " vocab"]
) -> Float64[np.ndarray, "positions vocab"]:
    """Log-softmax over the entries that are candidates; minus infinity for the others.

    logits = [[0, 0, 5]], candidates = [1, 1, 0] -> log [[0.5, 0.5, 0]]
    """
    allowed = np.where(candidates, logits.astype(np.float64), -np.inf)
    return _normalized(allowed)


def combine(
    mlm: Float64[np.ndarray, "positions vocab"],
    span_boundary: Float64[np.ndarray, "positions vocab"],
) -> Float64[np.ndarray, "positions vocab"]:
    """Pool two opinions: their geometric mean, normalised (a log-linear pool, equal weights).

    A token must be plausible to both: one that either rules out stays out, and the order of two
    tokens on which both agree is kept.

    mlm = log [[0.8, 0.2]], span_boundary = log [[0.5, 0.5]]
    -> log [[2/3, 1/3]], since sqrt(0.8 x 0.5) = 2 x sqrt(0.2 x 0.5)
    """
    return _normalized(0.5 * (mlm + span_boundary))


def top_spans(log_probs: Float64[np.ndarray, "positions vocab"], *, top: int) -> list[RankedSpan]:
    """The `top` most likely fillings of a span whose positions are independent, best first.

    Exact: the best fillings of the first i positions extend the best ones of the first i - 1.

    log_probs = log [[0.6, 0.4, 0], [0.9, 0.1, 0]], top = 3
    -> [((0, 0), 0.54), ((1, 0), 0.36), ((0, 1), 0.06)]
    """
    spans: list[tuple[int, ...]] = [()]
    scores = np.zeros(1)
    for position in log_probs:
        tokens = _best(position, top)
        sums = (scores[:, None] + position[tokens]).reshape(-1)
        chosen = _best(sums, top)
        spans = [(*spans[i // len(tokens)], int(tokens[i % len(tokens)])) for i in chosen]
        scores = sums[chosen]
    return [RankedSpan(ids, float(np.exp(x))) for ids, x in zip(spans, scores, strict=True)]


def _best(scores: Float64[np.ndarray, " choices"], top: int) -> np.ndarray:
    """Indices of the highest scores, best first, equal ones in order; never an impossible one."""
    order = np.argsort(-scores, kind="stable")[:top]
    return order[np.isfinite(scores[order])]


def _normalized(
    scores: Float64[np.ndarray, "positions vocab"],
) -> Float64[np.ndarray, "positions vocab"]:
    peaks = scores.max(axis=-1, keepdims=True)
    return scores - peaks - np.log(np.exp(scores - peaks).sum(axis=-1, keepdims=True))
