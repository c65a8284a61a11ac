"""Cuts paragraphs into sentences, without losing any text but the white space between them."""

from collections.abc import Iterable
from typing import Literal

from sentencex import segment


def split_sentences(
    paragraphs: Iterable[str], *, split: Literal["sentences", "lines"], language: str
) -> list[str]:
    """Units that are never cut across blocks: sentences, or paragraphs as they are.

    ["Dr. Smith left. He was late.", "Why?"] -> ["Dr. Smith left.", "He was late.", "Why?"]
    """
    if split == "sentences":
        found = (sentence for text in paragraphs for sentence in segment(language, text))
    else:
        found = (text for text in paragraphs)
    return [stripped for text in found if (stripped := text.strip())]
