"""A masked row as a person reads it. In: a batch and a tokenizer. Out: pieces of text of one kind
each: observed, hidden in one of three ways, at the boundary of a span, or special.
"""

from collections.abc import Sequence
from itertools import groupby
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Int

from spanbert_jax.corpus.tokenizers import Tokenizer
from spanbert_jax.data.batch import PretrainBatch
from spanbert_jax.data.mask_statistics import Kind, original_ids, text_flags, token_kinds
from spanbert_jax.data.masking import Vocabulary

PieceKind = Literal["observed", "boundary", "special", "mask", "random", "kept"]

_HIDDEN: dict[int, PieceKind] = {Kind.MASK: "mask", Kind.RANDOM: "random", Kind.KEPT: "kept"}
HIDDEN_KINDS = tuple(_HIDDEN.values())


class Piece(NamedTuple):
    """Tokens side by side that are of one kind, as text."""

    kind: PieceKind
    seen: str
    """What the model sees; a space before it where its first token begins a word."""
    original: str
    """What stood there, where it is hidden; else empty."""


def masked_lines(
    batch: PretrainBatch,
    *,
    tokenizer: Tokenizer,
    vocabulary: Vocabulary,
    replaced_by_span: bool,
) -> list[list[Piece]]:
    """Every row of a batch in pieces, without its padding.

    [CLS] 11 [MASK] [MASK] 14 [SEP] [PAD], of which 11 is "The", 12 13 "Grand Canal", 14 "is" ->
    special "[CLS]", boundary " The", mask " [MASK] [MASK]" (original " Grand Canal"),
    boundary " is", special "[SEP]"
    """
    original = original_ids(batch)
    is_text = text_flags(original, batch=batch, vocabulary=vocabulary)
    kinds = token_kinds(batch, mask_id=vocabulary.mask_id, replaced_by_span=replaced_by_span)
    lines = []
    for row in range(len(original)):
        num_real = int(np.sum(batch.document_ids[row] != 0))
        is_target = batch.boundary_weights[row] == 1
        edges = {
            *batch.boundary_left[row][is_target].tolist(),
            *batch.boundary_right[row][is_target].tolist(),
        }
        names = [
            _kind(int(kinds[row, i]), is_text=bool(is_text[row, i]), is_edge=i in edges)
            for i in range(num_real)
        ]
        lines.append(
            _pieces(names, seen=batch.token_ids[row], original=original[row], tokenizer=tokenizer)
        )
    return lines


def _kind(kind: int, *, is_text: bool, is_edge: bool) -> PieceKind:
    if not is_text:
        return "special"
    if kind != Kind.OBSERVED:
        return _HIDDEN[kind]
    return "boundary" if is_edge else "observed"


def _pieces(
    names: Sequence[PieceKind],
    *,
    seen: Int[np.ndarray, " length"],
    original: Int[np.ndarray, " length"],
    tokenizer: Tokenizer,
) -> list[Piece]:
    pieces, start = [], 0
    for name, group in groupby(names):
        end = start + len(list(group))
        # Each boundary token by itself: two side by side belong to two spans.
        step = 1 if name in ("boundary", "special") else end - start
        for first in range(start, end, step):
            ids = (seen[first : first + step].tolist(), original[first : first + step].tolist())
            if name == "special":
                pieces.append(Piece(name, tokenizer.id_to_piece(ids[0][0]), ""))
            else:
                seen_text, before = (text_inside(side, tokenizer) for side in ids)
                pieces.append(Piece(name, seen_text, before if name in HIDDEN_KINDS else ""))
        start = end
    return pieces


def text_inside(ids: Sequence[int], tokenizer: Tokenizer) -> str:
    """Text of tokens from the middle of a row, with a space before it where they begin a word.

    Tokenizers take what they decode for the beginning of a text, and drop its space, or mark it as
    the rest of a word; [MASK] is put before it, and taken off again. Tokens of nothing but a space
    are shown as the pieces they are.
    """
    text = tokenizer.decode([tokenizer.mask_id, *ids]).removeprefix("[MASK]")
    return text if text.strip() else "".join(map(tokenizer.id_to_piece, ids))
