"""Texts and pairs of texts as rows. In: token ids of each text. Out: [CLS] a [SEP] (b [SEP]),
and whether that is all of them.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int32

from spanbert_jax.corpus.tokenizers import Tokenizer

# Texts that are encoded together: the tokenizer uses all cores for them.
_AT_ONCE = 4_096


class Row(NamedTuple):
    token_ids: Int32[np.ndarray, " length"]
    segment_ids: Int32[np.ndarray, " length"]
    is_cut: bool
    """Whether its texts are longer than the row."""


def text_rows(
    texts: Sequence[str],
    pairs: Sequence[str | None],
    *,
    tokenizer: Tokenizer,
    max_length: int,
) -> Iterator[Row]:
    """A row for each text, with its second one where there is one."""
    for start in range(0, len(texts), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        first = tokenizer.encode_batch(list(texts[part]))
        second = tokenizer.encode_batch([pair or "" for pair in pairs[part]])
        for a, b in zip(first, second, strict=True):
            yield make_row(
                a, b, cls_id=tokenizer.cls_id, sep_id=tokenizer.sep_id, max_length=max_length
            )


def make_row(
    first: Sequence[int], second: Sequence[int], *, cls_id: int, sep_id: int, max_length: int
) -> Row:
    """Cut what is too long, and put the special tokens around; a second text of no tokens is none.

    first = [7, 8], second = [9], cls_id = 2, sep_id = 3
    -> token_ids [2, 7, 8, 3, 9, 3], segment_ids [0, 0, 0, 0, 1, 1], is_cut False
    """
    num_first, num_second = kept_lengths(
        len(first), len(second), room=max_length - (3 if second else 2)
    )
    tokens = [cls_id, *first[:num_first], sep_id]
    tail = [*second[:num_second], sep_id] if second else []
    segments = np.repeat(np.array([0, 1], np.int32), [len(tokens), len(tail)])
    is_cut = num_first + num_second < len(first) + len(second)
    return Row(np.array(tokens + tail, np.int32), segments, is_cut)


def kept_lengths(first: int, second: int, *, room: int) -> tuple[int, int]:
    """How much of two texts stays: the longer one loses its last token until both fit, and the
    second one where they are equal (as BERT cuts pairs).

    first = 9, second = 3, room = 8 -> (5, 3); first = 9, second = 9, room = 7 -> (4, 3)
    """
    if first + second <= room:
        return first, second
    kept = min(first, max(room - second, (room + 1) // 2))
    return kept, room - kept
