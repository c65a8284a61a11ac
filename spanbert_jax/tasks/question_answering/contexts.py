"""Contexts as tokens, each tokenized once, and where in the text every token stands.

In: questions. Out: token ids, and characters of tokens without white space at their ends.
"""

import sys
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import NamedTuple

import numpy as np
from jaxtyping import Int32

from spanbert_jax.corpus.tokenizers import Tokenizer
from spanbert_jax.tasks.question_answering.question import Question

# Questions that are made ready together: contexts are told to the tokenizer in one call.
CHUNK = 512
_SPACES = np.array([i for i in range(sys.maxunicode + 1) if chr(i).isspace()], np.uint32)


class Context(NamedTuple):
    """A context as its tokens."""

    text: str
    token_ids: Int32[np.ndarray, " tokens"]
    starts: Int32[np.ndarray, " tokens"]
    """First character of each token."""
    ends: Int32[np.ndarray, " tokens"]
    """Character after its last one; equal to its start where no character is left to a token."""
    tokenizer: Tokenizer

    def tokens_of(self, start: int, end: int) -> tuple[int, int] | None:
        """First and last token that share a character with [start, end); None where none does.

        starts = [0, 4, 8], ends = [3, 7, 12]: tokens_of(5, 9) -> (1, 2)
        """
        first = int(np.searchsorted(self.ends, start, side="right"))
        last = int(np.searchsorted(self.starts, end, side="left")) - 1
        return (first, last) if first <= last else None


class Encoded(NamedTuple):
    """A question and its context, as tokens."""

    example: int
    question: Question
    question_ids: list[int]
    context: Context


def encode_questions(questions: Sequence[Question], tokenizer: Tokenizer) -> Iterator[Encoded]:
    """Each question with its context; a context that stands for many is tokenized once."""
    numbered = iter(enumerate(questions))
    while chunk := list(islice(numbered, CHUNK)):
        contexts = encode_contexts({each.context for _, each in chunk}, tokenizer)
        question_ids = tokenizer.encode_batch([each.question for _, each in chunk])
        for (number, question), ids in zip(chunk, question_ids, strict=True):
            yield Encoded(number, question, ids, contexts[question.context])


def encode_contexts(texts: set[str], tokenizer: Tokenizer) -> dict[str, Context]:
    listed = sorted(texts)
    ids, offsets = tokenizer.encode_batch_with_offsets(listed)
    return {
        text: context_of(text, text_ids, text_offsets, tokenizer)
        for text, text_ids, text_offsets in zip(listed, ids, offsets, strict=True)
    }


def context_of(
    text: str, token_ids: list[int], offsets: list[tuple[int, int]], tokenizer: Tokenizer
) -> Context:
    """Arrays of what the tokenizer gave, white space taken off the ends of every token."""
    flat = np.fromiter(chain.from_iterable(offsets), np.int32, 2 * len(offsets))
    starts, ends = _without_space(text, flat[::2], flat[1::2])
    return Context(text, np.array(token_ids, np.int32), starts, ends, tokenizer)


def _without_space(
    text: str, starts: Int32[np.ndarray, " tokens"], ends: Int32[np.ndarray, " tokens"]
) -> tuple[Int32[np.ndarray, " tokens"], Int32[np.ndarray, " tokens"]]:
    """_without_space("a b", starts=[0, 1], ends=[1, 3]) -> [0, 2], [1, 3]"""
    letters = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    places = np.arange(len(letters), dtype=np.int32)
    blank = np.isin(letters, _SPACES)
    # The first character at or after each place that is no space, and the place after the last
    # one before it.
    after = np.append(np.where(blank, len(letters), places), len(letters))
    after = np.minimum.accumulate(after[::-1])[::-1].astype(np.int32)
    before = np.append(0, np.where(blank, 0, places + 1))
    before = np.maximum.accumulate(before).astype(np.int32)
    trimmed = np.minimum(after[starts], ends)
    return trimmed, np.maximum(before[ends], trimmed)
