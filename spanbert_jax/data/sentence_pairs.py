"""Sentence pairs for next-sentence prediction: which text stands beside which, anew every epoch.

In: blocks and the seeds of their rows. Out: token ids of two segments a row, and whether the second
is a random one.

As BERT makes them (Devlin et al. 2019, task #2 and appendix A.2), and SpanBERT its baselines of two
segments (sec. 4.1): A is the beginning of a block, cut off after a random sentence. B is the rest
of the block, or, half of the time, and always where the block is one sentence, text of another
document, from a random sentence of it on until the row is full. From a pair that is too long,
tokens are dropped one at a time, from the front or the end of the longer segment.

Where this differs, it is because a row must be a function of (seed, epoch, block) alone: only so
does every host find its rows without the others, and a run resume anywhere. There, after a random
B, the next pair begins with the sentences that B has displaced: the pairs of a document depend on
all coins before, and their number changes from epoch to epoch. Here blocks are fixed, as those of
single sequences are. Displaced sentences, up to a quarter of the text, are left out of that epoch,
and others of the next; random segments bring in about as much. And a block ends before the sentence
that would overfill it, where there it is taken along and then shortened: a B that follows is never
shortened here.
"""

from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int32, Int64, UInt64

from spanbert_jax.corpus.pieces import Shard
from spanbert_jax.data.batch import NO_PAIR
from spanbert_jax.data.blocks import Rows
from spanbert_jax.data.host_tensorflow import tf
from spanbert_jax.data.random_bits import stream_bits, uniform

CHOICE_STREAM = 4
DROP_STREAM = 5
_BITS = 64
_SIDES: tuple[Literal["left", "right"], ...] = ("left", "right")


class Choices(NamedTuple):
    """What is drawn for each of n rows, as numbers in [0, 1)."""

    split: Float64[np.ndarray, " n"]
    """Which sentence of the block is the last of A."""
    coin: Float64[np.ndarray, " n"]
    """Below 1/2: B is random."""
    document: Float64[np.ndarray, " n"]
    """Which other document B comes from."""
    sentence: Float64[np.ndarray, " n"]
    """Which sentence of it B begins with."""


class Side(NamedTuple):
    """A or B of n rows."""

    start: Int64[np.ndarray, " n"]
    """Of its first token in the text."""
    length: Int64[np.ndarray, " n"]


def draw_pairs(
    seeds: UInt64[tf.Tensor, " n"], *, max_tokens: int
) -> tuple[Float64[tf.Tensor, "n 4"], UInt64[tf.Tensor, "n words"]]:
    """The numbers of `Choices`, and a bit for every token that a pair may have too many."""
    num_choices, num_words = len(Choices._fields), -(-max_tokens // _BITS)
    choices = uniform(seeds[:, None], stream=CHOICE_STREAM, counters=tf.range(num_choices))
    return choices, stream_bits(seeds[:, None], stream=DROP_STREAM, counters=tf.range(num_words))


def make_pairs(
    text: Shard,
    blocks: Rows,
    choices: Choices,
    *,
    document_ids: Int64[np.ndarray, " documents"],
    max_tokens: int,
    drop_bits: UInt64[np.ndarray, "n words"],
) -> tuple[Rows, Int32[np.ndarray, " n"]]:
    """Two runs of the text for each block, and 1 where the second is of another document.

    text: a window. document_ids: of its documents; equal ones are parts of the same.
    blocks: one run a row. choices, drop_bits: as `draw_pairs` gives them.
    max_tokens: of both segments together.

    In a window of one document nothing is random; there a block of one sentence stands alone, with
    an empty second run and the label `NO_PAIR`.
    """
    first, second, is_random = choose(
        text, blocks, choices, document_ids=document_ids, max_tokens=max_tokens
    )
    labels = np.where(second.length > 0, is_random, NO_PAIR).astype(np.int32)
    first, second = shorten(first, second, max_tokens=max_tokens, bits=drop_bits)
    start, length = (np.stack(pair, axis=1).ravel() for pair in zip(first, second, strict=True))
    return Rows(2 * np.arange(len(labels) + 1), start, length), labels


def choose(
    text: Shard,
    blocks: Rows,
    choices: Choices,
    *,
    document_ids: Int64[np.ndarray, " documents"],
    max_tokens: int,
) -> tuple[Side, Side, Bool[np.ndarray, " n"]]:
    """A, B, and whether B is random; together they may be too long."""
    start, end = blocks.start, blocks.start + blocks.length
    # The sentences of the block; the last may end beyond it, where it is too long for one.
    first_sentence = np.searchsorted(text.sentence_ends, start, side="right")
    last_sentence = np.searchsorted(text.sentence_ends, end, side="left")
    last_of_a = first_sentence + _floor(choices.split * (last_sentence - first_sentence))
    split = np.minimum(text.sentence_ends[last_of_a], end)
    following = Side(split, end - split)
    own = np.searchsorted(text.document_ends, first_sentence, side="right")
    document, exists = another_document(own, document_ids=document_ids, draw=choices.document)
    other = _sentences_of(
        text, document, draw=choices.sentence, room=max_tokens - (split - start),
        max_tokens=max_tokens,
    )  # fmt: skip
    is_random = ((choices.coin < 0.5) | (split == end)) & exists
    second = Side(*map(np.where, [is_random] * 2, other, following))
    return Side(start, split - start), second, is_random


def another_document(
    own: Int64[np.ndarray, " n"],
    *,
    document_ids: Int64[np.ndarray, " documents"],
    draw: Float64[np.ndarray, " n"],
) -> tuple[Int64[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
    """For each row one of the documents that are no part of its own, and whether there is any.

    own = [0, 1], document_ids = [7, 8, 7] (the first and the last are parts of one document),
    draw = [0.9, 0.9] -> documents [1, 2], both exist
    """
    order = np.argsort(document_ids, kind="stable")
    ordered = document_ids[order]
    # The parts of a row's own document stand together: numbers from the first on leap over them.
    first, after = (np.searchsorted(ordered, document_ids[own], side=side) for side in _SIDES)
    num_others = len(order) - (after - first)
    drawn = _floor(draw * num_others)
    drawn += np.where(drawn >= first, after - first, 0)
    exists = num_others > 0
    return order[np.where(exists, drawn, 0)], exists


def _sentences_of(
    text: Shard,
    document: Int64[np.ndarray, " n"],
    *,
    draw: Float64[np.ndarray, " n"],
    room: Int64[np.ndarray, " n"],
    max_tokens: int,
) -> Side:
    """Sentences of documents from a drawn one on, until `room` is full.

    Of a sentence too long for any block, the beginning.
    """
    begin, end = _start(text.document_ends, document), text.document_ends[document]
    sentence = begin + _floor(draw * (end - begin))
    start = _start(text.sentence_ends, sentence)
    # Where A fills the row alone, there is still one sentence to shorten both with.
    full = start + np.maximum(room, 1)
    last = np.minimum(np.searchsorted(text.sentence_ends, full, side="left"), end - 1)
    return Side(start, np.minimum(text.sentence_ends[last] - start, max_tokens))


def _start(
    ends: Int64[np.ndarray, " ends"], index: Int64[np.ndarray, " n"]
) -> Int64[np.ndarray, " n"]:
    """Where the parts with these indices begin: at the end of the one before, the first at 0."""
    return np.where(index > 0, ends[index - 1], 0)


def shorten(
    first: Side, second: Side, *, max_tokens: int, bits: UInt64[np.ndarray, "n words"]
) -> tuple[Side, Side]:
    """Drop tokens of the longer segment, one at a time, until both have room together.

    Of segments of equal length the second is shortened. Each token goes from the front where its
    bit is 1, else from the end (BERT's rule).

    lengths 5 and 9, max_tokens = 8 -> lengths 4 and 4: one token of the first, five of the second
    """
    kept = np.minimum(first.length, np.maximum(max_tokens - second.length, -(-max_tokens // 2)))
    dropped = first.length - kept, np.maximum(second.length - (max_tokens - kept), 0)
    flags = np.unpackbits(bits.view(np.uint8), axis=1)
    from_front = np.cumsum(np.pad(flags, [(0, 0), (1, 0)]), axis=1, dtype=np.int32)
    rows = np.arange(len(bits))
    front_first = from_front[rows, dropped[0]]
    front_second = from_front[rows, dropped[0] + dropped[1]] - front_first
    return (
        Side(first.start + front_first, first.length - dropped[0]),
        Side(second.start + front_second, second.length - dropped[1]),
    )


def _floor(values: Float64[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
    return np.floor(values).astype(np.int64)
