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
from spanbert_jax.corpus.tokenizers import Tokenizer
from spanbert_jax.corpus.tokenizers.word_piece import CONTINUATION, WordPieceTokenizer
from spanbert_jax.errors import UserError
from spanbert_jax.tasks.question_answering.contexts import Context

# What parts words in the released code: not all that Unicode calls white space.
_WORD = re.compile("[^ \t\r\n\u202f]+")


class Located(NamedTuple):
    """The text of an answer, and where it stands."""

    text: str
    """Empty where its tokens have no character."""
    span: tuple[int, int]
    """Characters [start, end) of the context."""


class Texts(Protocol):
    """A way from tokens to text."""

    placeholder: str
    """Answer where no span may be one: none is in the n-best of any window."""

    def check(self, tokenizer: Tokenizer) -> None:
        """Raise `UserError` for a tokenizer whose tokens it cannot put into words."""

    def locate(self, context: Context, first: int, last: int) -> Located:
        """Text and place of the tokens `first` to `last`."""


def texts_of(config: QuestionAnsweringConfig) -> Texts:
    return OriginalTexts() if config.answer_text == "original" else OffsetTexts()


def characters(context: Context, first: int, last: int) -> tuple[int, int]:
    """Characters [start, end) of the tokens `first` to `last`."""
    start, end = int(context.starts[first]), int(context.ends[last])
    return start, max(start, end)


class OffsetTexts:
    """The characters of the context, untouched: those of its place."""

    placeholder = ""

    def check(self, tokenizer: Tokenizer) -> None:
        """Every tokenizer gives offsets."""

    def locate(self, context: Context, first: int, last: int) -> Located:
        start, end = characters(context, first, last)
        shown = context.text[start:end]
        text = shown.strip()
        start += len(shown) - len(shown.lstrip())
        return Located(text, (start, start + len(text)))


class _Words(NamedTuple):
    words: list[str]
    starts: Int64[np.ndarray, " words"]


class OriginalTexts:
    """As the released code, to the letter; its answer where there is none is the word "empty".

    An answer stands where its first and its last letter do: with what parts words there made single
    spaces, the characters of its place are its text.
    """

    placeholder = "empty"

    def __init__(self) -> None:
        self._words: dict[str, _Words] = {}
        self._basic: dict[str, str] = {}

    def check(self, tokenizer: Tokenizer) -> None:
        _word_pieces(tokenizer)

    def locate(self, context: Context, first: int, last: int) -> Located:
        tokenizer = _word_pieces(context.tokenizer)
        pieces = [tokenizer.id_to_piece(each) for each in context.token_ids[first : last + 1]]
        words, starts = self._words_between(context, first, last)
        text = " ".join(words)
        if text not in self._basic:
            self._basic[text] = tokenizer.basic_text(text)
        start, end = place_in_words(joined(pieces), text, self._basic[text])
        if start == end:
            return Located("", (0, 0))
        place = _in_context(text, starts, start), _in_context(text, starts, end - 1) + 1
        return Located(text[start:end], place)

    def _words_between(self, context: Context, first: int, last: int) -> _Words:
        if context.text not in self._words:
            found = list(_WORD.finditer(context.text))
            starts = np.array([each.start() for each in found], np.int64)
            self._words[context.text] = _Words([each[0] for each in found], starts)
        words, starts = self._words[context.text]
        begin, end = np.searchsorted(starts, context.starts[[first, last]], side="right")
        inside = slice(max(0, begin - 1), end)
        return _Words(words[inside], starts[inside])


def _in_context(text: str, starts: Int64[np.ndarray, " words"], letter: int) -> int:
    """The character of the context that is a letter of its words, put together with single spaces.

    _in_context("Ada Lovelace", [3, 8], 5) -> 9, the o of "By Ada  Lovelace"
    """
    first_of_word = text.rfind(" ", 0, letter) + 1
    return int(starts[text.count(" ", 0, letter)]) + letter - first_of_word


def _word_pieces(tokenizer: Tokenizer) -> WordPieceTokenizer:
    if isinstance(tokenizer, WordPieceTokenizer):
        return tokenizer
    raise UserError(
        "--task.answer-text original: needs a WordPiece tokenizer, as the released code, "
        f"found {tokenizer.kind}; use --task.answer-text offsets"
    )


def joined(pieces: list[str]) -> str:
    """joined(["##ten", "was", "built"]) -> "ten was built"."""
    text = " ".join(pieces).replace(" " + CONTINUATION, "").replace(CONTINUATION, "")
    return " ".join(text.split())


def piece_text_in_words(pieces: str, words: str, basic: str) -> str:
    """The part of `words` that reads as `pieces`; see `place_in_words`.

    piece_text_in_words("smith", "(Steve) Smith,", "( steve ) smith ,") -> "Smith"
    piece_text_in_words("17 ½", "17½ miles", "17½ miles") -> "17½ miles"
    """
    start, end = place_in_words(pieces, words, basic)
    return words[start:end]


def place_in_words(pieces: str, words: str, basic: str) -> tuple[int, int]:
    """Where in `words` what reads as `pieces`, once lowercased and cleaned, stands: [start, end).

    All of `words` where they cannot be laid side by side, letter by letter. Spaces do not count.

    basic: `words` as `WordPieceTokenizer.basic_text` gives them.
    """
    at = basic.find(pieces)
    places = [place for place, letter in enumerate(words) if letter != " "]
    if not pieces or at < 0 or len(places) != len(basic.replace(" ", "")):
        return 0, len(words)
    first = at - basic.count(" ", 0, at)
    last = first + len(pieces.replace(" ", "")) - 1
    return places[first], places[last] + 1
