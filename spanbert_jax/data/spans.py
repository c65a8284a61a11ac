"""Chooses the tokens of a text that are hidden: the original's law, without a loop over examples.

In: token ids of rows, and the segments in them: blocks, the two sides of sentence pairs, or the
pieces of packed rows. Out: the flat positions of the hidden tokens.

The original (SpanBERT sec. 3.1 and its released code) masks one segment at a time: it draws an
anchor uniformly over the subwords, draws again if that subword is masked already, moves to the
start of its word, masks as many whole words as a truncated geometric law says, and stops in the
middle of a span, even of a word, as soon as ceil(0.15 n) subwords are masked. Here all segments of
a batch do so at once, in rounds: a round takes the next `D` draws of every segment, finds out which
of them the original would have taken, and hides their tokens in the order of the draws. Draws
beyond the budget change nothing, so rounds may be of any size: for spans, one is nearly always
enough.

Of annotated text (sec. 6.1, named entities and noun phrases) a draw is, with probability
`tagged_prob`, one of the segment's annotated spans, each as likely; else, or where the segment has
none, it is drawn as above, from the same random numbers as without annotation. An annotated span
hides every word that it touches, so that here as elsewhere a word is hidden or observed as a whole.
The first token of its first word is its anchor: where that is masked already, the draw is rejected
as any other, and the next one tosses its own coin.

Positions are flat: column + row x W in a batch of rows of W tokens.
"""

from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int32, Num, UInt64

from spanbert_jax.config import MaskingConfig
from spanbert_jax.data.host_tensorflow import tf
from spanbert_jax.data.random_bits import uniform

ANCHOR_STREAM = 0
LENGTH_STREAM = 1
# 2 to 5 are those of masking.py and sentence_pairs.py.
TAG_COIN_STREAM = 6
TAG_STREAM = 7


class Segments(NamedTuple):
    """Runs of tokens, each masked by itself, in the order of their flat positions."""

    start: Int32[tf.Tensor, " segments"]
    """Flat position of the first token."""
    length: Int32[tf.Tensor, " segments"]
    seed: UInt64[tf.Tensor, " segments"]


class Spans(NamedTuple):
    """One span per draw, in flat positions; `end` is exclusive and within the segment."""

    start: Int32[tf.Tensor, "segments draws"]
    end: Int32[tf.Tensor, "segments draws"]


class Tags(NamedTuple):
    """Annotated spans inside the segments, in flat positions; `end` is exclusive."""

    start: Int32[tf.Tensor, " tags"]
    end: Int32[tf.Tensor, " tags"]
    splits: Int32[tf.Tensor, " segments_and_end"]
    """Tags of segment s: splits[s]:splits[s + 1]."""


def hidden_positions(
    token_ids: Int32[tf.Tensor, "batch length"],
    *,
    segments: Segments,
    tags: Tags,
    word_starts: Bool[tf.Tensor, " vocab"],
    config: MaskingConfig,
) -> Int32[tf.Tensor, " hidden"]:
    """Flat positions of the hidden tokens, ascending: exactly `budgets` in every segment.

    What is hidden in a segment depends on its own ids, length, seed and tags only.
    """
    num_tokens = token_ids.shape[0] * token_ids.shape[1]
    limits = budgets(segments.length, mask_ratio=config.mask_ratio)
    is_start = None if config.untagged_scheme == "subword" else word_starts
    words = find_words(token_ids, segment_starts=segments.start, word_starts=is_start)
    length_law = span_length_law(config)
    if config.scheme == "tagged_span":
        tags = with_whole_words(tags, words=words, segments=segments)

    def is_unfinished(first_draw: tf.Tensor, hidden: tf.Tensor, counts: tf.Tensor) -> tf.Tensor:
        return tf.reduce_any(counts < limits)

    def hide_round(first_draw: tf.Tensor, hidden: tf.Tensor, counts: tf.Tensor) -> tuple:
        # Those that have spent their budget are left out: short segments are done first.
        active = tf.cast(tf.where(counts < limits), tf.int32)
        some = Segments(*(tf.gather_nd(field, active) for field in segments))
        num_hidden, limit = tf.gather_nd(counts, active), tf.gather_nd(limits, active)
        num_draws = _draws_per_round(limit - num_hidden, length_law)
        draws = tf.range(num_draws) + first_draw
        spans = draw_spans(
            words, segments=some, draws=draws, length_law=length_law, anchor=config.anchor
        )
        if config.scheme == "tagged_span":
            spans = with_tagged_spans(
                spans, tags=tags, numbers=active[:, 0], seeds=some.seed, draws=draws,
                tagged_prob=config.tagged_prob,
            )  # fmt: skip
        taken = taken_draws(spans, are_free=~tf.gather(hidden, spans.start))
        positions, num_hidden = newly_hidden(
            spans, taken, hidden=hidden, counts=num_hidden, limits=limit
        )
        hidden = tf.tensor_scatter_nd_update(
            hidden, positions[:, None], tf.ones_like(positions, tf.bool)
        )
        counts = tf.tensor_scatter_nd_update(counts, active, num_hidden)
        return first_draw + num_draws, hidden, counts

    _, hidden, _ = tf.while_loop(
        is_unfinished,
        hide_round,
        loop_vars=(tf.constant(0), tf.zeros([num_tokens], tf.bool), tf.zeros_like(limits)),
    )
    return tf.cast(tf.where(hidden)[:, 0], tf.int32)


def budgets(
    lengths: Int32[tf.Tensor, "*shape"], *, mask_ratio: float
) -> Int32[tf.Tensor, "*shape"]:
    """Tokens to hide in each segment: ceil(mask_ratio x length).

    budgets([510, 126, 1, 0], mask_ratio=0.15) -> [77, 19, 1, 0]
    """
    # 1e-9: in floating point 0.07 x 100 is 7.000000000000001, which must not become 8.
    return tf.cast(tf.math.ceil(mask_ratio * tf.cast(lengths, tf.float64) - 1e-9), tf.int32)


def span_length_law(config: MaskingConfig) -> Float64[np.ndarray, " max_span_words"]:
    """P(length <= l) for l = 1, 2, ...: the geometric law, cut off and renormalised (sec. 3.1).

    span_length_law(MaskingConfig(geometric_p=0.5, max_span_words=2)) -> [0.6667, 1.0]
    span_length_law(MaskingConfig(scheme="uniform_span", max_span_words=2)) -> [0.5, 1.0]
    span_length_law(MaskingConfig(scheme="whole_word")) -> [1.0]
    """
    lengths = np.arange(1, config.max_span_words + 1)
    if config.untagged_scheme == "uniform_span":
        return lengths / config.max_span_words
    if config.untagged_scheme != "geometric_span":
        return np.ones(1)
    cumulative = 1.0 - (1.0 - config.geometric_p) ** lengths
    return cumulative / cumulative[-1]


def find_words(
    token_ids: Int32[tf.Tensor, "batch length"],
    *,
    segment_starts: Int32[tf.Tensor, " segments"],
    word_starts: Bool[tf.Tensor, " vocab"] | None,
) -> Int32[tf.Tensor, " words_and_end"]:
    """Flat position of each word's first token, then the end of the last row.

    The first token of a segment always starts a word; without `word_starts` every token does.

    token_ids = [[5, 7, 8], [7, 5, 5]] where 7 and 8 go on with a word, segment_starts = [0, 3]
    -> [0, 3, 4, 5, 6]
    """
    num_tokens = token_ids.shape[0] * token_ids.shape[1]
    if word_starts is None:
        return tf.range(num_tokens + 1)
    flags = tf.tensor_scatter_nd_update(
        tf.gather(word_starts, tf.reshape(token_ids, [-1])),
        segment_starts[:, None],
        tf.ones_like(segment_starts, tf.bool),
    )
    starts = tf.cast(tf.where(flags)[:, 0], tf.int32)
    return tf.concat([starts, [num_tokens]], axis=0)


def draw_spans(
    words: Int32[tf.Tensor, " words_and_end"],
    *,
    segments: Segments,
    draws: Int32[tf.Tensor, " draws"],
    length_law: Float64[np.ndarray, " max_span_words"],
    anchor: Literal["subword", "word"],
) -> Spans:
    """The spans that the draws of these numbers ask for, whether they are taken or not.

    words: as `find_words` gives them. length_law: as `span_length_law` gives it.
    anchor: what a span's beginning is drawn from, `MaskingConfig.anchor`.
    """
    start, length, seed = (field[:, None] for field in segments)
    draw = uniform(seed, stream=ANCHOR_STREAM, counters=draws)
    if anchor == "subword":
        first_word = _num_reached(_scaled(draw, length) + start, words) - 1
    else:
        before = _num_reached(start, words) - 1
        first_word = before + _scaled(draw, _num_reached(start + length - 1, words) - before)
    num_words = tf.ones_like(first_word)
    if len(length_law) > 1:
        uniform_length = uniform(seed, stream=LENGTH_STREAM, counters=draws)
        num_words += _num_reached(uniform_length, tf.constant(length_law[:-1]))
    last_word = tf.minimum(first_word + num_words, tf.size(words) - 1)
    end = tf.minimum(tf.gather(words, last_word), start + length)
    return Spans(tf.gather(words, first_word), end)


def with_whole_words(
    tags: Tags, *, words: Int32[tf.Tensor, " words_and_end"], segments: Segments
) -> Tags:
    """Widen annotated spans to the words that they touch, within their segments.

    words = [0, 2, 5, 9], one segment [0, 8), tags [3, 4) and [4, 6) -> [2, 5) and [2, 8)

    words: as `find_words` gives them.
    """
    segment_end = tf.repeat(segments.start + segments.length, tags.splits[1:] - tags.splits[:-1])
    start = tf.gather(words, tf.searchsorted(words, tags.start, side="right") - 1)
    end = tf.gather(words, tf.searchsorted(words, tags.end, side="left"))
    return Tags(start, tf.minimum(end, segment_end), tags.splits)


def with_tagged_spans(
    spans: Spans,
    *,
    tags: Tags,
    numbers: Int32[tf.Tensor, " segments"],
    seeds: UInt64[tf.Tensor, " segments"],
    draws: Int32[tf.Tensor, " draws"],
    tagged_prob: float,
) -> Spans:
    """Put annotated spans in the place of some draws: with `tagged_prob` one of its segment's.

    start = [[0, 9]], end = [[2, 10]], tags [4, 6) and [7, 8) of segment 0, coins of 0.3 and 0.7,
    tagged_prob = 0.5 -> start = [[4, 9]], end = [[6, 10]] or start = [[7, 9]], end = [[8, 10]]

    tags: as `with_whole_words` gives them.
    numbers: of the segments, in `tags.splits`; those without tags keep their spans.
    """
    first = tf.gather(tags.splits, numbers)[:, None]
    count = tf.gather(tags.splits, numbers + 1)[:, None] - first
    coin, place = (
        uniform(seeds[:, None], stream=stream, counters=draws)
        for stream in (TAG_COIN_STREAM, TAG_STREAM)
    )
    is_tagged = (coin < tagged_prob) & (count > 0)
    tag = tf.where(is_tagged, first + _scaled(place, count), 0)
    # One more than there are: a batch may have none at all.
    start, end = (tf.gather(tf.pad(field, [[0, 1]]), tag) for field in (tags.start, tags.end))
    return Spans(tf.where(is_tagged, start, spans.start), tf.where(is_tagged, end, spans.end))


def taken_draws(
    spans: Spans, *, are_free: Bool[tf.Tensor, "segments draws"]
) -> Bool[tf.Tensor, "segments draws"]:
    """Which draws the original takes: those whose anchor no earlier taken span has masked.

    start = [[0, 2, 1]], end = [[2, 5, 4]], all free -> [[True, True, False]]
    (the third anchor lies in the first span)
    """
    num_draws = tf.shape(spans.start)[1]
    distance = spans.start[:, None, :] - spans.start[:, :, None]
    size = (spans.end - spans.start)[:, :, None]
    number = tf.range(num_draws)
    is_earlier = number[:, None] < number
    # The few pairs of draws of a segment where the earlier one's span covers the later's anchor.
    segment, earlier, later = tf.unstack(
        tf.cast(tf.where((distance >= 0) & (distance < size) & is_earlier), tf.int32), num=3, axis=1
    )
    earlier, later = segment * num_draws + earlier, segment * num_draws + later
    are_free = tf.reshape(are_free, [-1])

    def without_blocked(taken: tf.Tensor) -> tf.Tensor:
        blocking = tf.boolean_mask(later, tf.gather(taken, earlier))
        return tf.tensor_scatter_nd_update(
            are_free, blocking[:, None], tf.zeros_like(blocking, tf.bool)
        )

    # A draw is settled one round after the draws that could block it: the fixed point is unique.
    _, taken = tf.while_loop(
        lambda before, now: tf.reduce_any(before != now),
        lambda before, now: (now, without_blocked(now)),
        loop_vars=(are_free, without_blocked(are_free)),
    )
    return tf.reshape(taken, tf.shape(spans.start))


def newly_hidden(
    spans: Spans,
    taken: Bool[tf.Tensor, "segments draws"],
    *,
    hidden: Bool[tf.Tensor, " tokens"],
    counts: Int32[tf.Tensor, " segments"],
    limits: Int32[tf.Tensor, " segments"],
) -> tuple[Int32[tf.Tensor, " new"], Int32[tf.Tensor, " segments"]]:
    """Positions the taken spans add to `hidden` within the limits, and the segments' new counts.

    Tokens are hidden in the order of draws, inside a span from left to right: the last span may be
    cut anywhere. A token that is hidden already costs nothing.
    """
    num_segments, num_draws = tf.unstack(tf.shape(taken))
    last = tf.where(taken, spans.end, spans.start)
    tokens = tf.ragged.range(
        tf.reshape(spans.start, [-1]), tf.reshape(last, [-1]), row_splits_dtype=tf.int32
    )
    splits = tf.gather(tokens.row_splits, tf.range(num_segments + 1) * num_draws)
    positions, order = tokens.values, tf.range(tf.size(tokens.values))
    first_order = tf.math.unsorted_segment_min(order, positions, tf.size(hidden))
    is_new = (tf.gather(first_order, positions) == order) & ~tf.gather(hidden, positions)

    num_before = tf.pad(tf.cumsum(tf.cast(is_new, tf.int32)), [[1, 0]])
    before = tf.gather(num_before, splits)
    room = limits - counts + before[:-1]
    is_kept = is_new & (num_before[:-1] < tf.repeat(room, splits[1:] - splits[:-1]))
    new_counts = tf.minimum(counts + before[1:] - before[:-1], limits)
    return tf.boolean_mask(positions, is_kept), new_counts


def _draws_per_round(
    num_missing: Int32[tf.Tensor, " segments"], length_law: Float64[np.ndarray, " max_span_words"]
) -> Int32[tf.Tensor, ""]:
    """Draws that hide what is missing in most segments, rejected ones included, but not too many.

    The work of a round grows with the square of its draws: measured best are 30 for spans in 510
    tokens, 10 to 13 in 126, 4 in 25, and several rounds of 32 where every span is one word.
    """
    mean_words = len(length_law) - float(np.sum(length_law[:-1]))
    mean_missing = tf.reduce_mean(tf.cast(num_missing, tf.float64))
    num_spans = tf.cast(tf.math.ceil(1.2 * mean_missing / mean_words), tf.int32)
    return tf.minimum(num_spans + tf.minimum(num_spans, 5), 32)


def _scaled(
    draw: Float64[tf.Tensor, "segments draws"], count: Int32[tf.Tensor, "segments 1"]
) -> Int32[tf.Tensor, "segments draws"]:
    """A number of 0..count-1 from one of [0, 1)."""
    return tf.cast(draw * tf.cast(count, tf.float64), tf.int32)


def _num_reached(
    values: Num[tf.Tensor, "segments draws"], thresholds: Num[tf.Tensor, " n"]
) -> Int32[tf.Tensor, "segments draws"]:
    """How many of the ascending thresholds each value has reached."""
    flat = tf.searchsorted(thresholds, tf.reshape(values, [-1]), side="right")
    return tf.reshape(flat, tf.shape(values))
