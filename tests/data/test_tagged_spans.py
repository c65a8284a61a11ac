"""Masks drawn from annotated spans, and spans of uniform length: examples and statistics."""

import numpy as np
import pytest

from spanbert_jax.config import MaskingConfig
from spanbert_jax.data import spans
from spanbert_jax.data.batch import PretrainBatch
from spanbert_jax.data.host_tensorflow import tf
from spanbert_jax.data.masking import RowBatch, Vocabulary, mask_rows
from spanbert_jax.data.spans import Segments, Spans, Tags, draw_spans, span_length_law

PAD, CLS, SEP, MASK, VOCAB_SIZE = 0, 1, 2, 3, 500
NUM_ROWS, LENGTH = 400, 130
TAGGED = dict(scheme="tagged_span")
Tag = tuple[int, int]


def vocabulary() -> Vocabulary:
    rng = np.random.default_rng(0)
    counts = np.cumsum(rng.integers(1, 100, VOCAB_SIZE))
    return Vocabulary(rng.random(VOCAB_SIZE) < 0.7, counts, CLS, SEP, MASK, PAD)


def rows_of(lengths: np.ndarray, *, token_ids: np.ndarray) -> RowBatch:
    """[CLS] A [SEP] B [SEP] and so on, of so many tokens each; without tags.

    token_ids: what text is made of, [rows, length].
    """
    (num_rows, num_segments), length = lengths.shape, token_ids.shape[1]
    ends = np.cumsum(lengths + 1, axis=1)
    columns, row = np.arange(length), np.arange(num_rows)
    is_real = columns <= ends[:, -1:]
    ids = np.where(is_real, token_ids, PAD)
    ids[:, 0] = CLS
    ids[row[:, None], ends] = SEP
    fields = [
        ids, is_real, np.tile(columns, (num_rows, 1)), np.zeros_like(ids),
        (ends - lengths + row[:, None] * length).ravel(), lengths.ravel(),
        np.repeat(row, num_segments), np.tile(np.arange(num_segments), num_rows),
        np.zeros(num_rows), np.zeros(0), np.zeros(0), np.zeros(lengths.size + 1),
    ]  # fmt: skip
    return RowBatch(*(np.asarray(field, np.int32) for field in fields))


def pairs(num_rows: int = NUM_ROWS, *, seed: int = 1) -> RowBatch:
    """Rows of two segments of at least one token each."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, (LENGTH - 3) // 2, (num_rows, 2))
    return rows_of(lengths, token_ids=rng.integers(4, VOCAB_SIZE, (num_rows, LENGTH)))


def with_tags(rows: RowBatch, tags: list[list[Tag]]) -> RowBatch:
    """tags: of every segment, counted from its first token."""
    flat = [
        (start + first, end + first)
        for first, of_segment in zip(rows.segment_start.tolist(), tags, strict=True)
        for start, end in of_segment
    ]
    starts, ends = np.array(flat, np.int32).reshape(-1, 2).T
    splits = np.cumsum([0, *map(len, tags)], dtype=np.int32)
    return rows._replace(tag_start=starts, tag_end=ends, tag_splits=splits)


def random_tags(rows: RowBatch, *, seed: int = 2) -> list[list[Tag]]:
    """Up to a tag for five tokens, of one to four tokens; many a short segment has none."""
    rng = np.random.default_rng(seed)
    tags = []
    for length in rows.segment_length.tolist():
        starts = np.sort(rng.integers(0, length, rng.integers(0, 1 + length // 5)))
        tags.append([(int(s), int(min(length, s + rng.integers(1, 5)))) for s in starts])
    return tags


def mask(rows: RowBatch, *, first_seed: int = 0, **how) -> PretrainBatch:
    config = MaskingConfig(**how)
    batch_size = len(rows.token_ids)
    batch = mask_rows(
        RowBatch(*map(tf.constant, rows)),
        seeds=tf.cast(tf.range(batch_size) + first_seed, tf.uint64),
        vocabulary=vocabulary(), config=config,
        num_predictions=config.num_predictions(LENGTH, "sentence_pair"), max_boundary_offsets=15,
    )  # fmt: skip
    return PretrainBatch(*(field.numpy() for field in batch))


def one_segment(length: int, *, seed: int = 7) -> Segments:
    segments = Segments(*(tf.constant([value]) for value in (0, length, 0)))
    return segments._replace(seed=tf.constant([seed], tf.uint64))


def assert_equal(actual: PretrainBatch, expected: PretrainBatch) -> None:
    for name in PretrainBatch._fields:
        np.testing.assert_array_equal(getattr(actual, name), getattr(expected, name), err_msg=name)


def test_the_examples_of_span_length_law() -> None:
    uniform = MaskingConfig(scheme="uniform_span", max_span_words=2)
    np.testing.assert_allclose(span_length_law(uniform), [0.5, 1.0])
    np.testing.assert_allclose(span_length_law(MaskingConfig(scheme="whole_word")), [1.0])


@pytest.mark.parametrize("base", ["geometric_span", "uniform_span", "whole_word", "subword"])
def test_lengths_beside_annotated_spans_follow_the_law_of_the_base_scheme(base: str) -> None:
    tagged = MaskingConfig(scheme="tagged_span", base_scheme=base)
    np.testing.assert_array_equal(
        span_length_law(tagged), span_length_law(MaskingConfig(scheme=base))
    )


def test_the_example_of_with_whole_words() -> None:
    segments = one_segment(8)
    tags = Tags(*map(tf.constant, ([3, 4], [4, 6], [0, 2])))
    wide = spans.with_whole_words(tags, words=tf.constant([0, 2, 5, 9]), segments=segments)
    assert [field.numpy().tolist() for field in wide] == [[2, 2], [5, 8], [0, 2]]


@pytest.mark.parametrize(
    ("place", "expected"), [(0.2, ([4, 9], [6, 10])), (0.6, ([7, 9], [8, 10]))]
)
def test_the_example_of_with_tagged_spans(
    monkeypatch: pytest.MonkeyPatch, place: float, expected: tuple[list[int], list[int]]
) -> None:
    drawn = {spans.TAG_COIN_STREAM: [[0.3, 0.7]], spans.TAG_STREAM: [[place, place]]}
    monkeypatch.setattr(
        spans, "uniform", lambda _, stream, counters: tf.constant(drawn[stream], tf.float64)
    )
    actual = spans.with_tagged_spans(
        Spans(tf.constant([[0, 9]]), tf.constant([[2, 10]])),
        tags=Tags(*map(tf.constant, ([4, 7], [6, 8], [0, 2]))), numbers=tf.constant([0]),
        seeds=tf.constant([7], tf.uint64), draws=tf.range(2), tagged_prob=0.5,
    )  # fmt: skip
    assert tuple(field.numpy()[0].tolist() for field in actual) == expected


@pytest.mark.parametrize("tagged_prob", [0.0, 0.2, 0.5, 0.9])
def test_the_share_of_tagged_draws_is_the_one_asked_for_and_each_tag_is_as_likely(
    tagged_prob: float,
) -> None:
    num_draws = 20_000
    base = Spans(tf.fill([1, num_draws], 90), tf.fill([1, num_draws], 91))
    tags = Tags(*map(tf.constant, ([10, 20, 30, 40], [12, 21, 35, 41], [0, 4])))
    drawn = spans.with_tagged_spans(
        base, tags=tags, numbers=tf.constant([0]), seeds=tf.constant([7], tf.uint64),
        draws=tf.range(num_draws), tagged_prob=tagged_prob,
    )  # fmt: skip
    for start, end in ((10, 12), (20, 21), (30, 35), (40, 41)):
        share, expected = np.mean(drawn.start == start), tagged_prob / 4
        assert abs(share - expected) <= 4 * np.sqrt(expected * (1 - expected) / num_draws)
        assert set(drawn.end.numpy()[drawn.start.numpy() == start]) <= {end}
    left = np.mean(drawn.start == 90)
    assert left == pytest.approx(1 - tagged_prob, abs=0.015)


def test_lengths_of_uniform_spans_are_uniform() -> None:
    num_draws = 40_000
    drawn = draw_spans(
        tf.range(0, 2_001, 2), segments=one_segment(2_000), draws=tf.range(num_draws),
        length_law=span_length_law(MaskingConfig(scheme="uniform_span")), anchor="subword",
    )  # fmt: skip
    # Words of two tokens; those near the end of the segment are cut.
    starts, ends = drawn.start.numpy()[0], drawn.end.numpy()[0]
    lengths = ((ends - starts) // 2)[starts < 1_980]
    shares = np.bincount(lengths, minlength=11)[1:] / len(lengths)
    assert len(shares) == 10
    np.testing.assert_allclose(shares, 0.1, atol=4 * np.sqrt(0.09 / len(lengths)))


@pytest.mark.parametrize("base", ["geometric_span", "uniform_span", "whole_word", "subword"])
@pytest.mark.parametrize("anchor", ["subword", "word"])
def test_every_segment_hides_exactly_its_budget(base: str, anchor: str) -> None:
    rows = pairs()
    rows = with_tags(rows, random_tags(rows))
    batch = mask(rows, scheme="tagged_span", base_scheme=base, anchor=anchor)
    expected = [MaskingConfig().budget(length) for length in rows.segment_length.tolist()]
    flat = np.zeros(rows.token_ids.size, bool)
    row, slot = np.nonzero(batch.masked_weights)
    flat[row * LENGTH + batch.masked_positions[row, slot]] = True
    found = [
        int(flat[start : start + length].sum())
        for start, length in zip(rows.segment_start, rows.segment_length, strict=True)
    ]
    assert found == expected


@pytest.mark.parametrize("base", ["geometric_span", "uniform_span", "whole_word"])
def test_without_tags_the_masks_are_those_of_the_base_scheme(base: str) -> None:
    rows = pairs()
    assert_equal(mask(rows, **TAGGED, base_scheme=base), mask(rows, scheme=base))


def test_a_segment_without_tags_is_masked_by_the_base_scheme_beside_one_that_has_some() -> None:
    rows = pairs()
    tags = random_tags(rows)
    tags[::4] = [[] for _ in tags[::4]]
    tags[1::4] = [[] for _ in tags[1::4]]  # Every other row has none in either segment.
    tagged, base = mask(with_tags(rows, tags), **TAGGED), mask(rows)
    np.testing.assert_array_equal(tagged.token_ids[::2], base.token_ids[::2])
    assert np.mean(np.any(tagged.token_ids[1::2] != base.token_ids[1::2], axis=1)) > 0.7


def test_tags_change_no_other_scheme() -> None:
    rows = pairs()
    assert_equal(mask(with_tags(rows, random_tags(rows))), mask(rows))


def test_a_row_is_masked_the_same_whatever_stands_beside_it() -> None:
    rows = pairs(30)
    tags = random_tags(rows)
    whole = mask(with_tags(rows, tags), **TAGGED)
    one = pairs(30)
    # The same rows in a batch in which all others have lost their tags.
    kept = [tags[i] if i // 2 == 17 else [] for i in range(60)]
    alone = mask(with_tags(one, kept), **TAGGED)
    for name in PretrainBatch._fields:
        np.testing.assert_array_equal(getattr(alone, name)[17], getattr(whole, name)[17])


def test_more_is_hidden_of_what_is_annotated_the_likelier_it_is_drawn() -> None:
    rows = pairs()
    rows = with_tags(rows, random_tags(rows))
    is_tagged = np.zeros(rows.token_ids.size, bool)
    for start, end in zip(rows.tag_start, rows.tag_end, strict=True):
        is_tagged[start:end] = True
    shares = []
    for tagged_prob in (0.0, 0.5, 0.9):
        batch = mask(rows, **TAGGED, tagged_prob=tagged_prob)
        row, slot = np.nonzero(batch.masked_weights)
        hidden = row * LENGTH + batch.masked_positions[row, slot]
        shares.append(np.mean(is_tagged[hidden]))
    assert shares[0] + 0.1 < shares[1] < shares[2] - 0.05


def test_annotation_that_ends_inside_a_word_never_keeps_a_budget_from_being_spent() -> None:
    # One long word, of which its first token alone is annotated; only words are anchors.
    word_starts = np.zeros(VOCAB_SIZE, bool)
    rows = rows_of(np.array([[40]]), token_ids=np.full((1, 42), 9))
    segments = Segments(
        tf.constant(rows.segment_start), tf.constant(rows.segment_length),
        tf.constant([1], tf.uint64),
    )  # fmt: skip
    hidden = spans.hidden_positions(
        tf.constant(rows.token_ids), segments=segments, word_starts=tf.constant(word_starts),
        tags=Tags(*map(tf.constant, ([1], [2], [0, 1]))),
        config=MaskingConfig(
            scheme="tagged_span", tagged_prob=0.9, base_scheme="whole_word", anchor="word"
        ),
    )  # fmt: skip
    assert hidden.numpy().tolist() == [1, 2, 3, 4, 5, 6]
