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
        self.fingerprint = fingerprint_of(json.loads(rust.to_str()))

    def encode(self, text: str) -> list[int]:
        """Token ids, no special ones added."""
        return self._rust.encode(text, add_special_tokens=False).ids

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """`encode` of every text; the quick way, which knows no offsets."""
        encodings = self._rust.encode_batch_fast(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    def encode_batch_with_offsets(
        self, texts: Sequence[str]
    ) -> tuple[list[list[int]], list[list[tuple[int, int]]]]:
        """`encode_batch`, and where in its text every token comes from, in characters."""
        encodings = self._rust.encode_batch(list(texts), add_special_tokens=False)
        return [each.ids for each in encodings], [each.offsets for each in encodings]

    def id_to_piece(self, token_id: int) -> str:
        piece = self._rust.id_to_token(int(token_id))
        # A vocabulary with a gap in its ids has no piece there.
        return "" if piece is None else piece

    def save(self, folder: epath.PathLike) -> str:
        """Write tokenizer.json into `folder`. Returns the name."""
        content = self._rust.to_str(pretty=True)
        write_file(epath.Path(folder) / TOKENIZER_JSON, content.encode())
        return TOKENIZER_JSON


def fingerprint_of(content: dict[str, Any]) -> str:
    """sha256 over what changes the ids of a text, of the content of a tokenizer.json.

    Left out are truncation and padding, the pieces put around a text and the way back from ids;
    and what can be said in two ways is said in one, so that a vocab.txt and the tokenizer.json of
    the same model agree.
    """
    parts = {name: _said_in_one_way(content[name]) for name in ("normalizer", "pre_tokenizer")}
    parts["model"] = content["model"]
    if added := _added_pieces(content):
        parts["added_tokens"] = added
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _said_in_one_way(step: Any) -> Any:
    """A step of normalisation or of cutting words, its values as they take effect."""
    if not isinstance(step, dict):
        return step
    # A Sequence holds its steps under one of these names.
    step = {
        name: [_said_in_one_way(each) for each in value]
        if name in ("normalizers", "pretokenizers")
        else value
        for name, value in step.items()
    }
    if step["type"] == "BertNormalizer" and step["strip_accents"] is None:
        return step | {"strip_accents": step["lowercase"]}
    if step["type"] == "ByteLevel":
        # It moves the offsets of pieces by white space at most.
        return step | {"trim_offsets": True}
    return step


def _added_pieces(content: dict[str, Any]) -> dict[str, Any]:
    """Pieces beside the vocabulary that are found in text, or are entries of their own.

    A special one is never found in text, so one that the vocabulary holds changes nothing.
    """
    vocabulary = content["model"]["vocab"]
    return {
        token["content"]: token["id"] if token["special"] else token
        for token in content["added_tokens"]
        if not token["special"] or vocabulary.get(token["content"]) != token["id"]
    }


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
