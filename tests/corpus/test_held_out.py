"""Held-out documents: chosen by content alone, and always some on both sides."""

import pytest

from spanbert_jax.corpus.held_out import KEY_RANGE, document_key, held_out_limit


def test_the_example_of_the_docstring():
    assert held_out_limit([8 << 60, 2 << 60, 9 << 60], 0.01) == ((2 << 60) + 1, 3)


def test_the_share_of_a_large_corpus_is_close_to_what_was_asked():
    keys = [document_key(b"document %d" % i) for i in range(20_000)]
    limit, seen = held_out_limit(keys, 0.05)
    assert limit == round(0.05 * KEY_RANGE)
    assert seen < 500
    # 20,000 draws at 0.05: standard deviation 31.
    assert abs(sum(key < limit for key in keys) - 1_000) < 4 * 31


def test_keys_depend_on_the_content_only():
    assert document_key(b"a") == document_key(b"a") != document_key(b"b")


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_both_sides_have_a_document_wherever_there_are_two(share):
    for first in range(20):
        keys = [document_key(b"%d" % i) for i in range(first, first + 2)]
        limit, _ = held_out_limit(keys, share)
        assert sum(key < limit for key in keys) == 1


def test_a_single_document_is_trained_on():
    for first in range(20):
        key = document_key(b"%d" % first)
        assert held_out_limit([key, key], 0.9) == (0, 2)


def test_nothing_is_held_out_where_nothing_is_asked_for():
    assert held_out_limit([0, 1, 2], 0.0) == (0, 1)
    assert held_out_limit([], 0.0)[1] == held_out_limit([], 0.5)[1] == 0
