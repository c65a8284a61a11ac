"""What every tokenizer can do, and the special pieces it must know."""

import re
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from etils import epath
from jaxtyping import Bool

from spanbert_jax.errors import UserError

SPECIAL_PIECES = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
"""In the order of their ids (0 to 4) in a tokenizer that is trained here."""

MASK_IN_TEXT = re.compile(re.escape("[MASK]"))


class Tokenizer(Protocol):
    """Text to token ids and back.

    Text never yields a special id: "[MASK]" in a corpus is spelled like any other word. Only
    `encode_with_masks` reads it as the mask, for sentences that are to be filled in.
    """

    kind: str
    """sentencepiece, wordpiece or byte-level."""
    between_sentences: str
    """What a text begins with where it follows another one in its document."""
    vocab_size: int
    pad_id: int
    unk_id: int
    cls_id: int
    sep_id: int
    mask_id: int
    fingerprint: str
    """sha256 over the vocabulary and everything else that changes how text is encoded."""

    @property
    def word_starts(self) -> Bool[np.ndarray, " vocab"]:
        """Whether an entry starts a word; special pieces are words of their own.

        pieces ["[CLS]", "play", "##ing"] -> [1, 1, 0]; ["[CLS]", "▁play", "ing"] -> [1, 1, 0]
        """

    def encode(self, text: str) -> list[int]:
        """Token ids, no special ones added."""

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """`encode` of every text, quicker than one by one."""

    def encode_batch_with_offsets(
        self, texts: Sequence[str]
    ) -> tuple[list[list[int]], list[list[tuple[int, int]]]]:
        """`encode_batch`, and of every token the characters [start, end) of its text it came from.

        "é a" in bytes, the pieces "Ã" "©" "Ġa" -> offsets (0, 1) (0, 1) (1, 3) or (2, 3)

        A token may cover the white space before it or not. Where a character becomes several
        tokens, each may cover it; or the last one does, and the others cover nothing before it.
        """

    def encode_with_masks(self, text: str) -> list[int]:
        """As `encode`, but every "[MASK]" becomes `mask_id`."""

    def decode(self, ids: Sequence[int]) -> str:
        """Text of the ids; [PAD], [CLS] and [SEP] vanish, [MASK] is shown."""

    def id_to_piece(self, token_id: int) -> str: ...

    def save(self, folder: epath.PathLike) -> str:
        """Write the tokenizer's one file into `folder`. Returns its name."""


def check_special_pieces(found: dict[str, int | None], where: str, remedy: str) -> dict[str, int]:
    """Raise `UserError` naming the special pieces that have no id."""
    missing = [piece for piece, token_id in found.items() if token_id is None]
    if missing:
        raise UserError(
            f"{where}: a tokenizer must hold the special pieces {' '.join(found)}, "
            f"missing are {' '.join(missing)}; {remedy}"
        )
    return {piece: token_id for piece, token_id in found.items() if token_id is not None}


def check_vocab_size(*, asked: int, most: int | None = None, least: int | None = None) -> None:
    """Raise `UserError` where a vocabulary of `asked` entries cannot be trained on the text."""
    if most is not None and most < asked:
        # PrepareConfig refuses a vocabulary of fewer than 100 entries.
        smaller = f"use --vocab-size {most} or less, or more text" if most >= 100 else "add text"
        raise UserError(
            f"--vocab-size {asked}: the text can fill at most {most} entries; {smaller}"
        )
    if least is not None and least > asked:
        raise UserError(
            f"--vocab-size {asked}: the text needs at least {least} entries for its single "
            f"characters; use --vocab-size {least + 100} or more"
        )
