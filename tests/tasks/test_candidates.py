"""The arithmetic of filling in, on literal arrays."""

import itertools
import math

import numpy as np
import pytest

from spanbert_jax.tasks.candidates import (
    combine,
    log_probabilities,
    masked_spans,
    top_spans,
)


def log(values) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.log(np.array(values, dtype=np.float64))


def test_masked_spans_are_the_maximal_runs_of_the_mask():
    assert masked_spans([1, 7, 4, 4, 8, 4, 2], mask_id=4) == [(2, 2), (5, 1)]
    assert masked_spans([4, 4], mask_id=4) == [(0, 2)]
    assert masked_spans([1, 2, 3], mask_id=4) == []


def test_the_neighbours_of_a_span_are_the_observed_tokens_beside_it():
    (span,) = masked_spans([1, 7, 4, 4, 8, 2], mask_id=4)
    assert (span.left, span.right) == (1, 4)


def test_special_tokens_take_no_probability():
    logits = np.array([[0.0, 0.0, 5.0]], np.float32)
    log_probs = log_probabilities(logits, candidates=np.array([True, True, False]))
    np.testing.assert_allclose(np.exp(log_probs), [[0.5, 0.5, 0.0]])


def test_large_logits_do_not_overflow():
    logits = np.array([[1e4, 1e4 - 1.0, -1e4]], np.float32)
    log_probs = log_probabilities(logits, candidates=np.ones(3, bool))
    np.testing.assert_allclose(
        np.exp(log_probs), [[1 / (1 + math.exp(-1)), 1 / (1 + math.e), 0.0]], atol=1e-12
    )


def test_combining_takes_the_normalised_geometric_mean():
    combined = combine(log([[0.8, 0.2]]), log([[0.5, 0.5]]))
    np.testing.assert_allclose(np.exp(combined), [[2 / 3, 1 / 3]])


def test_combining_equal_opinions_changes_nothing_and_a_veto_stands():
    opinion = log([[0.7, 0.2, 0.1]])
    np.testing.assert_allclose(combine(opinion, opinion), opinion)
    np.testing.assert_allclose(np.exp(combine(opinion, log([[0.0, 0.5, 0.5]])))[0, 0], 0.0)


def test_top_spans_multiplies_independent_positions():
    spans = top_spans(log([[0.6, 0.4, 0.0], [0.9, 0.1, 0.0]]), top=3)
    assert [span.token_ids for span in spans] == [(0, 0), (1, 0), (0, 1)]
    np.testing.assert_allclose([span.probability for span in spans], [0.54, 0.36, 0.06])


def test_top_spans_never_holds_an_impossible_token():
    spans = top_spans(log([[0.6, 0.4, 0.0]]), top=10)
    assert [span.token_ids for span in spans] == [(0,), (1,)]


@pytest.mark.parametrize("num_positions", [1, 2, 4])
def test_top_spans_are_those_of_a_search_over_all_of_them(num_positions):
    rng = np.random.default_rng(num_positions)
    probabilities = rng.dirichlet(np.ones(6), size=num_positions)
    every = itertools.product(range(6), repeat=num_positions)
    scored = sorted(
        ((math.prod(probabilities[range(num_positions), ids]), ids) for ids in every), reverse=True
    )
    spans = top_spans(log(probabilities), top=6)
    assert [span.token_ids for span in spans] == [ids for _, ids in scored[:6]]
    np.testing.assert_allclose([span.probability for span in spans], [p for p, _ in scored[:6]])
