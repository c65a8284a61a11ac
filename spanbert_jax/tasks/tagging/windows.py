"""Sentences as rows of tokens: whole, or in windows where they are longer than a row.

In: words, a tokenizer. Out: token ids, where the words lie in them, which words a window judges.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from spanbert_jax.corpus.tokenizers import Tokenizer
from spanbert_jax.tasks.tagging.sentence import TaggedSentence


class Window(NamedTuple):
    """Words [start, end) of a sentence in one row."""

    start: int
    end: int
    judged_start: int
    """Of the words that two windows hold, each judges those nearer to its middle."""
    judged_end: int
    previous_end: int
    """Where the window before it ends, 0 of the first one."""
    first_pieces: np.ndarray
    """(words,) int32: position in the row of the first piece of each word."""
    last_pieces: np.ndarray
    """(words,) int32: position in the row of the last piece of each word."""
    num_windows: int
    """Of the whole sentence."""
    cut_words: int
    """Words longer than a row, of which only the beginning is read."""


def word_pieces(
    sentences: Sequence[TaggedSentence], tokenizer: Tokenizer
) -> Iterator[list[list[int]]]:
    """Token ids of each word, at least one; every spelling is encoded once.

    Only a word that begins its sentence has no space before it.
    """
    space = tokenizer.between_sentences
    spelled = [
        [word if i == 0 else space + word for i, word in enumerate(sentence.words)]
        for sentence in sentences
    ]
    words = list(dict.fromkeys(word for sentence in spelled for word in sentence))
    pieces = dict(zip(words, tokenizer.encode_batch(words), strict=True))
    for sentence in spelled:
        # A word of characters that the tokenizer drops is read as unknown.
        yield [pieces[word] or [tokenizer.unk_id] for word in sentence]


def windows_of(
    pieces: Sequence[list[int]], *, tokenizer: Tokenizer, max_length: int, overlap: int
) -> Iterator[tuple[np.ndarray, Window]]:
    """Rows of one sentence: token ids (int32) and the window that they show."""
    room = max_length - 2
    cut = sum(len(each) > room for each in pieces)
    pieces = [each[:room] for each in pieces]
    spans = word_windows([len(each) for each in pieces], room=room, overlap=min(overlap, room // 2))
    bounds = [0, *((later + end) // 2 for (_, end), (later, _) in pairwise(spans)), len(pieces)]
    previous_ends = [0, *(end for _, end in spans[:-1])]
    for (start, end), (first, last), previous in zip(
        spans, pairwise(bounds), previous_ends, strict=True
    ):
        inside = pieces[start:end]
        ends = np.cumsum([len(each) for each in inside], dtype=np.int32)
        starts = ends - [len(each) for each in inside] + 1
        ids = [token_id for each in inside for token_id in each]
        yield (
            np.array([tokenizer.cls_id, *ids, tokenizer.sep_id], np.int32),
            Window(
                start, end, first, last, previous, starts.astype(np.int32), ends, len(spans), cut
            ),
        )


def word_windows(sizes: Sequence[int], *, room: int, overlap: int) -> list[tuple[int, int]]:
    """Words [start, end) of windows of at most `room` pieces, neighbours of which share words of at
    most `overlap` pieces.

    sizes = [2, 1, 1, 2, 3], room = 4, overlap = 1 -> [(0, 3), (2, 4), (4, 5)]
    """
    windows, start = [], 0
    while True:
        end, pieces = start, 0
        while end < len(sizes) and pieces + sizes[end] <= room:
            pieces, end = pieces + sizes[end], end + 1
        windows.append((start, end))
        if end == len(sizes):
            return windows
        # The next word must fit behind those that are shared.
        shared, most = 0, min(overlap, room - sizes[end])
        earliest, start = start + 1, end
        while start > earliest and shared + sizes[start - 1] <= most:
            shared, start = shared + sizes[start - 1], start - 1
