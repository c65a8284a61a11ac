"""The text of an answer, of its first and its last token. In: tokens of a context. Out: text.

By offsets it is what stands in the context. The released code has another way: the pieces are put
together, found again in the words they came from, and mapped back character by character, where
both have the same number of them; else the whole words are the answer. The two differ where words
are parted by more than a space, and where cleaning or lowercasing changes the number of letters.
"""

import re
from typing import NamedTuple, Protocol

import numpy as np
from jaxtyping import Int64

from spanbert_jax.config.tasks import QuestionAnsweringConfig
from spanbert_jax.corpus.tokenizers.word_piece import CONTINUATION, WordPieceTokenizer
from spanbert_jax.errors import UserError
from spanbert_jax.tasks.question_answering.contexts import Context

# What parts words in the released code: not all that Unicode calls white space.
_WORD = re.compile("[^ \t\r\n\u202f]+")


class Texts(Protocol):
    """A way from tokens to text."""

    placeholder: str
    """Answer where no span may be one: none is in the n-best of any window."""

    def text(self, context: Context, first: int, last: int) -> str:
        """Text of the tokens `first` to `last`; empty where they have no character."""


def texts_of(config: QuestionAnsweringConfig) -> Texts:
    return OriginalTexts() if config.answer_text == "original" else OffsetTexts()


def characters(context: Context, first: int, last: int) -> tuple[int, int]:
    """Characters [start, end) of the tokens `first` to `last`."""
    start, end = int(context.starts[first]), int(context.ends[last])
    return start, max(start, end)


class OffsetTexts:
    """The characters of the context, untouched."""

    placeholder = ""

    def text(self, context: Context, first: int, last: int) -> str:
        start, end = characters(context, first, last)
        return context.text[start:end].strip()


class _Words(NamedTuple):
    words: list[str]
    starts: Int64[np.ndarray, " words"]


class OriginalTexts:
    """As the released code, to the letter; its answer where there is none is the word "empty"."""

    placeholder = "empty"

    def __init__(self) -> None:
        self._words: dict[str, _Words] = {}
        self._basic: dict[str, str] = {}

    def text(self, context: Context, first: int, last: int) -> str:
        tokenizer = context.tokenizer
        if not isinstance(tokenizer, WordPieceTokenizer):
            raise UserError(
                "--task.answer-text original: needs a WordPiece tokenizer, as the released code, "
                f"found {tokenizer.kind}; use --task.answer-text offsets"
            )
        pieces = [tokenizer.id_to_piece(each) for each in context.token_ids[first : last + 1]]
        words = self._words_between(context, first, last)
        if words not in self._basic:
            self._basic[words] = tokenizer.basic_text(words)
        return piece_text_in_words(joined(pieces), words, self._basic[words])

    def _words_between(self, context: Context, first: int, last: int) -> str:
        if context.text not in self._words:
            found = list(_WORD.finditer(context.text))
            starts = np.array([each.start() for each in found], np.int64)
            self._words[context.text] = _Words([each[0] for each in found], starts)
        words, starts = self._words[context.text]
        begin, end = np.searchsorted(starts, context.starts[[first, last]], side="right")
        return " ".join(words[max(0, begin - 1) : end])


def joined(pieces: list[str]) -> str:
    """joined(["##ten", "was", "built"]) -> "ten was built"."""
    text = " ".join(pieces).replace(" " + CONTINUATION, "").replace(CONTINUATION, "")
    return " ".join(text.split())


def piece_text_in_words(pieces: str, words: str, basic: str) -> str:
    """The part of `words` that reads as `pieces` once it is lowercased and cleaned.

    All of `words` where they cannot be laid side by side, letter by letter. Spaces do not count.

    piece_text_in_words("smith", "(Steve) Smith,", "( steve ) smith ,") -> "Smith"
    piece_text_in_words("17 ½", "17½ miles", "17½ miles") -> "17½ miles"

    basic: `words` as `WordPieceTokenizer.basic_text` gives them.
    """
    at = basic.find(pieces)
    places = [place for place, letter in enumerate(words) if letter != " "]
    if not pieces or at < 0 or len(places) != len(basic.replace(" ", "")):
        return words
    first = at - basic.count(" ", 0, at)
    last = first + len(pieces.replace(" ", "")) - 1
    return words[places[first] : places[last] + 1]
