"""A sentence of words with tags. In: words or text. Out: `TaggedSentence`."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from spanbert_jax.corpus.json_lines import characters
from spanbert_jax.errors import UserError

# Chinese characters and Japanese syllables are words of their own, as in BERT's tokenization.
_SINGLE = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_SINGLE}]|[^\W{_SINGLE}]+|[^\w\s]")


class TaggedSentence(NamedTuple):
    """Words, and their tags in BIO where they are known."""

    words: tuple[str, ...]
    tags: tuple[str, ...] | None = None
    where: str = ""
    """File and line, for errors."""
    text: str | None = None
    """That the words were found in."""
    offsets: tuple[tuple[int, int], ...] = ()
    """Characters [start, end) of the words in `text`."""


def from_text(text: str, *, where: str) -> TaggedSentence:
    """Words of running text: letters and digits together, other characters each by itself.

    "It's in Rome." -> It ' s in Rome .

    Raises:
        UserError: there is no word.
    """
    characters(text, what="text", where=where)
    offsets = tuple(match.span() for match in _WORD.finditer(text))
    if not offsets:
        raise UserError(f"{where}: text must hold a word, found {text!r:.80}")
    words = tuple(text[start:end] for start, end in offsets)
    return TaggedSentence(words, None, where, text, offsets)


def from_fields(fields: Mapping[str, Any]) -> TaggedSentence:
    """What a user asked about: {"tokens": [...]} or {"text": "..."}.

    Raises:
        UserError: a field is missing, unknown or of another kind.
    """
    if len(fields) != 1 or not fields.keys() <= {"tokens", "text"}:
        raise UserError(
            f"tag: must have one field, tokens or text, found {', '.join(fields) or 'none'}; give "
            "the sentence in one of them"
        )
    if "text" in fields:
        if not isinstance(fields["text"], str):
            raise UserError(f"tag: text must be text, found {fields['text']!r:.80}")
        return from_text(fields["text"], where="tag")
    return TaggedSentence(words_of(fields["tokens"], where="tag"), None, "tag")


def words_of(tokens: Any, *, where: str) -> tuple[str, ...]:
    """The words of a list.

    Raises:
        UserError: it is no list of words.
    """
    if (
        not isinstance(tokens, list)
        or not tokens
        or not all(isinstance(token, str) and token for token in tokens)
    ):
        raise UserError(f"{where}: tokens must be a list of words, found {tokens!r:.80}")
    characters(" ".join(tokens), what="a word", where=where)
    return tuple(tokens)
