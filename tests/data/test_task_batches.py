"""Rows of a task in batches: each row once an epoch, by (seed, epoch), little padded."""

import numpy as np
import pytest

from spanbert_jax.data.batch import TaskRow
from spanbert_jax.data.task_batches import (
    RowBatches,
    bucketed_order,
    padded_length,
    random_sorted_order,
)
from spanbert_jax.errors import UserError


def row(length: int, **fields: object) -> TaskRow:
    ids = np.arange(5, 5 + length, dtype=np.int32)
    return TaskRow(ids, np.zeros_like(ids), example=0, fields=dict(fields))


def batches_of(lengths: list[int], **options: object) -> RowBatches:
    rows = [row(length, label=number) for number, length in enumerate(lengths)]
    return RowBatches(rows, max_length=512, per_token=frozenset(), pad_id=0, **options)


def test_lengths_are_padded_as_the_docstring_says() -> None:
    padded = [padded_length(20, 512), padded_length(130, 512), padded_length(99, 100)]
    assert padded == [32, 192, 100]


def test_a_batch_is_padded_to_its_length_and_to_its_size() -> None:
    rows = [row(2, label=7, tags=np.array([1, 2])), row(3, label=8, tags=np.array([3, 4, 5]))]
    batches = RowBatches(rows, max_length=4, per_token=frozenset({"tags"}), pad_id=9)
    (chosen,) = batches.longest_first(batch_size=3)
    batch = batches.batch(chosen, batch_size=3)
    assert batch.token_ids.tolist() == [[5, 6, 7, 9], [5, 6, 9, 9], [9, 9, 9, 9]]
    assert batch.document_ids.tolist() == [[1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0]]
    assert batch.position_ids.tolist() == [[0, 1, 2, 3]] * 3
    assert batch.row_weights.tolist() == [1, 1, 0]
    assert batch.row_numbers.tolist() == [1, 0, -1]
    assert batch.fields["label"].tolist() == [8, 7, 0]
    assert batch.fields["tags"].tolist() == [[3, 4, 5, 0], [1, 2, 0, 0], [0, 0, 0, 0]]
    assert {array.dtype for array in batch[:6]} == {np.dtype(np.int32)}


def test_fields_of_fractions_stay_fractions() -> None:
    batches = RowBatches(
        [row(2, score=0.5), row(2, score=1.5)], max_length=8, per_token=frozenset(), pad_id=0
    )
    (chosen,) = batches.longest_first(batch_size=2)
    scores = batches.batch(chosen, batch_size=2).fields["score"]
    assert scores.dtype == np.float32
    assert scores.tolist() == [0.5, 1.5]


@pytest.mark.parametrize("order", ["bucketed", "random_sorted"])
@pytest.mark.parametrize("num_rows", [1, 7, 32, 1_000])
def test_every_row_is_in_one_batch_of_an_epoch(order: str, num_rows: int) -> None:
    lengths = np.random.default_rng(0).integers(3, 300, num_rows).tolist()
    epoch = batches_of(lengths).epoch(0, batch_size=8, seed=1, order=order)
    assert len(epoch) == -(-num_rows // 8)
    assert sorted(number for chosen in epoch for number in chosen.row_numbers) == [*range(num_rows)]
    for chosen in epoch:
        longest = max(lengths[number] for number in chosen.row_numbers)
        assert chosen.length == padded_length(longest, 512)


def test_the_order_is_a_function_of_seed_and_epoch() -> None:
    batches = batches_of(np.random.default_rng(0).integers(3, 300, 500).tolist())

    def numbers(**options: object) -> list[list[int]]:
        epoch = batches.epoch(batch_size=8, order="bucketed", **options)
        return [chosen.row_numbers.tolist() for chosen in epoch]

    assert numbers(epoch=3, seed=1) == numbers(epoch=3, seed=1)
    assert numbers(epoch=3, seed=1) != numbers(epoch=4, seed=1)
    assert numbers(epoch=3, seed=1) != numbers(epoch=3, seed=2)
    by_length = [sorted(batch) for batch in numbers(epoch=3, seed=1)]
    assert sorted(by_length) != sorted(sorted(batch) for batch in numbers(epoch=4, seed=1))


def test_the_released_order_shuffles_batches_and_never_their_rows() -> None:
    lengths = np.array([9, 1, 8, 2])
    seen = set()
    for epoch in range(20):
        batches = random_sorted_order(lengths, batch_size=2, seed=0, epoch=epoch)
        assert sorted(map(list, batches)) == [[1, 3], [2, 0]]
        seen.add(tuple(map(tuple, batches)))
    assert len(seen) == 2


def test_rows_of_like_length_share_a_batch() -> None:
    lengths = np.random.default_rng(0).integers(3, 500, 4_000)
    padded = sum(
        len(batch) * padded_length(int(lengths[batch].max()), 512)
        for batch in bucketed_order(lengths, batch_size=32, seed=0, epoch=0)
    )
    assert padded < 1.15 * lengths.sum()


def test_evaluation_sees_the_longest_rows_first() -> None:
    chosen = batches_of([3, 90, 40, 10]).longest_first(batch_size=2)
    assert [(each.row_numbers.tolist(), each.length) for each in chosen] == [
        ([1, 2], 96), ([3, 0], 32),
    ]  # fmt: skip


def test_other_tokens_have_another_fingerprint() -> None:
    same, other = batches_of([3, 4]), batches_of([4, 3])
    assert batches_of([3, 4]).fingerprint == same.fingerprint != other.fingerprint


def test_a_row_that_is_too_long_is_refused_with_its_example() -> None:
    assert batches_of([512, 3]).num_full_rows == 1
    with pytest.raises(UserError, match="--task.max-length 512: .* found one of 513 tokens, of ex"):
        batches_of([3, 513])


def test_batches_of_a_number_of_tokens_are_as_the_docstring_says() -> None:
    batches = batches_of([500, 40, 30, 20]).by_tokens(8_192)
    found = [(chosen.row_numbers.tolist(), chosen.length, rows) for chosen, rows in batches]
    assert found == [([0], 512, 1), ([1, 2, 3], 64, 4)]


@pytest.mark.parametrize("num_rows", [0, 1, 7, 1_000])
def test_every_row_is_in_one_batch_of_few_shapes_within_the_tokens(num_rows: int) -> None:
    lengths = np.random.default_rng(0).integers(3, 512, num_rows).tolist()
    batches = batches_of(lengths).by_tokens(2_048)
    seen = [number for chosen, _ in batches for number in chosen.row_numbers.tolist()]
    assert sorted(seen) == list(range(num_rows))
    for chosen, rows in batches:
        assert len(chosen.row_numbers) <= rows and rows * chosen.length <= 2_048
        assert max(lengths[number] for number in chosen.row_numbers) <= chosen.length
    assert len({(chosen.length, rows) for chosen, rows in batches}) <= 12


def test_other_labels_have_another_fingerprint() -> None:
    one, other = (
        RowBatches([row(3, label=label)], max_length=8, per_token=frozenset(), pad_id=0)
        for label in (0, 1)
    )
    assert one.fingerprint != other.fingerprint
