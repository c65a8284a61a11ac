"""Rows of a task in batches of like length. In: rows of any length. Out: `TaskBatch`es.

The order of an epoch is a function of (seed, epoch) alone, so that a resumed run finds its batch
without replaying any.
"""

import copy
import hashlib
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Int64

from spanbert_jax.data.batch import TaskBatch, TaskRow
from spanbert_jax.data.task_lengths import cheapest_lengths, padded_to
from spanbert_jax.errors import UserError

Order = Literal["bucketed", "random_sorted"]
# So many batches are shuffled together before they are sorted: neighbours in length, and no more.
_BATCHES_SORTED_TOGETHER = 50
_FILLER = -1
_TOKENS = ("token_ids", "segment_ids")


class Chosen(NamedTuple):
    """The rows of one batch."""

    row_numbers: Int64[np.ndarray, " rows"]
    length: int
    """That they are padded to."""


def padded_length(length: int, max_length: int) -> int:
    """The length a row is computed at: a multiple of 32, from 128 on of 64, as far as it goes.

    padded_length(20, 512) -> 32, padded_length(130, 512) -> 192, padded_length(99, 100) -> 100
    """
    step = 32 if length <= 128 else 64
    return min(-(-length // step) * step, max_length)


class RowBatches:
    """Batches of the same rows in the order of training, or once, longest first."""

    def __init__(
        self, rows: Sequence[TaskRow], *, max_length: int, per_token: frozenset[str], pad_id: int
    ) -> None:
        """per_token: fields that run over the tokens of a row.

        Raises:
            UserError: a row is longer than `max_length`.
        """
        self.rows = rows
        self._lengths = np.array([len(row.token_ids) for row in rows], np.int64)
        longest = int(self._lengths.max(initial=0))
        if longest > max_length:
            example = rows[int(self._lengths.argmax())].example
            raise UserError(
                f"--task.max-length {max_length}: a row of a task must not be longer, found one of "
                f"{longest} tokens, of example {example}; raise it, or cut the row where the task "
                "makes it"
            )
        self._max_length = max_length
        self._padded_to: tuple[int, ...] = ()
        self._per_token = per_token
        self._pad_id = pad_id

    @property
    def num_tokens(self) -> int:
        return int(self._lengths.sum())

    @property
    def num_full_rows(self) -> int:
        """Rows that leave no token free: what they were made of may be longer."""
        return int(np.sum(self._lengths == self._max_length))

    def with_lengths(
        self, plan: Sequence[Chosen], *, batch_size: int, tokens_to_compile: int
    ) -> "RowBatches":
        """The same rows, padded to the lengths that are cheapest for the batches of `plan`.

        tokens_to_compile: as of `cheapest_lengths`.
        """
        padded = copy.copy(self)
        padded._padded_to = cheapest_lengths(
            [self._longest(chosen.row_numbers) for chosen in plan], max_length=self._max_length,
            batch_size=batch_size, tokens_to_compile=tokens_to_compile,
        )  # fmt: skip
        return padded

    def epoch(self, epoch: int, *, batch_size: int, seed: int, order: Order) -> list[Chosen]:
        """The batches of an epoch: each row once; the last one may be smaller."""
        orders = {"bucketed": bucketed_order, "random_sorted": random_sorted_order}
        batches = orders[order](self._lengths, batch_size=batch_size, seed=seed, epoch=epoch)
        return [self.padded(row_numbers) for row_numbers in batches]

    def longest_first(self, *, batch_size: int) -> list[Chosen]:
        """All rows once, for evaluation: what memory it takes shows early."""
        by_length = np.argsort(-self._lengths, kind="stable")
        return [self.padded(each) for each in _cut(by_length, batch_size)]

    def by_tokens(self, batch_tokens: int) -> list[tuple[Chosen, int]]:
        """All rows once, longest first, in batches of about so many tokens; each batch with the
        number of rows that it is filled up to.

        Numbers of rows are powers of two, so that few shapes are compiled. A row less than half as
        long as the longest of a batch begins the next one, so that little is computed for nothing.

        Rows of 500, 40, 30 and 20 tokens, batch_tokens 8192 -> [0] of 512 tokens in 1 row,
        [1, 2, 3] of 64 tokens in 4 rows
        """
        order = np.argsort(-self._lengths, kind="stable")
        lengths = [padded_length(int(length), self._max_length) for length in self._lengths[order]]
        batches, first = [], 0
        while first < len(order):
            most = 1 << (max(1, batch_tokens // lengths[first]).bit_length() - 1)
            end = first + 1
            while end < min(first + most, len(order)) and 2 * lengths[end] >= lengths[first]:
                end += 1
            chosen = Chosen(order[first:end], lengths[first])
            batches.append((chosen, 1 << (end - first - 1).bit_length()))
            first = end
        return batches

    def batch(self, chosen: Chosen, *, batch_size: int) -> TaskBatch:
        """A batch of `batch_size` rows, those that are not chosen of padding alone."""
        return make_batch(
            [self.rows[number] for number in chosen.row_numbers], chosen, batch_size=batch_size,
            per_token=self._per_token, pad_id=self._pad_id,
        )  # fmt: skip

    def padded(self, row_numbers: Int64[np.ndarray, " rows"]) -> Chosen:
        """A batch of these rows, and the length that they are padded to."""
        longest = self._longest(row_numbers)
        # A part of an epoch was planned for, perhaps, of which this batch is none.
        fitted = padded_to(longest, self._padded_to)
        return Chosen(row_numbers, fitted or padded_length(longest, self._max_length))

    def _longest(self, row_numbers: Int64[np.ndarray, " rows"]) -> int:
        return int(self._lengths[row_numbers].max())

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over all rows, labels and other fields too: what a run was trained on."""
        digest = hashlib.sha256(self._lengths.tobytes())
        for row in self.rows:
            for name, value in (*zip(_TOKENS, row[:2], strict=True), *sorted(row.fields.items())):
                array = np.asarray(value)
                dtype = np.float32 if array.dtype.kind == "f" else np.int32
                digest.update(f"{name}{array.shape}".encode())
                digest.update(np.ascontiguousarray(array, dtype).tobytes())
        return digest.hexdigest()


def bucketed_order(
    lengths: Int64[np.ndarray, " rows"], *, batch_size: int, seed: int, epoch: int
) -> list[Int64[np.ndarray, " chosen"]]:
    """Rows of each batch: shuffled, sorted by length within some batches' worth, shuffled again.

    Lengths 9 1 8 2 in batches of 2 -> [[1, 3], [2, 0]] or [[2, 0], [1, 3]]
    """
    rng = np.random.default_rng((seed, epoch))
    shuffled = rng.permutation(len(lengths))
    batches = []
    for pool in _cut(shuffled, batch_size * _BATCHES_SORTED_TOGETHER):
        batches += _cut(pool[np.argsort(lengths[pool], kind="stable")], batch_size)
    return [batches[i] for i in rng.permutation(len(batches))]


def random_sorted_order(
    lengths: Int64[np.ndarray, " rows"], *, batch_size: int, seed: int, epoch: int
) -> list[Int64[np.ndarray, " chosen"]]:
    """Rows of each batch as the released scripts: sorted and cut once, only batches are shuffled.

    Lengths 9 1 8 2 in batches of 2 -> [[1, 3], [2, 0]] or [[2, 0], [1, 3]], for every seed
    """
    batches = _cut(np.argsort(lengths, kind="stable"), batch_size)
    rng = np.random.default_rng((seed, epoch))
    return [batches[i] for i in rng.permutation(len(batches))]


def _cut(numbers: Int64[np.ndarray, " rows"], size: int) -> list[Int64[np.ndarray, " part"]]:
    """_cut([5, 6, 7], 2) -> [[5, 6], [7]]"""
    return [numbers[first : first + size] for first in range(0, len(numbers), size)]


def make_batch(
    rows: Sequence[TaskRow],
    chosen: Chosen,
    *,
    batch_size: int,
    per_token: frozenset[str],
    pad_id: int,
) -> TaskBatch:
    """Pad `rows` to the chosen length, and the batch to `batch_size` rows.

    Rows of 2 and 3 tokens, length 4, batch_size 3 -> document_ids [[1, 1, 0, 0], [1, 1, 1, 0],
    [1, 0, 0, 0]], row_weights [1, 1, 0]
    """
    length = chosen.length
    token_ids = np.full((batch_size, length), pad_id, np.int32)
    segment_ids, document_ids = np.zeros_like(token_ids), np.zeros_like(token_ids)
    # A row of padding attends to something too: a softmax over nothing is no number.
    document_ids[len(rows) :, 0] = 1
    for i, row in enumerate(rows):
        size = len(row.token_ids)
        token_ids[i, :size], segment_ids[i, :size] = row.token_ids, row.segment_ids
        document_ids[i, :size] = 1
    row_weights = (np.arange(batch_size) < len(rows)).astype(np.int32)
    row_numbers = np.full(batch_size, _FILLER, np.int32)
    row_numbers[: len(rows)] = chosen.row_numbers
    fields = {
        name: _field(
            [row.fields[name] for row in rows], batch_size, length if name in per_token else 0
        )
        for name in rows[0].fields
    }
    positions = np.broadcast_to(np.arange(length, dtype=np.int32), token_ids.shape)
    return TaskBatch(
        token_ids, segment_ids, document_ids, positions, row_weights, row_numbers, fields
    )


def _field(values: list[Any], batch_size: int, length: int) -> np.ndarray:
    """Values of rows as one array, with zeros for rows and, up to `length`, for tokens of padding.

    [[1], [2, 3]], batch_size 2, length 2 -> [[1, 0], [2, 3]]; [4, 5], 3, 0 -> [4, 5, 0]
    """
    first = np.asarray(values[0])
    dtype = np.float32 if first.dtype.kind == "f" else np.int32
    shape = (length, *first.shape[1:]) if length else first.shape
    field = np.zeros((batch_size, *shape), dtype)
    for i, value in enumerate(values):
        if length:
            field[i, : len(value)] = value
        else:
            field[i] = value
    return field
