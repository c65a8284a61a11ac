"""Byte-level BPE tokenizers (RoBERTa's), in Rust; `Ġ`, a space, stands before words.

The first word of a text has no `Ġ`: in a document every sentence but the first follows a space.
"""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import tokenizers
from jaxtyping import Bool

from spanbert_jax.corpus.tokenizers.hugging_face import RustTokenizer
from spanbert_jax.corpus.tokenizers.interface import check_special_pieces
from spanbert_jax.errors import UserError

SPACE = "Ġ"
SPECIAL_PIECES = ("<pad>", "<unk>", "<s>", "</s>", "<mask>")
_MASK_IN_TEXT = re.compile(r"\s*(?:\[MASK\]|<mask>)")


class ByteLevelTokenizer(RustTokenizer):
    """A byte-level BPE vocabulary; see `Tokenizer` for what its members mean."""

    kind = "byte-level"
    between_sentences = " "

    def __init__(self, rust: tokenizers.Tokenizer, *, where: str = "byte-level BPE") -> None:
        super().__init__(rust)
        ids = check_special_pieces(
            {piece: rust.token_to_id(piece) for piece in SPECIAL_PIECES},
            where,
            "name the tokenizer.json of a RoBERTa model",
        )
        self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id = ids.values()

    @property
    def word_starts(self) -> Bool[np.ndarray, " vocab"]:
        """Whether an entry starts a word: it begins with `Ġ`, or is special."""
        pieces = [self.id_to_piece(token_id) for token_id in range(self.vocab_size)]
        return np.array([piece.startswith(SPACE) or piece in SPECIAL_PIECES for piece in pieces])

    def encode_with_masks(self, text: str) -> list[int]:
        """As `encode`, but every "[MASK]" or "<mask>" becomes `mask_id`, with the space before it.

        "a [MASK]." -> "a", <mask>, "."; "a [MASK] b" -> "a", <mask>, "Ġb"
        """
        first, *rest = self.encode_batch(_MASK_IN_TEXT.split(text))
        for part in rest:
            first += [self.mask_id, *part]
        return first

    def decode(self, ids: Sequence[int]) -> str:
        """Text of the ids; <pad>, <s> and </s> vanish, <mask> is shown as " [MASK]"."""
        hidden = {self.pad_id, self.cls_id, self.sep_id}
        parts: list[list[int]] = [[]]
        for token_id in map(int, ids):
            if token_id == self.mask_id:
                parts.append([])
            elif token_id not in hidden:
                parts[-1].append(token_id)
        texts = [self._rust.decode(part, skip_special_tokens=False) for part in parts]
        return " [MASK]".join(texts).strip()


def byte_level_of(
    rust: tokenizers.Tokenizer, content: dict[str, Any], *, where: str
) -> ByteLevelTokenizer:
    """The tokenizer of a tokenizer.json whose model is BPE.

    Raises:
        UserError: its BPE is not over bytes, or a special piece is missing.
    """
    before = content["pre_tokenizer"] or {}
    steps = [step["type"] for step in before.get("pretokenizers", [before]) if step]
    if "ByteLevel" not in steps:
        raise UserError(
            f"{where}: a BPE model must be over bytes (pre_tokenizer ByteLevel), found "
            f"{', '.join(steps) or 'none'}; name the tokenizer.json of a RoBERTa or BERT model"
        )
    return ByteLevelTokenizer(rust, where=where)
