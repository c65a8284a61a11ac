"""mask_rows against the original's procedure: one block, one draw, one token at a time."""

import math

import numpy as np
import pytest

from spanbert_jax.config import MaskingConfig
from spanbert_jax.corpus.pieces import Shard
from spanbert_jax.data import masking, spans
from spanbert_jax.data.batch import NO_PAIR, PretrainBatch
from spanbert_jax.data.blocks import Rows
from spanbert_jax.data.host_tensorflow import tf
from spanbert_jax.data.rows import lay_out

VOCAB_SIZE = 1000
CLS, SEP, MASK, PAD = 1, 2, 3, 0
MAX_OFFSETS = 3


def uniform(seed: int, stream: int, counter: int) -> float:
    """Number (stream, counter) of SplitMix64, in Python integers."""
    modulus = 2**64
    z = (seed + ((stream << 32) + counter + 1) * 0x9E3779B97F4A7C15) % modulus
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) % modulus
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) % modulus
    return ((z ^ (z >> 31)) >> 11) * 2.0**-53


def draw_length(seed: int, draw: int, *, config: MaskingConfig) -> int:
    """Words of the span that a draw asks for."""
    scheme = config.base_scheme if config.scheme == "tagged_span" else config.scheme
    if scheme == "uniform_span":
        return 1 + int(uniform(seed, spans.LENGTH_STREAM, draw) * config.max_span_words)
    if scheme != "geometric_span":
        return 1
    law = config.geometric_p * (1 - config.geometric_p) ** np.arange(config.max_span_words)
    cumulative = np.cumsum(law) / np.sum(law)
    return 1 + int(np.sum(uniform(seed, spans.LENGTH_STREAM, draw) >= cumulative[:-1]))


def draw_tag(
    seed: int, draw: int, *, tags: list[tuple[int, int]], config: MaskingConfig
) -> tuple[int, int] | None:
    """The annotated span that a draw asks for, if it asks for one."""
    if config.scheme != "tagged_span" or not tags:
        return None
    if uniform(seed, spans.TAG_COIN_STREAM, draw) >= config.tagged_prob:
        return None
    return tags[int(uniform(seed, spans.TAG_STREAM, draw) * len(tags))]


def choose_hidden(
    is_start: np.ndarray, *, tags: list[tuple[int, int]], seed: int, config: MaskingConfig
) -> list[int]:
    """Draw anchors, reject masked ones, mask whole words until the budget is spent."""
    length = len(is_start)
    budget = math.ceil(round(config.mask_ratio * length, 6))
    hidden: set[int] = set()
    draw = -1
    while len(hidden) < budget:
        draw += 1
        if tag := draw_tag(seed, draw, tags=tags, config=config):
            first, end = tag
            while not is_start[first]:
                first -= 1
            while end < length and not is_start[end]:
                end += 1
            for position in range(first, end) if first not in hidden else ():
                if len(hidden) < budget:
                    hidden.add(position)
            continue
        anchors = np.flatnonzero(is_start) if config.anchor == "word" else np.arange(length)
        anchor = int(anchors[int(uniform(seed, spans.ANCHOR_STREAM, draw) * len(anchors))])
        num_words = draw_length(seed, draw, config=config)
        if anchor in hidden:
            continue
        position = anchor
        while not is_start[position]:
            position -= 1
        while num_words and position < length and len(hidden) < budget:
            hidden.add(position)
            position += 1
            num_words -= position == length or bool(is_start[position])
    return sorted(hidden)


def mask_block(
    ids: np.ndarray,
    *,
    tags: list[tuple[int, int]],
    seed: int,
    vocabulary: masking.Vocabulary,
    config: MaskingConfig,
) -> tuple[list[int], list[list[int]]]:
    """Row without padding, and one line per target in the order of the fields of the batch."""
    is_single = "subword" in (
        config.scheme, config.base_scheme if config.scheme == "tagged_span" else ""
    )  # fmt: skip
    is_start = np.ones(len(ids), bool) if is_single else vocabulary.word_starts[ids].copy()
    is_start[0] = True
    hidden = choose_hidden(is_start, tags=tags, seed=seed, config=config)
    row, targets = ids.copy(), []
    for position in hidden:
        first = last = position
        while first - 1 in hidden:
            first -= 1
        while last + 1 in hidden:
            last += 1
        drawn_at = position if config.scheme == "subword" else first
        draw = uniform(seed, masking.REPLACEMENT_STREAM, drawn_at)
        if draw < config.mask_token_prob:
            row[position] = MASK
        elif draw < config.mask_token_prob + config.random_token_prob:
            counts = vocabulary.cumulative_counts
            place = int(uniform(seed, masking.RANDOM_TOKEN_STREAM, position) * counts[-1])
            row[position] = np.flatnonzero(counts > place)[0]
        offset = position - first
        if first > 0 and last < len(ids) - 1 and offset < MAX_OFFSETS:
            boundary = [first, last + 2, offset, 1]
        else:
            boundary = [0, 0, 0, 0]
        targets.append([position + 1, int(ids[position]), 1, *boundary])
    return [CLS, *row.tolist(), SEP], targets


def mask_one_by_one(
    block_ids: np.ndarray,
    *,
    lengths: np.ndarray,
    tags: list[list[tuple[int, int]]],
    seeds: np.ndarray,
    num_predictions: int,
    **how,
) -> PretrainBatch:
    batch_size, width = block_ids.shape
    token_ids = np.full((batch_size, width + 2), PAD)
    document_ids = np.zeros_like(token_ids)
    slots = np.zeros((batch_size, num_predictions, 7), int)
    for i, (ids, length, seed) in enumerate(zip(block_ids, lengths, seeds, strict=True)):
        row, targets = mask_block(ids[:length], tags=tags[i], seed=int(seed), **how)
        token_ids[i, : len(row)] = row
        document_ids[i, : len(row)] = 1
        slots[i, : len(targets)] = targets
    columns = np.broadcast_to(np.arange(width + 2), token_ids.shape)
    return PretrainBatch(
        token_ids, np.zeros_like(token_ids), document_ids, columns, *np.moveaxis(slots, -1, 0),
        next_sentence_label=np.full(batch_size, NO_PAIR),
    )  # fmt: skip


CONFIGS = {
    "geometric_span": MaskingConfig(),
    "spans of at most three words": MaskingConfig(max_span_words=3),
    "anchors uniform over words": MaskingConfig(anchor="word"),
    "single words, uniform": MaskingConfig(scheme="whole_word", anchor="word", mask_ratio=0.5),
    "half of all tokens": MaskingConfig(mask_ratio=0.5),
    "nearly all tokens": MaskingConfig(mask_ratio=0.95),
    "whole_word": MaskingConfig(scheme="whole_word"),
    "subword": MaskingConfig(scheme="subword"),
    "uniform_span": MaskingConfig(scheme="uniform_span"),
    "uniform up to three words": MaskingConfig(scheme="uniform_span", max_span_words=3),
    "tagged_span": MaskingConfig(scheme="tagged_span"),
    "tagged and words, uniform": MaskingConfig(
        scheme="tagged_span", base_scheme="whole_word", anchor="word", tagged_prob=0.3
    ),
    "tagged and uniform spans": MaskingConfig(scheme="tagged_span", base_scheme="uniform_span"),
    "tagged and single tokens": MaskingConfig(scheme="tagged_span", base_scheme="subword"),
    "nearly all draws tagged": MaskingConfig(scheme="tagged_span", tagged_prob=0.9),
    "tagged, most of all tokens": MaskingConfig(scheme="tagged_span", mask_ratio=0.8),
}


def draw_tags(length: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Annotated spans of one to six tokens, some of which overlap; none in some texts."""
    starts = np.sort(rng.integers(0, length, rng.integers(0, 1 + length // 4)))
    return [(int(s), int(min(length, s + rng.integers(1, 7)))) for s in starts]


def flat_tags(tags: list[list[tuple[int, int]]], *, row_length: int) -> dict[str, np.ndarray]:
    """Fields of RowBatch: [CLS] stands before the text of every row."""
    flat = [
        (row * row_length + 1 + start, row * row_length + 1 + end)
        for row, spans_of_row in enumerate(tags)
        for start, end in spans_of_row
    ]
    starts, ends = np.array(flat, np.int32).reshape(-1, 2).T
    splits = np.cumsum([0, *map(len, tags)], dtype=np.int32)
    return {"tag_start": starts, "tag_end": ends, "tag_splits": splits}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
@pytest.mark.parametrize("word_density", [0.03, 0.4, 0.8, 1.0])
def test_batched_masks_equal_those_of_the_sequential_procedure(
    config: MaskingConfig, word_density: float
) -> None:
    rng = np.random.default_rng(int(100 * word_density))
    lengths = np.concatenate([[1, 2, 3, 6, 7, 120, 120], rng.integers(1, 121, 57)]).astype(np.int32)
    block_ids = rng.integers(10, VOCAB_SIZE, (64, 120)).astype(np.int32)
    block_ids[np.arange(120) >= lengths[:, None]] = PAD
    how = dict(
        tags=[draw_tags(length, rng) for length in lengths],
        seeds=rng.integers(0, 2**64, 64, np.uint64),
        vocabulary=masking.Vocabulary(
            word_starts=rng.random(VOCAB_SIZE) < word_density,
            cumulative_counts=np.cumsum(rng.integers(0, 50, VOCAB_SIZE)),
            cls_id=CLS, sep_id=SEP, mask_id=MASK, pad_id=PAD,
        ),
        config=config,
        num_predictions=config.num_predictions(122) + 1,
    )  # fmt: skip
    expected = mask_one_by_one(block_ids, lengths=lengths, **how)
    num_rows, width = block_ids.shape
    rows = lay_out(
        Shard(block_ids.ravel(), *(np.zeros(0, np.int64),) * 2),
        Rows(np.arange(num_rows + 1), np.arange(num_rows) * width, lengths.astype(np.int64)),
        next_sentence_label=np.full(64, NO_PAIR, np.int32), blocks="document",
        sequence_length=width + 2, vocabulary=how["vocabulary"],
    )  # fmt: skip
    rows = rows._replace(**flat_tags(how.pop("tags"), row_length=122))
    actual = masking.mask_rows(
        masking.RowBatch(*map(tf.constant, rows)), seeds=tf.constant(how.pop("seeds")),
        max_boundary_offsets=MAX_OFFSETS, **how,
    )  # fmt: skip
    for name, field in expected._asdict().items():
        np.testing.assert_array_equal(getattr(actual, name), field, err_msg=name)
