"""What tokenizers share that run in Rust, through Hugging Face tokenizers."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import tokenizers
from etils import epath

from spanbert_jax.corpus.files import write_file
from spanbert_jax.errors import UserError

TOKENIZER_JSON = "tokenizer.json"


class RustTokenizer:
    """Encoding, pieces and the file of a tokenizer.json; see `Tokenizer` for the members."""

    def __init__(self, rust: tokenizers.Tokenizer) -> None:
        rust.no_truncation()
        rust.no_padding()
        # "[MASK]" in a text is spelled out as any other word.
        rust.encode_special_tokens = True
        self._rust = rust
        self.vocab_size: int = rust.get_vocab_size()
        content = json.loads(rust.to_str())
        parts = {name: content[name] for name in ("normalizer", "pre_tokenizer", "model")}
        parts |= self._fingerprinted_too(content)
        self.fingerprint = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def _fingerprinted_too(self, content: dict[str, Any]) -> dict[str, Any]:
        """What else in the file changes how text is encoded."""
        return {}

    def encode(self, text: str) -> list[int]:
        """Token ids, no special ones added."""
        return self._rust.encode(text, add_special_tokens=False).ids

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """`encode` of every text, without the offsets that nobody needs here."""
        encodings = self._rust.encode_batch_fast(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    def id_to_piece(self, token_id: int) -> str:
        piece = self._rust.id_to_token(int(token_id))
        # A vocabulary with a gap in its ids has no piece there.
        return "" if piece is None else piece

    def save(self, folder: epath.PathLike) -> str:
        """Write tokenizer.json into `folder`. Returns the name."""
        content = self._rust.to_str(pretty=True)
        write_file(epath.Path(folder) / TOKENIZER_JSON, content.encode())
        return TOKENIZER_JSON


def parse_json(content: str, *, where: str) -> tuple[tokenizers.Tokenizer, dict[str, Any]]:
    """The tokenizer in a tokenizer.json, and what the file says.

    Raises:
        UserError: it is none.
    """
    try:
        rust, tree = tokenizers.Tokenizer.from_str(content), json.loads(content)
    except Exception as error:  # the Rust library raises bare Exception
        raise UserError(
            f"{where}: is not a tokenizer.json ({error}); name the tokenizer.json or vocab.txt of "
            "a BERT model"
        ) from error
    return rust, tree
