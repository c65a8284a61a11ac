"""Which documents are kept, by a look at each alone. In: raw documents. Out: paragraphs and keys.

What becomes of a document is a rule on its text, so that it is the same in whatever process, on
whatever machine and in whatever order documents are looked at.
"""

import functools
import unicodedata
from collections import Counter
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool

from spanbert_jax.config import PrepareConfig
from spanbert_jax.corpus.documents import RawDocument, clean_document
from spanbert_jax.corpus.held_out import content_keys


class KeptDocument(NamedTuple):
    """A document after cleaning, with what decides about it from here on."""

    paragraphs: list[str]
    key: int
    """Of the content, in [0, 2^64): the split, the shard, and the order in it."""
    check: int
    """64 more bits of the content's hash: two documents with both equal are one text."""
    num_bytes: int


def keep_document(
    raw: RawDocument, config: PrepareConfig, counts: Counter[str]
) -> KeptDocument | None:
    """Clean a document; None, counted by reason, where a filter drops it or nothing is left."""
    paragraphs = clean_document(raw, counts).paragraphs
    text = "\n".join(paragraphs)
    reason = reason_to_drop(text, config)
    if reason:
        counts[reason] += 1
        return None
    content = text.encode()
    return KeptDocument(paragraphs, *content_keys(content), len(content))


def reason_to_drop(text: str, config: PrepareConfig) -> str:
    """What the filters have against a document; "" where they have nothing.

    With min_characters=9: "Too short" passes, "" is "empty documents", and "Short" is "documents
    shorter than --min-characters".
    """
    if not text:
        return "empty documents"
    if len(text) < config.min_characters:
        return "documents shorter than --min-characters"
    if config.max_characters and len(text) > config.max_characters:
        return "documents longer than --max-characters"
    if config.min_letter_share > 0.0 and letter_share(text) < config.min_letter_share:
        return "documents below --min-letter-share"
    if config.max_garbled_share < 1.0 and garbled_share(text) > config.max_garbled_share:
        return "documents above --max-garbled-share"
    return ""


def letter_share(text: str) -> float:
    """Share of letters (with the marks upon them) and white space: letter_share("a b1") -> 0.75."""
    return float(_table("letters")[_code_points(text)].mean())


def garbled_share(text: str) -> float:
    """Share of characters that no text holds: control characters, the replacement character
    U+FFFD, and code points for private use.

    garbled_share("caf\\ufffd") -> 0.25
    """
    return float(_table("garbled")[_code_points(text)].mean())


def _code_points(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


@functools.cache
def _table(kind: str) -> Bool[np.ndarray, " characters"]:
    """Whether each character of Unicode is of a kind; looked up faster than asked of each."""
    characters = list(map(chr, range(0x110000)))
    categories = np.array(list(map(unicodedata.category, characters)))
    spaces = np.array(list(map(str.isspace, characters)))
    if kind == "letters":
        return np.char.startswith(categories, "L") | np.char.startswith(categories, "M") | spaces
    garbled = np.isin(categories, ("Cc", "Co", "Cs")) & ~spaces
    garbled[0xFFFD] = True
    return garbled
