"""What a split of a task is told by."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from spanbert_jax.data.batch import TaskRow
from spanbert_jax.data.task_batches import RowBatches
from spanbert_jax.tasks.question_answering.question import Question
from spanbert_jax.tasks.splits import TaskSplit


@dataclasses.dataclass(frozen=True, slots=True)
class Labelled:
    text: str
    label: Any = None


class Opaque:
    """Whose text names an address in memory."""


def fingerprint(*examples: Any) -> str:
    ids = np.arange(3, dtype=np.int32)
    rows = [TaskRow(ids, np.zeros_like(ids), number, {}, None) for number in range(len(examples))]
    batches = RowBatches(rows, max_length=8, per_token=frozenset(), pad_id=0)
    return TaskSplit(examples, batches).fingerprint


@pytest.mark.parametrize(
    "example, other",
    [
        ({"text": "a", "label": "yes"}, {"text": "a", "label": "no"}),
        (Labelled("a", "yes"), Labelled("a", "no")),
        (Labelled("a", np.arange(2)), Labelled("a", np.arange(3))),
        (Labelled("a", {"x", "y"}), Labelled("a", {"x", "z"})),
        (Question("q", "who ?", "ada", ("ada",)), Question("q", "who ?", "ada", ("a",))),
    ],
)
def test_a_fingerprint_tells_examples_apart_whose_rows_are_the_same(example, other):
    assert fingerprint(example) == fingerprint(example)
    assert fingerprint(example) != fingerprint(other)


def test_a_fingerprint_does_not_depend_on_where_an_example_lies_in_memory():
    assert fingerprint(Labelled("a", Opaque())) == fingerprint(Labelled("a", Opaque()))
