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

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int32, Int64, Integer, UInt64

from spanbert_jax.corpus.shards import Shard
from spanbert_jax.data.batch import NO_PAIR
from spanbert_jax.data.blocks import Blocks
from spanbert_jax.data.host_tensorflow import tf
from spanbert_jax.data.random_bits import stream_bits, uniform

CHOICE_STREAM = 4
DROP_STREAM = 5
_BITS = 64


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


class Runs(NamedTuple):
    """A run of tokens for each of n rows."""

    shard: Integer[np.ndarray, " n"]
    start: Int64[np.ndarray, " n"]
    """Offset of its first token in the shard."""
    length: Int64[np.ndarray, " n"]


def draw_pairs(
    seeds: UInt64[tf.Tensor, " n"], *, max_tokens: int
) -> tuple[Float64[tf.Tensor, "n 4"], UInt64[tf.Tensor, "n words"]]:
    """The numbers of `Choices`, and a bit for every token that a pair may have too many."""
    num_choices, num_words = len(Choices._fields), -(-max_tokens // _BITS)
    choices = uniform(seeds[:, None], stream=CHOICE_STREAM, counters=tf.range(num_choices))
    return choices, stream_bits(seeds[:, None], stream=DROP_STREAM, counters=tf.range(num_words))


@dataclass(frozen=True)
class SentencePairs:
    """The text of one split, of which pairs are made; it has no empty sentences or documents."""

    shards: tuple[Shard, ...]
    blocks: Blocks
    max_tokens: int
    """Of both segments together."""
    pad_id: int

    def read(
        self,
        block_ids: Int64[np.ndarray, " n"],
        choices: Float64[np.ndarray, "n 4"],
        drop_bits: UInt64[np.ndarray, "n words"],
    ) -> tuple[Int32[np.ndarray, "n width"], Int32[np.ndarray, "n 2"], Int32[np.ndarray, " n"]]:
        """Token ids: A, a place for [SEP], B, padded to max_tokens + 1; both lengths; labels.

        choices, drop_bits: as `draw_pairs` gives them. -1 is an empty block, of label `NO_PAIR`.
        """
        first, second, is_random = self.choose(block_ids, Choices(*choices.T))
        first, second = shorten(first, second, max_tokens=self.max_tokens, bits=drop_bits)
        lengths = np.stack([first.length, second.length], axis=1).astype(np.int32)
        lengths[block_ids < 0] = 0
        rows = np.full((len(block_ids), self.max_tokens + 1), self.pad_id, np.int32)
        columns = np.stack([np.zeros_like(lengths[:, 0]), lengths[:, 0] + 1], axis=1)
        for i, run in enumerate((first, second)):
            places = columns[:, i], lengths[:, i], run.shard, run.start
            for row, column, length, shard, start in zip(
                rows, *(place.tolist() for place in places), strict=True
            ):
                row[column : column + length] = self.shards[shard].tokens[start : start + length]
        return rows, lengths, np.where(block_ids < 0, NO_PAIR, is_random).astype(np.int32)

    def choose(
        self, block_ids: Int64[np.ndarray, " n"], choices: Choices
    ) -> tuple[Runs, Runs, Bool[np.ndarray, " n"]]:
        """A, B, and whether B is random; together they may be too long."""
        shard, start = self.blocks.shard[block_ids], self.blocks.start[block_ids]
        end = start + self.blocks.length[block_ids]
        # The sentences of the block; the last may end beyond it, where it is too long for one.
        first_sentence = _search(self._sentence_ends, shard, start, side="right")
        last_sentence = _search(self._sentence_ends, shard, end, side="left")
        last_of_a = first_sentence + _floor(choices.split * (last_sentence - first_sentence))
        split = np.minimum(_look_up(self._sentence_ends, shard, last_of_a), end)
        other = self._from_another_document(
            shard, first_sentence, choices=choices, room=self.max_tokens - (split - start)
        )
        is_random = (choices.coin < 0.5) | (split == end)
        following = Runs(shard, split, end - split)
        second = Runs(*map(np.where, [is_random] * 3, other, following))
        return Runs(shard, start, split - start), second, is_random

    def _from_another_document(
        self,
        shard: Int32[np.ndarray, " n"],
        sentence: Int64[np.ndarray, " n"],
        *,
        choices: Choices,
        room: Int64[np.ndarray, " n"],
    ) -> Runs:
        """Sentences of a document that is not that of `sentence`, until `room` is full.

        Of a sentence too long for any block, the beginning.
        """
        documents_until = np.cumsum([0, *map(len, self._document_ends)])
        own = documents_until[shard] + _search(self._document_ends, shard, sentence, side="right")
        # Of all documents but one: from that one on, every number stands for the next.
        drawn = _floor(choices.document * (documents_until[-1] - 1))
        drawn += drawn >= own
        shard = np.searchsorted(documents_until, drawn, side="right") - 1
        drawn -= documents_until[shard]
        begin, end = (_look_up(self._document_ends, shard, drawn + i) for i in (-1, 0))
        sentence = begin + _floor(choices.sentence * (end - begin))
        start = _look_up(self._sentence_ends, shard, sentence - 1)
        # Where A fills the row alone, there is still one sentence to shorten both with.
        full = start + np.maximum(room, 1)
        last = np.minimum(_search(self._sentence_ends, shard, full, side="left"), end - 1)
        length = _look_up(self._sentence_ends, shard, last) - start
        return Runs(shard, start, np.minimum(length, self.max_tokens))

    @property
    def _sentence_ends(self) -> list[Int64[np.ndarray, " _"]]:
        return [shard.sentence_ends for shard in self.shards]

    @property
    def _document_ends(self) -> list[Int64[np.ndarray, " _"]]:
        return [shard.document_ends for shard in self.shards]


def shorten(
    first: Runs, second: Runs, *, max_tokens: int, bits: UInt64[np.ndarray, "n words"]
) -> tuple[Runs, Runs]:
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
        Runs(first.shard, first.start + front_first, first.length - dropped[0]),
        Runs(second.shard, second.start + front_second, second.length - dropped[1]),
    )


def _floor(values: Float64[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
    return np.floor(values).astype(np.int64)


def _look_up(
    arrays: Sequence[np.ndarray], which: Integer[np.ndarray, " n"], index: Int64[np.ndarray, " n"]
) -> Int64[np.ndarray, " n"]:
    """arrays[which][index] of every row: ends; at index -1 the start of the first, which is 0."""
    pairs = zip(which.tolist(), index.tolist(), strict=True)
    return np.array([arrays[a][i] if i >= 0 else 0 for a, i in pairs], np.int64)


def _search(
    arrays: Sequence[np.ndarray],
    which: Integer[np.ndarray, " n"],
    values: Int64[np.ndarray, " n"],
    *,
    side: Literal["left", "right"],
) -> Int64[np.ndarray, " n"]:
    """Index of the first of the ascending arrays[which] that is >= (left) or > (right) the value.

    Row by row: the arrays of all shards in one would be as large as the corpus.
    """
    pairs = zip(which.tolist(), values.tolist(), strict=True)
    return np.array([arrays[a].searchsorted(value, side) for a, value in pairs], np.int64)
