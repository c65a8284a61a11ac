"""A masked row, as a person reads it."""

import numpy as np
import pytest

from spanbert_jax.corpus.tokenizers.word_piece import WordPieceTokenizer, parse_vocabulary
from spanbert_jax.data.batch import PretrainBatch, empty_batch
from spanbert_jax.data.masking import Vocabulary
from spanbert_jax.tasks.mask_lines import Piece, masked_lines, text_inside

PAD, UNK, CLS, SEP, MASK = range(5)
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "grand", "canal", "##s", "is", "."]
THE, GRAND, CANAL, S, IS, DOT = range(5, 11)


@pytest.fixture(scope="module")
def tokenizer() -> WordPieceTokenizer:
    return parse_vocabulary("\n".join(PIECES), lowercase=False, where="test")


def lines(tokenizer: WordPieceTokenizer, batch: PretrainBatch, *, replaced_by_span: bool = True):
    vocabulary = Vocabulary(
        np.asarray(tokenizer.word_starts), np.arange(len(PIECES)), CLS, SEP, MASK, PAD
    )
    return masked_lines(
        batch, tokenizer=tokenizer, vocabulary=vocabulary, replaced_by_span=replaced_by_span
    )


def batch_of(
    row: list[int], *, targets: dict[int, int], edges: dict[int, tuple[int, int]]
) -> PretrainBatch:
    """One row with padding; the tokens that stood there; the boundary of those that have one."""
    batch = empty_batch(1, len(row) + 2, len(targets) + 1)
    batch.token_ids[0, : len(row)] = row
    batch.document_ids[0, : len(row)] = 1
    for slot, (column, token) in enumerate(targets.items()):
        batch.masked_positions[0, slot] = column
        batch.masked_ids[0, slot] = token
        batch.masked_weights[0, slot] = 1
        if column in edges:
            batch.boundary_left[0, slot], batch.boundary_right[0, slot] = edges[column]
            batch.boundary_weights[0, slot] = 1
    return batch


def test_the_example_of_masked_lines(tokenizer):
    batch = batch_of(
        [CLS, THE, MASK, MASK, IS, SEP], targets={2: GRAND, 3: CANAL}, edges={2: (1, 4), 3: (1, 4)}
    )
    assert lines(tokenizer, batch) == [
        [
            Piece("special", "[CLS]", ""),
            Piece("boundary", " the", ""),
            Piece("mask", " [MASK] [MASK]", " grand canal"),
            Piece("boundary", " is", ""),
            Piece("special", "[SEP]", ""),
        ]
    ]


def test_what_goes_on_with_a_word_has_no_space_before_it(tokenizer):
    batch = batch_of(
        [CLS, THE, CANAL, GRAND, IS, DOT, SEP], targets={3: S, 5: DOT}, edges={3: (2, 4)}
    )
    (line,) = lines(tokenizer, batch)
    assert line[1:-1] == [
        Piece("observed", " the", ""),
        Piece("boundary", " canal", ""),
        Piece("random", " grand", "s"),
        Piece("boundary", " is", ""),
        Piece("kept", ".", "."),
    ]


def test_tokens_of_a_run_are_of_kinds_of_their_own_where_each_is_drawn_by_itself(tokenizer):
    batch = batch_of([CLS, MASK, GRAND, IS, SEP], targets={1: THE, 2: GRAND}, edges={})
    (line,) = lines(tokenizer, batch, replaced_by_span=False)
    assert [piece.kind for piece in line] == ["special", "mask", "kept", "observed", "special"]
    (line,) = lines(tokenizer, batch, replaced_by_span=True)
    assert [piece.kind for piece in line] == ["special", "mask", "observed", "special"]


def test_neighbours_of_two_spans_are_two_pieces(tokenizer):
    batch = batch_of(
        [CLS, THE, MASK, IS, CANAL, MASK, DOT, SEP], targets={2: GRAND, 5: GRAND},
        edges={2: (1, 3), 5: (4, 6)},
    )  # fmt: skip
    (line,) = lines(tokenizer, batch)
    assert [piece.seen for piece in line if piece.kind == "boundary"][1:3] == [" is", " canal"]


def test_a_piece_that_is_nothing_but_a_space_is_shown():
    class OfSpaces:
        mask_id = MASK

        def decode(self, ids):
            return "[MASK]"

        def id_to_piece(self, token_id):
            return "▁"

    assert text_inside([7], OfSpaces()) == "▁"
