"""Cuts contexts into windows behind their question. In: questions as tokens. Out: rows.

A row is [CLS] question [SEP] context [SEP], with segments 0 and 1: the question first, as the
released code has it (the paper's text says it last).
"""

import hashlib
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Int32

from spanbert_jax.config.tasks import QuestionAnsweringConfig
from spanbert_jax.corpus.tokenizers import Tokenizer
from spanbert_jax.data.batch import TaskRow
from spanbert_jax.tasks.question_answering.contexts import Context, Encoded


class Window(NamedTuple):
    """What decoding needs to know of a row."""

    context: Context
    number: int
    """Which one of its context it is, from 0."""
    first_token: int
    """The token of the context that the window begins with."""
    num_tokens: int
    """Tokens of the context in the window."""
    first_position: int
    """Position in the row of the first of them: 2 more than the question has tokens."""
    max_context: Bool[np.ndarray, " tokens"]
    """Of each of them, whether no other window shows more of what stands around it."""
    question_cut: bool = False
    """Whether the question is longer than its room."""


class Trained(NamedTuple):
    """What is to be said of a row that is trained on."""

    question_cut: bool
    """Whether the question is longer than its room."""
    has_answer: bool
    """Whether the question has an answer, in this window or in another one."""


def window_spans(num_tokens: int, *, room: int, stride: int) -> list[tuple[int, int]]:
    """First token and length of every window; a text without tokens has one, empty.

    window_spans(10, room=6, stride=3) -> [(0, 6), (3, 6), (6, 4)]
    """
    step = min(room, stride)
    last = max(0, -(-(num_tokens - room) // step)) * step
    return [(start, min(room, num_tokens - start)) for start in range(0, last + 1, step)]


def max_context_flags(
    spans: list[tuple[int, int]], num_tokens: int
) -> list[Bool[np.ndarray, " tokens"]]:
    """Of every token of every window, whether that window shows it best.

    Best is the most context on the side that has less of it, and then the longer window; the first
    where they are as good (run_squad of the released code).

    max_context_flags([(0, 6), (3, 6)], 9) -> [[1, 1, 1, 1, 1, 0], [0, 0, 1, 1, 1, 1]]
    """
    best = np.full(num_tokens, -1.0)
    owner = np.zeros(num_tokens, np.int64)
    for index, (start, length) in enumerate(spans):
        inside = np.arange(length)
        score = np.minimum(inside, length - 1 - inside) + 0.01 * length
        here = slice(start, start + length)
        better = score > best[here]
        best[here] = np.where(better, score, best[here])
        owner[here] = np.where(better, index, owner[here])
    return [owner[start : start + length] == i for i, (start, length) in enumerate(spans)]


def question_room(config: QuestionAnsweringConfig) -> int:
    """Tokens that a question may have: a quarter of the window at least is left to its context.

    max_length 512, max_query_length 64 -> 64; max_length 64, max_query_length 64 -> 45
    """
    return min(config.max_query_length, 3 * (config.max_length - 3) // 4)


def rows_of(
    encoded: Encoded, *, config: QuestionAnsweringConfig, tokenizer: Tokenizer, training: bool
) -> Iterator[TaskRow]:
    """The windows of one question.

    training: with the fields `answer_start` and `answer_end`, positions of the answer in the row;
        0 where the window does not hold all of it, or there is none; and with `Trained` as notes.
        Else with a `Window`.
    """
    question = encoded.question_ids[: question_room(config)]
    cut = len(question) < len(encoded.question_ids)
    context, first = encoded.context, len(question) + 2
    head = np.array([tokenizer.cls_id, *question, tokenizer.sep_id], np.int32)
    room = config.max_length - first - 1
    num_tokens = len(context.token_ids)
    spans = window_spans(num_tokens, room=room, stride=config.doc_stride)
    flags = [] if training else max_context_flags(spans, num_tokens)
    answer = _answer_tokens(encoded) if training else None
    # Where no window holds the answer, all are kept, as of a question without one.
    some_answered = any(_holds(answer, start, length) for start, length in spans)
    for index, (start, length) in enumerate(spans):
        fields: dict[str, Any] = {}
        notes: Window | Trained
        if training:
            notes = Trained(cut, encoded.question.span is not None)
            fields = _labels(answer, start=start, length=length, first=first)
            is_beside = some_answered and not _holds(answer, start, length)
            if is_beside and not _is_kept(encoded.question.id, index, config):
                continue
        else:
            notes = Window(context, index, start, length, first, flags[index], cut)
        token_ids = np.concatenate(
            [head, context.token_ids[start : start + length], [tokenizer.sep_id]]
        ).astype(np.int32)
        segment_ids = segments(first, len(token_ids))
        yield TaskRow(token_ids, segment_ids, encoded.example, fields, notes)


@lru_cache(maxsize=4096)
def segments(first: int, length: int) -> Int32[np.ndarray, " length"]:
    """segments(3, 5) -> [0, 0, 0, 1, 1]; rows of the same form share theirs."""
    segment_ids = (np.arange(length) >= first).astype(np.int32)
    segment_ids.flags.writeable = False
    return segment_ids


def _is_kept(question_id: str, window: int, config: QuestionAnsweringConfig) -> bool:
    """Whether a window without the answer is trained on: by a hash, so in every run the same."""
    digest = hashlib.sha256(f"{question_id}:{window}".encode()).digest()
    return int.from_bytes(digest[:8]) < config.answerless_windows * 2**64


def _answer_tokens(encoded: Encoded) -> tuple[int, int] | None:
    """First and last token of the answer; None where there is none, or the tokenizer drops all of
    its characters.
    """
    span = encoded.question.span
    return None if span is None else encoded.context.tokens_of(*span)


def _holds(answer: tuple[int, int] | None, start: int, length: int) -> bool:
    """_holds((7, 8), 5, 6) -> True; _holds((7, 8), 5, 3) -> False"""
    return answer is not None and answer[0] >= start and answer[1] < start + length


def _labels(
    answer: tuple[int, int] | None, *, start: int, length: int, first: int
) -> dict[str, np.int32]:
    """_labels((7, 8), start=5, length=6, first=4) -> 6, 7; a window without it -> 0, 0"""
    inside = answer if _holds(answer, start, length) else None
    begin, end = (each - start + first for each in inside) if inside else (0, 0)
    return {"answer_start": np.int32(begin), "answer_end": np.int32(end)}
