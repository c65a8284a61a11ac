"""Rows: texts and special tokens at their places, and the segments in them."""

import numpy as np
import pytest

from spanbert_jax.corpus.pieces import Shard
from spanbert_jax.data.blocks import Rows
from spanbert_jax.data.masking import RowBatch, Vocabulary
from spanbert_jax.data.rows import empty_rows, join, lay_out

PAD, CLS, SEP = 0, 1, 2
VOCABULARY = Vocabulary(np.ones(20, bool), np.arange(20), CLS, SEP, 3, PAD)
# 11 12 13 | 14 15, with the spans 12 13, 13, 14 15 and one across both.
TEXT = Shard(
    np.array([11, 12, 13, 14, 15], np.uint16), np.array([3, 5]), np.array([1, 2]),
    np.array([[1, 3], [2, 3], [2, 4], [3, 5]]),
)  # fmt: skip
BOTH = Rows(np.array([0, 2]), np.array([0, 3]), np.array([3, 2]))


def rows(runs: Rows, blocks: str) -> RowBatch:
    labels = np.zeros(len(runs.row_splits) - 1, np.int32)
    return lay_out(
        TEXT, runs, next_sentence_label=labels, blocks=blocks, sequence_length=9,
        vocabulary=VOCABULARY,
    )  # fmt: skip


def assert_fields(found: RowBatch, **expected: list) -> None:
    for name, values in expected.items():
        field = getattr(found, name)
        assert field.dtype == np.int32, name
        assert field.tolist() == values, name


def test_two_segments_of_a_sentence_pair() -> None:
    assert_fields(
        rows(BOTH, "sentence_pair"),
        token_ids=[[CLS, 11, 12, 13, SEP, 14, 15, SEP, PAD]],
        document_ids=[[1] * 8 + [0]],
        position_ids=[list(range(9))],
        segment_ids=[[0, 0, 0, 0, 0, 1, 1, 1, 0]],
        segment_start=[1, 5], segment_length=[3, 2], segment_row=[0, 0], segment_number=[0, 1],
        tag_start=[2, 3, 5], tag_end=[4, 4, 7], tag_splits=[0, 2, 3],
    )  # fmt: skip


def test_two_documents_packed_into_a_row() -> None:
    assert_fields(
        rows(BOTH, "packed"),
        token_ids=[[CLS, 11, 12, 13, SEP, CLS, 14, 15, SEP]],
        document_ids=[[1] * 5 + [2] * 4],
        position_ids=[[0, 1, 2, 3, 4, 0, 1, 2, 3]],
        segment_ids=[[0] * 9],
        segment_start=[1, 6], segment_length=[3, 2], segment_row=[0, 0], segment_number=[0, 1],
        tag_start=[2, 3, 6], tag_end=[4, 4, 8], tag_splits=[0, 2, 3],
    )  # fmt: skip


def test_two_runs_of_a_block_are_one_segment() -> None:
    assert_fields(
        rows(BOTH, "document"),
        token_ids=[[CLS, 11, 12, 13, 14, 15, SEP, PAD, PAD]],
        document_ids=[[1] * 7 + [0, 0]],
        position_ids=[list(range(9))],
        segment_ids=[[0] * 9],
        segment_start=[1], segment_length=[5], segment_row=[0], segment_number=[0],
        tag_start=[2, 3, 4], tag_end=[4, 4, 6], tag_splits=[0, 3],
    )  # fmt: skip


def test_spans_that_a_run_cuts_are_left_out() -> None:
    cut = Rows(np.array([0, 1, 2]), np.array([0, 2]), np.array([2, 2]))
    # Of four spans 13, which is whole in the second run, and the one across both sentences.
    assert_fields(rows(cut, "document"), tag_start=[10, 10], tag_end=[11, 12], tag_splits=[0, 0, 2])


@pytest.mark.parametrize("blocks", ["document", "packed", "sentence_pair"])
def test_batches_are_joined_as_if_they_had_been_laid_out_together(blocks: str) -> None:
    once = BOTH if blocks != "document" else Rows(np.array([0, 1]), BOTH.start[:1], BOTH.length[:1])
    runs_in_row = len(once.start)
    twice = Rows(np.arange(3) * runs_in_row, np.tile(once.start, 2), np.tile(once.length, 2))
    joined = join([rows(once, blocks), rows(once, blocks)])
    for name, field in rows(twice, blocks)._asdict().items():
        assert_fields(joined, **{name: field.tolist()})


@pytest.mark.parametrize("blocks", ["document", "packed", "sentence_pair"])
def test_rows_without_text_have_segments_without_tokens(blocks: str) -> None:
    runs_in_row = 2 if blocks == "sentence_pair" else 1
    found = rows(empty_rows(3, runs_in_row=runs_in_row), blocks)
    assert found.token_ids[:, :3].tolist() == [[CLS, SEP, SEP if runs_in_row == 2 else PAD]] * 3
    assert found.segment_length.tolist() == [0] * 3 * runs_in_row
    assert found.segment_row.tolist() == np.repeat(np.arange(3), runs_in_row).tolist()
