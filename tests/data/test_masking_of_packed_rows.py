"""Rows of many segments: each is masked as if it were alone, and neighbours do not matter."""

import numpy as np
import pytest

from spanbert_jax.config import MaskingConfig
from spanbert_jax.data import masking
from spanbert_jax.data.batch import NO_PAIR, PretrainBatch
from spanbert_jax.data.host_tensorflow import tf
from spanbert_jax.data.masking import RowBatch, Vocabulary, mask_rows
from spanbert_jax.data.random_bits import fold_in

PAD, CLS, SEP, MASK, VOCAB_SIZE = 0, 1, 2, 3, 500
Rows = list[list[np.ndarray]]
"""Token ids of the runs of each row."""


def vocabulary() -> Vocabulary:
    rng = np.random.default_rng(0)
    counts = np.cumsum(rng.integers(1, 100, VOCAB_SIZE))
    return Vocabulary(rng.random(VOCAB_SIZE) < 0.7, counts, CLS, SEP, MASK, PAD)


def pack(rows: Rows, *, length: int) -> RowBatch:
    """[CLS] run [SEP] after [CLS] run [SEP]; positions restart."""
    grids = np.zeros((3, len(rows), length), np.int32)
    segments = []
    for i, runs in enumerate(rows):
        column = 0
        for number, run in enumerate(runs):
            end = column + len(run) + 2
            grids[0, i, column:end] = [CLS, *run, SEP]
            grids[1, i, column:end] = number + 1
            grids[2, i, column:end] = np.arange(len(run) + 2)
            segments.append([i * length + column + 1, len(run), i, number])
            column = end
    fields = np.array(segments, np.int32).T
    none = np.zeros(0, np.int32)
    label, splits = np.full(len(rows), NO_PAIR, np.int32), np.zeros(len(segments) + 1, np.int32)
    return RowBatch(
        *map(tf.constant, [*grids, np.zeros_like(grids[0]), *fields, label, none, none, splits])
    )


def random_rows(seed: int, *, num_rows: int, length: int) -> Rows:
    """Rows filled up with runs of 1 to `length - 2` tokens, most of them short."""
    rng = np.random.default_rng(seed)
    rows: Rows = [[] for _ in range(num_rows)]
    for row in rows:
        room = length
        while room >= 3:
            num_tokens = min(int(rng.pareto(1.0) * 8) + 1, room - 2)
            row.append(rng.integers(4, VOCAB_SIZE, num_tokens))
            room -= num_tokens + 2
    return rows


def mask(rows: Rows, seeds: tf.Tensor, *, length: int, **how) -> PretrainBatch:
    config = MaskingConfig(**how)
    budgets = [sum(config.budget(len(run)) for run in row) for row in rows]
    batch = mask_rows(
        pack(rows, length=length), seeds=seeds, vocabulary=vocabulary(), config=config,
        num_predictions=max(budgets), max_boundary_offsets=15,
    )  # fmt: skip
    return PretrainBatch(*(field.numpy() for field in batch))


def test_the_example_of_mask_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masking, "hidden_positions", lambda *_, **__: tf.constant([2, 3, 8]))
    batch = mask_rows(
        pack([[np.array([11, 12, 13, 14]), np.array([15, 16])]], length=10),
        seeds=tf.constant([0], tf.uint64), vocabulary=vocabulary(), num_predictions=4,
        config=MaskingConfig(mask_ratio=0.5, mask_token_prob=1.0, random_token_prob=0.0),
        max_boundary_offsets=15,
    )  # fmt: skip
    expected = PretrainBatch(
        token_ids=[[CLS, 11, MASK, MASK, 14, SEP, CLS, 15, MASK, SEP]],
        segment_ids=[[0] * 10],
        document_ids=[[1] * 6 + [2] * 4],
        position_ids=[[0, 1, 2, 3, 4, 5, 0, 1, 2, 3]],
        masked_positions=[[2, 3, 8, 0]],
        masked_ids=[[12, 13, 16, 0]],
        masked_weights=[[1, 1, 1, 0]],
        boundary_left=[[1, 1, 0, 0]],
        boundary_right=[[4, 4, 0, 0]],
        boundary_offset=[[0, 1, 0, 0]],
        boundary_weights=[[1, 1, 0, 0]],
        next_sentence_label=[NO_PAIR],
    )
    for name, field in expected._asdict().items():
        assert getattr(batch, name).numpy().tolist() == field, name


@pytest.mark.parametrize("scheme", ["geometric_span", "whole_word", "subword"])
def test_each_run_is_masked_as_if_it_were_a_row_of_its_own(scheme: str) -> None:
    length = 64
    rows = random_rows(1, num_rows=60, length=length)
    seeds = tf.cast(tf.range(60), tf.uint64)
    packed = mask(rows, seeds, length=length, scheme=scheme)
    places = [(i, number) for i, row in enumerate(rows) for number in range(len(row))]
    # A run that is alone in its row has the seed of the row.
    run_seeds = [
        seeds[i] if len(rows[i]) == 1 else fold_in(seeds[i], tf.constant(number))
        for i, number in places
    ]
    single: Rows = [[rows[i][number]] for i, number in places]
    alone = mask(single, tf.stack(run_seeds), length=length, scheme=scheme)
    slots, column = np.zeros(60, int), 0
    for run, (i, number) in enumerate(places):
        column = 0 if number == 0 else column
        num_tokens, num_slots = len(rows[i][number]) + 2, int(alone.masked_weights[run].sum())
        np.testing.assert_array_equal(
            packed.token_ids[i, column : column + num_tokens], alone.token_ids[run, :num_tokens]
        )
        here = slice(slots[i], slots[i] + num_slots)
        for name in PretrainBatch._fields[4:-1]:
            expected = getattr(alone, name)[run, :num_slots]
            if name in ("masked_positions", "boundary_left", "boundary_right"):
                # Zeros stay: they are no positions.
                expected = np.where(expected > 0, expected + column, 0)
            np.testing.assert_array_equal(getattr(packed, name)[i, here], expected, err_msg=name)
        slots[i] += num_slots
        column += num_tokens
    np.testing.assert_array_equal(slots, packed.masked_weights.sum(axis=1))


@pytest.mark.parametrize("part", [[7], [30, 2, 19]])
def test_a_packed_row_is_masked_the_same_whatever_rows_stand_beside_it(part: list[int]) -> None:
    rows, seeds = random_rows(2, num_rows=40, length=128), tf.cast(tf.range(40), tf.uint64)
    whole = mask(rows, seeds, length=128)
    some = mask([rows[i] for i in part], tf.gather(seeds, part), length=128)
    num_slots = some.masked_ids.shape[1]
    for name, field in some._asdict().items():
        expected = getattr(whole, name)[part]
        expected = expected[:, :num_slots] if name in PretrainBatch._fields[4:-1] else expected
        np.testing.assert_array_equal(field, expected, err_msg=name)


def test_neither_cls_nor_sep_nor_padding_is_ever_hidden_or_a_boundary() -> None:
    rows = random_rows(3, num_rows=300, length=96)
    before = pack(rows, length=96).token_ids.numpy()
    batch = mask(rows, tf.cast(tf.range(300), tf.uint64), length=96, mask_ratio=0.5)
    is_target = batch.masked_weights == 1
    assert np.all(batch.masked_ids[is_target] > MASK)
    has_boundary = batch.boundary_weights == 1
    assert has_boundary.sum() > 1_000
    for positions in (batch.boundary_left, batch.boundary_right):
        seen = np.take_along_axis(batch.token_ids, positions, axis=1)[has_boundary]
        original = np.take_along_axis(before, positions, axis=1)[has_boundary]
        assert np.all(original > MASK)
        np.testing.assert_array_equal(seen, original)
        np.testing.assert_array_equal(
            np.take_along_axis(batch.document_ids, positions, axis=1)[has_boundary],
            np.take_along_axis(batch.document_ids, batch.masked_positions, axis=1)[has_boundary],
        )


def test_one_graph_masks_batches_of_any_number_of_segments() -> None:
    signature = tuple(
        tf.TensorSpec([8, 32] if field.shape.rank == 2 else [None], tf.int32)
        for field in pack(random_rows(4, num_rows=8, length=32), length=32)
    )

    @tf.function(autograph=False, input_signature=[*signature, tf.TensorSpec([8], tf.uint64)])
    def graph(*fields: tf.Tensor) -> PretrainBatch:
        return mask_rows(
            RowBatch(*fields[:-1]), seeds=fields[-1], vocabulary=vocabulary(),
            config=MaskingConfig(), num_predictions=12, max_boundary_offsets=15,
        )  # fmt: skip

    seeds = tf.cast(tf.range(8), tf.uint64)
    for seed in (4, 5):
        rows = random_rows(seed, num_rows=8, length=32)
        batch = graph(*pack(rows, length=32), seeds)
        expected = mask(rows, seeds, length=32)
        assert batch.masked_ids.shape == (8, 12)
        np.testing.assert_array_equal(batch.token_ids, expected.token_ids)
