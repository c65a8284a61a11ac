"""Masks hide what their law says: worked examples, and properties over many rows."""

import numpy as np
import pytest

from spanbert_jax.config import MaskingConfig
from spanbert_jax.corpus.pieces import Shard
from spanbert_jax.data import masking, spans
from spanbert_jax.data.batch import NO_PAIR, PretrainBatch
from spanbert_jax.data.blocks import Rows
from spanbert_jax.data.host_tensorflow import tf
from spanbert_jax.data.masking import (
    RowBatch,
    Vocabulary,
    fill_slots,
    find_runs,
    mask_rows,
    random_tokens,
    segment_seeds,
)
from spanbert_jax.data.random_bits import fold_in
from spanbert_jax.data.rows import lay_out
from spanbert_jax.data.spans import (
    Segments,
    Spans,
    Tags,
    budgets,
    draw_spans,
    find_words,
    span_length_law,
    taken_draws,
)

PAD, CLS, SEP, MASK = 0, 1, 2, 3
VOCAB_SIZE, WIDTH, NUM_ROWS = 500, 126, 512
SCHEMES = ["geometric_span", "uniform_span", "whole_word", "subword", "tagged_span"]


def vocabulary() -> Vocabulary:
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 100, VOCAB_SIZE)
    counts[: MASK + 1] = 0
    return Vocabulary(
        word_starts=rng.random(VOCAB_SIZE) < 0.7, cumulative_counts=np.cumsum(counts),
        cls_id=CLS, sep_id=SEP, mask_id=MASK, pad_id=PAD,
    )  # fmt: skip


def random_blocks(num_rows: int = NUM_ROWS) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    lengths = rng.integers(1, WIDTH + 1, num_rows).astype(np.int32)
    block_ids = rng.integers(4, VOCAB_SIZE, (num_rows, WIDTH)).astype(np.int32)
    return np.where(np.arange(WIDTH) < lengths[:, None], block_ids, PAD), lengths


def mask(block_ids: np.ndarray, *, lengths: np.ndarray, seeds: np.ndarray, **how) -> PretrainBatch:
    config = MaskingConfig(**how)
    num_rows, width = block_ids.shape
    rows = lay_out(
        Shard(block_ids.ravel(), *(np.zeros(0, np.int64),) * 2),
        Rows(np.arange(num_rows + 1), np.arange(num_rows) * width, lengths.astype(np.int64)),
        next_sentence_label=np.full(len(lengths), NO_PAIR, np.int32), blocks="document",
        sequence_length=width + 2, vocabulary=vocabulary(),
    )  # fmt: skip
    batch = mask_rows(
        RowBatch(*map(tf.constant, rows)),
        seeds=tf.constant(seeds, tf.uint64),
        vocabulary=vocabulary(),
        config=config,
        num_predictions=config.num_predictions(block_ids.shape[1] + 2),
        max_boundary_offsets=15,
    )
    return PretrainBatch(*(field.numpy() for field in batch))


def masked_columns(batch: PretrainBatch) -> np.ndarray:
    """Which positions of the rows are targets."""
    flags = np.zeros(batch.token_ids.shape, bool)
    row, slot = np.nonzero(batch.masked_weights)
    flags[row, batch.masked_positions[row, slot]] = True
    return flags


@pytest.fixture(scope="module", params=SCHEMES)
def masked(request: pytest.FixtureRequest) -> tuple[np.ndarray, np.ndarray, PretrainBatch]:
    block_ids, lengths = random_blocks()
    seeds = np.arange(NUM_ROWS)
    return block_ids, lengths, mask(block_ids, lengths=lengths, seeds=seeds, scheme=request.param)


def test_a_block_with_two_hidden_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masking, "hidden_positions", lambda *_, **__: tf.constant([2, 3]))
    batch = mask(
        np.array([[11, 12, 13, 14, 0]], np.int32), lengths=np.array([4], np.int32),
        seeds=np.array([0]), mask_ratio=0.4, mask_token_prob=1.0, random_token_prob=0.0,
    )  # fmt: skip
    assert batch.token_ids.tolist() == [[CLS, 11, MASK, MASK, 14, SEP, PAD]]
    assert batch.segment_ids.tolist() == [[0] * 7]
    assert batch.document_ids.tolist() == [[1, 1, 1, 1, 1, 1, 0]]
    assert batch.position_ids.tolist() == [[0, 1, 2, 3, 4, 5, 6]]
    assert batch.masked_positions.tolist() == [[2, 3]]
    assert batch.masked_ids.tolist() == [[12, 13]]
    assert batch.masked_weights.tolist() == [[1, 1]]
    assert batch.boundary_left.tolist() == [[1, 1]]
    assert batch.boundary_right.tolist() == [[4, 4]]
    assert batch.boundary_offset.tolist() == [[0, 1]]
    assert batch.boundary_weights.tolist() == [[1, 1]]


def test_the_example_of_segment_seeds() -> None:
    seeds = tf.constant([5, 6], tf.uint64)
    found = segment_seeds(seeds, row=tf.constant([0, 1, 1]), number=tf.constant([0, 0, 1]))
    assert found.numpy().tolist() == [5, *(int(fold_in(seeds[1], tf.constant(i))) for i in (0, 1))]


def test_the_example_of_find_words() -> None:
    word_starts = tf.constant([True] * 7 + [False] * 2)
    words = find_words(
        tf.constant([[5, 7, 8], [7, 5, 5]]),
        segment_starts=tf.constant([0, 3]),
        word_starts=word_starts,
    )
    assert words.numpy().tolist() == [0, 3, 4, 5, 6]


def test_the_example_of_taken_draws() -> None:
    drawn = Spans(tf.constant([[0, 2, 1]]), tf.constant([[2, 5, 4]]))
    taken = taken_draws(drawn, are_free=tf.ones([1, 3], tf.bool))
    assert taken.numpy().tolist() == [[True, True, False]]


def test_a_draw_that_is_not_taken_blocks_no_other() -> None:
    drawn = Spans(tf.constant([[0, 1, 3]]), tf.constant([[2, 4, 5]]))
    taken = taken_draws(drawn, are_free=tf.ones([1, 3], tf.bool))
    assert taken.numpy().tolist() == [[True, False, True]]


def test_the_example_of_find_runs() -> None:
    hidden = find_runs(tf.constant([1, 2, 5, 7]), counts=tf.constant([3, 1]))
    assert [field.numpy().tolist() for field in hidden] == [
        [1, 2, 5, 7], [0, 0, 0, 1], [1, 1, 5, 7], [2, 2, 5, 7],
    ]  # fmt: skip


def test_the_example_of_fill_slots() -> None:
    (slots,) = fill_slots([tf.constant([7, 8, 9])], counts=tf.constant([1, 2]), num_slots=2)
    assert slots.numpy().tolist() == [[7, 0], [8, 9]]


def test_the_example_of_span_length_law() -> None:
    law = span_length_law(MaskingConfig(geometric_p=0.5, max_span_words=2))
    np.testing.assert_allclose(law, [2 / 3, 1.0])


def test_mean_span_length_is_the_papers() -> None:
    law = np.diff(span_length_law(MaskingConfig()), prepend=0.0)
    assert np.sum(law * np.arange(1, 11)) == pytest.approx(3.797, abs=5e-4)


def test_the_example_of_budgets() -> None:
    lengths = tf.constant([510, 126, 1, 0])
    assert budgets(lengths, mask_ratio=0.15).numpy().tolist() == [77, 19, 1, 0]


def test_budgets_are_not_raised_by_rounding() -> None:
    assert budgets(tf.constant([100]), mask_ratio=0.07).numpy().tolist() == [7]


def test_budgets_are_exact_for_every_length() -> None:
    lengths = np.arange(1025, dtype=np.int32)
    actual = budgets(tf.constant(lengths), mask_ratio=0.15)
    np.testing.assert_array_equal(actual, (15 * lengths + 99) // 100)
    assert [MaskingConfig().num_predictions(n + 2) for n in (126, 510)] == [19, 77]


def test_every_row_hides_exactly_its_budget(
    masked: tuple[np.ndarray, np.ndarray, PretrainBatch],
) -> None:
    _, lengths, batch = masked
    np.testing.assert_array_equal(batch.masked_weights.sum(axis=1), (15 * lengths + 99) // 100)
    np.testing.assert_array_equal(masked_columns(batch).sum(axis=1), (15 * lengths + 99) // 100)


def test_targets_are_the_original_tokens_and_the_rest_of_the_row_is_untouched(
    masked: tuple[np.ndarray, np.ndarray, PretrainBatch],
) -> None:
    block_ids, _, batch = masked
    flags = masked_columns(batch)[:, 1:-1]
    np.testing.assert_array_equal(batch.token_ids[:, 1:-1][~flags & (block_ids > 0)],
                                  block_ids[~flags & (block_ids > 0)])  # fmt: skip
    np.testing.assert_array_equal(block_ids[flags], batch.masked_ids[batch.masked_weights == 1])


def test_boundaries_are_the_observed_neighbours_of_the_run_inside_the_block(
    masked: tuple[np.ndarray, np.ndarray, PretrainBatch],
) -> None:
    _, lengths, batch = masked
    flags = masked_columns(batch)
    for i, slot in zip(*np.nonzero(batch.masked_weights), strict=True):
        first = last = batch.masked_positions[i, slot]
        while flags[i, first - 1]:
            first -= 1
        while flags[i, last + 1]:
            last += 1
        offset = batch.masked_positions[i, slot] - first
        is_target = first > 1 and last < lengths[i] and offset < 15
        assert batch.boundary_weights[i, slot] == is_target
        expected = (first - 1, last + 1, offset) if is_target else (0, 0, 0)
        fields = (batch.boundary_left, batch.boundary_right, batch.boundary_offset)
        assert tuple(field[i, slot] for field in fields) == expected


def test_slots_without_a_target_are_zero(
    masked: tuple[np.ndarray, np.ndarray, PretrainBatch],
) -> None:
    _, _, batch = masked
    for field in batch[4:-1]:
        assert not np.any(field[batch.masked_weights == 0])


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_row_is_masked_the_same_whatever_stands_beside_it(scheme: str) -> None:
    block_ids, lengths = random_blocks(40)
    seeds = np.arange(40)
    whole = mask(block_ids, lengths=lengths, seeds=seeds, scheme=scheme)
    for part in ([7], [30, 2, 19]):
        some = mask(block_ids[part], lengths=lengths[part], seeds=seeds[part], scheme=scheme)
        for name in PretrainBatch._fields:
            np.testing.assert_array_equal(getattr(some, name), getattr(whole, name)[part])


def test_the_same_seed_gives_the_same_mask_and_another_seed_another() -> None:
    block_ids, lengths = random_blocks(40)
    one, again, other = (
        mask(block_ids, lengths=lengths, seeds=np.arange(40) + start) for start in (0, 0, 40)
    )
    np.testing.assert_array_equal(one.masked_positions, again.masked_positions)
    is_other = np.any(one.masked_positions != other.masked_positions, axis=1)
    assert np.mean(is_other[lengths > 10]) > 0.9


@pytest.mark.parametrize("draws", [1, 2, 5, 200])
def test_the_number_of_draws_in_a_round_changes_nothing(
    draws: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    block_ids, lengths = random_blocks(40)
    expected = mask(block_ids, lengths=lengths, seeds=np.arange(40))
    monkeypatch.setattr(spans, "_draws_per_round", lambda *_: draws)
    actual = mask(block_ids, lengths=lengths, seeds=np.arange(40))
    np.testing.assert_array_equal(actual.masked_positions, expected.masked_positions)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_an_empty_block_is_a_row_without_targets(scheme: str) -> None:
    batch = mask(
        np.zeros((2, 8), np.int32), lengths=np.zeros(2, np.int32), seeds=np.arange(2), scheme=scheme
    )
    assert batch.token_ids.tolist() == [[CLS, SEP] + [PAD] * 8] * 2
    assert batch.document_ids.sum() == 4
    assert not np.any(np.stack(batch[4:-1]))
    assert batch.next_sentence_label.tolist() == [-1, -1]


def replacement_shares(batch: PretrainBatch, of: np.ndarray) -> np.ndarray:
    """Shares of [MASK], random and unchanged tokens among the slots `of`."""
    seen = np.take_along_axis(batch.token_ids, batch.masked_positions, axis=1)[of]
    is_masked, is_kept = seen == MASK, seen == batch.masked_ids[of]
    return np.array([is_masked.mean(), (~is_masked & ~is_kept).mean(), is_kept.mean()])


def test_subwords_are_replaced_one_by_one_and_spans_as_a_whole() -> None:
    block_ids, _ = random_blocks(4_000)
    lengths = np.full(4_000, WIDTH, np.int32)
    block_ids = np.where(block_ids == PAD, 4, block_ids)
    for scheme in SCHEMES:
        batch = mask(block_ids, lengths=lengths, seeds=np.arange(4_000), scheme=scheme)
        shares = replacement_shares(batch, batch.masked_weights == 1)
        np.testing.assert_allclose(shares, [0.8, 0.1, 0.1], atol=0.01)
        goes_on = np.diff(batch.masked_positions, axis=1) == 1
        is_masked = np.take_along_axis(batch.token_ids, batch.masked_positions, axis=1) == MASK
        differs = np.mean(is_masked[:, 1:][goes_on] != is_masked[:, :-1][goes_on])
        assert differs == (pytest.approx(0.32, abs=0.03) if scheme == "subword" else 0.0)


def test_random_tokens_follow_the_counts_of_the_corpus() -> None:
    counts = np.array([0, 10, 0, 70, 20])
    drawn = random_tokens(
        tf.cast(tf.range(100_000), tf.uint64),
        places=tf.zeros([100_000], tf.int32),
        cumulative_counts=np.cumsum(counts),
    )
    shares = np.bincount(drawn.numpy(), minlength=5) / 100_000
    np.testing.assert_allclose(shares, counts / 100, atol=0.006)
    assert not shares[counts == 0].any()


def test_anchors_are_uniform_over_subwords() -> None:
    # Two words, of one subword and of nine: the second is hit nine times in ten.
    word_starts = tf.constant([True, False])
    block_ids = tf.constant([[0, 0, 1, 1, 1, 1, 1, 1, 1, 1]] * 5_000)
    hidden = spans.hidden_positions(
        block_ids,
        segments=Segments(
            tf.range(5_000) * 10, tf.fill([5_000], 10), tf.cast(tf.range(5_000), tf.uint64)
        ),
        tags=Tags(*[tf.zeros([0], tf.int32)] * 2, tf.zeros([5_001], tf.int32)),
        word_starts=word_starts,
        config=MaskingConfig(scheme="whole_word", mask_ratio=0.1),
    )
    assert np.mean(hidden.numpy() % 10 == 1) == pytest.approx(0.9, abs=0.02)


@pytest.mark.parametrize(
    ("anchor", "shares"), [("subword", (0.1, 0.1, 0.8)), ("word", (1 / 3, 1 / 3, 1 / 3))]
)
def test_spans_begin_at_words_of_uniform_subwords_or_at_uniform_words(
    anchor: str, shares: tuple[float, ...]
) -> None:
    num_draws = 20_000
    # A segment of words of 1, 1 and 8 subwords; the words of its neighbours are no part of it.
    words, segment = tf.constant([0, 1, 2, 10, 11]), Segments(*map(tf.constant, ([0], [10], [7])))
    segments = segment._replace(seed=tf.constant([7], tf.uint64))
    drawn = draw_spans(
        words, segments=segments, draws=tf.range(num_draws), length_law=np.ones(1), anchor=anchor
    )
    starts = drawn.start.numpy()[0]
    for start, share in zip((0, 1, 2), shares, strict=True):
        error = np.sqrt(share * (1 - share) / num_draws)
        assert abs(np.mean(starts == start) - share) < 4 * error
