"""Lengths of batches: as many as compiling them is worth."""

import itertools

import numpy as np
import pytest

from spanbert_jax.data.batch import TaskRow
from spanbert_jax.data.task_batches import RowBatches
from spanbert_jax.data.task_lengths import cheapest_lengths, padded_to

LONGEST = [9] * 10 + [30]


@pytest.mark.parametrize(("price", "lengths"), [(0, (16, 32)), (1_000, (32,))])
def test_lengths_of_the_docstring(price: int, lengths: tuple[int, ...]) -> None:
    found = cheapest_lengths(LONGEST, max_length=512, batch_size=2, tokens_to_compile=price)
    assert found == lengths


def test_no_other_choice_of_lengths_costs_less() -> None:
    rng = np.random.default_rng(0)
    longest = [int(each) for each in rng.integers(1, 65, 40)]
    price = 300

    def cost(lengths: tuple[int, ...]) -> int:
        return price * len(lengths) + sum(4 * (padded_to(each, lengths) or 0) for each in longest)

    choices = [
        (*some, 64)
        for number in range(8)
        for some in itertools.combinations(range(8, 64, 8), number)
    ]
    found = cheapest_lengths(longest, max_length=64, batch_size=4, tokens_to_compile=price)
    assert 1 < len(found) < 8
    assert cost(found) == min(map(cost, choices))


def test_the_last_length_is_never_beyond_that_of_the_task() -> None:
    assert cheapest_lengths([99], max_length=100, batch_size=2, tokens_to_compile=0) == (100,)


def test_rows_are_batched_at_the_lengths_chosen_for_their_plan_and_otherwise_as_before() -> None:
    rows = [TaskRow(np.zeros(n, np.int32), np.zeros(n, np.int32), 0) for n in (9, 10, 40, 100)]
    usual = RowBatches(rows, max_length=100, per_token=frozenset(), pad_id=0)
    plan = usual.longest_first(batch_size=1)
    fitted = usual.with_lengths(plan, batch_size=1, tokens_to_compile=10)
    assert [chosen.length for chosen in plan] == [100, 64, 32, 32]
    fitted_plan = fitted.longest_first(batch_size=1)
    assert [chosen.length for chosen in fitted_plan] == [100, 40, 16, 16]
    for before, after in zip(plan, fitted_plan, strict=True):
        np.testing.assert_array_equal(before.row_numbers, after.row_numbers)
    assert usual.longest_first(batch_size=1)[1].length == 64


def test_a_batch_that_was_not_planned_for_has_the_usual_length() -> None:
    rows = [TaskRow(np.zeros(n, np.int32), np.zeros(n, np.int32), 0) for n in (9, 40)]
    usual = RowBatches(rows, max_length=100, per_token=frozenset(), pad_id=0)
    plan = usual.longest_first(batch_size=1)[1:]
    fitted = usual.with_lengths(plan, batch_size=1, tokens_to_compile=0)
    assert [chosen.length for chosen in fitted.longest_first(batch_size=1)] == [64, 16]
