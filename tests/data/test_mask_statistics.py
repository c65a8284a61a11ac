"""What masks did is read off a batch: worked examples, and sums over real ones."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from spanbert_jax.config import MaskingConfig
from spanbert_jax.corpus.shards import read_manifest
from spanbert_jax.data.batch import PretrainBatch, empty_batch
from spanbert_jax.data.mask_statistics import (
    Kind,
    add_statistics,
    hidden_flags,
    hidden_spans,
    measure_masks,
    original_ids,
    rows_with_text,
    token_kinds,
    word_numbers,
)
from spanbert_jax.data.masking import Vocabulary
from spanbert_jax.data.pipeline import pretrain_dataset
from spanbert_jax.data.token_shards import open_token_shards

PAD, CLS, SEP, MASK = 0, 2, 3, 4


def vocabulary(*, no_starts: tuple[int, ...] = ()) -> Vocabulary:
    word_starts = np.ones(30, bool)
    word_starts[list(no_starts)] = False
    return Vocabulary(word_starts, np.arange(30), CLS, SEP, MASK, PAD)


def batch_of(
    rows: list[list[int]], targets: list[dict[int, int]], boundary: list[dict[int, int]] = ()
) -> PretrainBatch:
    """Padded rows; the token that stood at each hidden column; the weight of its boundary."""
    batch = empty_batch(len(rows), max(map(len, rows)) + 1, max(map(len, targets)) + 1)
    for i, row in enumerate(rows):
        batch.token_ids[i, : len(row)] = row
        batch.document_ids[i, : len(row)] = 1
        for slot, (column, token) in enumerate(targets[i].items()):
            batch.masked_positions[i, slot] = column
            batch.masked_ids[i, slot] = token
            batch.masked_weights[i, slot] = 1
            batch.boundary_weights[i, slot] = boundary[i].get(column, 0) if boundary else 0
    return batch


EXAMPLE = batch_of([[CLS, 11, MASK, MASK, 14, SEP]], [{2: 12, 3: 13}], [{2: 1, 3: 1}])


def test_the_example_of_measure_masks() -> None:
    found = measure_masks(EXAMPLE, vocabulary=vocabulary(no_starts=(13,)), replaced_by_span=True)
    counts = (found.num_rows, found.num_places, found.num_padding, found.num_tokens)
    assert tuple(map(int, counts)) == (1, 7, 1, 4)
    assert found.num_by_kind.tolist() == [2, 0, 0, 2]
    assert found.num_boundary_targets == 2
    assert (found.num_hidden, found.num_spans) == (2, 1)
    assert found.span_words.tolist() == [0, 1, 0, 0, 0, 0, 0, 0]
    assert found.span_tokens.tolist() == [0, 0, 1, 0, 0, 0, 0, 0]
    assert found.row_tokens.tolist() == [0, 0, 0, 0, 1, 0, 0, 0]


def test_the_examples_of_hidden_flags_and_original_ids() -> None:
    assert hidden_flags(EXAMPLE).astype(int).tolist() == [[0, 0, 1, 1, 0, 0, 0]]
    assert original_ids(EXAMPLE).tolist() == [[CLS, 11, 12, 13, 14, SEP, PAD]]


def test_the_example_of_hidden_spans() -> None:
    rows = [[CLS, MASK, MASK, 9, MASK, SEP], [CLS, MASK, SEP]]
    found = hidden_spans(batch_of(rows, [{1: 7, 2: 7, 4: 7}, {1: 8}]))
    assert [field.tolist() for field in found] == [[0, 0, 1], [1, 4, 1], [2, 4, 1]]


def test_the_example_of_word_numbers() -> None:
    ids = np.array([[2, 7, 5, 7, 3]])
    is_text = np.array([[False, True, True, True, False]])
    words = word_numbers(ids, is_text=is_text, word_starts=vocabulary(no_starts=(7,)).word_starts)
    assert words.tolist() == [[1, 2, 3, 3, 4]]


def test_a_span_that_ends_with_a_segment_is_another_than_the_one_that_begins_the_next() -> None:
    row = [CLS, 11, MASK, SEP, CLS, MASK, 14, SEP]
    found = hidden_spans(batch_of([row], [{2: 12, 5: 13}]))
    assert (found.first.tolist(), found.last.tolist()) == ([2, 5], [2, 5])


def test_kinds_are_told_by_what_stands_in_the_place_of_a_token() -> None:
    row = [CLS, MASK, 11, 20, 12, 13, SEP]
    batch = batch_of([row], [{1: 10, 3: 21, 5: 13}])
    kinds = token_kinds(batch, mask_id=MASK, replaced_by_span=True)
    assert kinds[0].tolist() == [0, Kind.MASK, 0, Kind.RANDOM, 0, Kind.KEPT, 0, 0]


@pytest.mark.parametrize(("by_span", "expected"), [(True, Kind.RANDOM), (False, Kind.KEPT)])
def test_a_random_token_that_stood_there_anyway_is_told_by_its_span(by_span, expected) -> None:
    batch = batch_of([[CLS, 20, 11, 12, SEP]], [{1: 21, 2: 11}])
    kinds = token_kinds(batch, mask_id=MASK, replaced_by_span=by_span)
    assert kinds[0, 2] == expected
    assert kinds[0, [0, 3, 4]].tolist() == [0, 0, 0]


def test_rows_that_fill_up_a_batch_are_left_out_and_no_more_rows_are_read_than_asked_for() -> None:
    full = batch_of([[CLS, MASK, SEP], [CLS, SEP], [CLS, MASK, SEP]], [{1: 10}, {}, {1: 11}])
    read = []

    def batches():
        for number in itertools.count():
            read.append(number)
            yield full

    rows = list(rows_with_text(batches(), num_rows=3))
    assert [part.masked_ids[:, 0].tolist() for part in rows] == [[10, 11], [10]]
    assert read == [0, 1]
    assert list(rows_with_text([full], num_rows=9))[0].masked_ids[:, 0].tolist() == [10, 11]


@pytest.mark.parametrize("scheme", ["geometric_span", "subword"])
def test_the_sums_over_a_corpus_fit_together(shards_folder: Path, scheme: str) -> None:
    shards = open_token_shards(shards_folder, sequence_length=64)
    config = MaskingConfig(scheme=scheme)
    dataset = pretrain_dataset(
        shards, masking=config, batch_size=16, max_boundary_offsets=15, seed=0, num_epochs=1
    )
    how = dict(vocabulary=shards.vocabulary, replaced_by_span=scheme != "subword")
    batches = list(rows_with_text(dataset.as_numpy_iterator(), num_rows=10**6))
    found = add_statistics([measure_masks(batch, **how) for batch in batches])
    assert found.num_rows == shards.num_blocks
    assert found.num_places == 64 * shards.num_blocks
    assert found.num_tokens + found.num_padding + 2 * found.num_rows == found.num_places
    assert found.num_tokens == found.num_by_kind.sum()
    assert found.num_tokens == read_manifest(shards_folder).totals["train"]["num_tokens"]
    rows = np.arange(65)
    assert found.num_hidden == found.span_tokens @ rows
    assert found.num_hidden == found.row_tokens @ [config.budget(int(n)) for n in rows]
    assert found.span_words.sum() == found.num_spans
    assert found.span_words @ rows <= found.num_hidden
    assert found.num_by_kind[Kind.MASK] / found.num_hidden == pytest.approx(0.8, abs=0.06)
