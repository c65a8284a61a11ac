"""Encodes tagged text: spans of characters become spans of tokens.

In: the spans that tagging.py finds, and where tokens come from. Out: spans of whole words.
"""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate, chain

from spanbert_jax.corpus.tagging import Span, Tagger
from spanbert_jax.corpus.tokenizers import Tokenizer


class TaggedEncoder:
    """A tokenizer that finds the spans of a tagger among its tokens."""

    def __init__(self, tokenizer: Tokenizer, tagger: Tagger) -> None:
        self._tokenizer = tokenizer
        self._tagger = tagger
        self._word_starts: list[bool] = tokenizer.word_starts.tolist()

    def encode(
        self,
        texts: list[str],
        *,
        documents: list[list[list[str]]],
        dropped: list[Counter[str]],
    ) -> tuple[list[list[int]], list[Span]]:
        """Token ids of every text, and all tagged spans, counted from the first token of all.

        texts: the sentences of `documents` (by paragraph), with what stands before each.
        dropped: by document, counts what is left out.
        """
        ids, offsets = self._tokenizer.encode_batch_with_offsets(texts)
        tags = self._tagger.tag(documents, dropped)
        encoded = zip(texts, ids, offsets, tags, strict=True)
        spans: list[Span] = []
        begin = 0
        for paragraphs, counts in zip(documents, dropped, strict=True):
            for sentence in chain.from_iterable(paragraphs):
                text, tokens, places, found = next(encoded)
                before = len(text) - len(sentence)
                in_tokens = token_spans(
                    [(before + start, before + end) for start, end in found],
                    offsets=places,
                    word_starts=[self._word_starts[token_id] for token_id in tokens],
                    dropped=counts,
                )
                spans += [(begin + start, begin + end) for start, end in in_tokens]
                begin += len(tokens)
        return ids, spans


def token_spans(
    spans: Sequence[Span],
    *,
    offsets: Sequence[Span],
    word_starts: Sequence[bool],
    dropped: Counter[str],
) -> list[Span]:
    """Spans of one sentence in its tokens, ascending and apart.

    "New York rains" with the tokens "New" "York" "rain" "##s", word_starts [1, 1, 1, 0]:
    characters (0, 8) -> tokens (0, 2); characters (9, 13), of "rain" -> tokens (2, 4)

    A token belongs to a span if they share a character, and a span is widened to whole words. Of
    spans that share words then the longest stays, the first of those as long; nothing is cut.

    dropped: counts the spans that are gone.
    """
    if not spans:
        return []
    found = []
    starts, ends = _ascending(offsets)
    for start, end in spans:
        first, last = bisect_right(ends, start), bisect_left(starts, end)
        if first < last:
            found.append(_whole_words(first, last, word_starts))
        else:
            dropped["tags without tokens"] += 1
    return _apart(found, dropped)


def _ascending(offsets: Sequence[Span]) -> tuple[list[int], list[int]]:
    """Starts and ends of tokens, each ascending.

    A token that covers nothing was made of the character that follows it, as the others of that
    character: (0, 0) (0, 1) -> starts [0, 0], ends [1, 1]
    """
    ends: list[int] = []
    for start, end in reversed(offsets):
        ends.append(ends[-1] if start == end and ends else end)
    return list(accumulate((start for start, _ in offsets), max)), list(accumulate(ends[::-1], max))


def _whole_words(start: int, end: int, word_starts: Sequence[bool]) -> Span:
    """Tokens [start, end) with all of the words that they are part of."""
    while start > 0 and not word_starts[start]:
        start -= 1
    while end < len(word_starts) and not word_starts[end]:
        end += 1
    return start, end


def _apart(spans: list[Span], dropped: Counter[str]) -> list[Span]:
    """The longest of those that overlap; [(0, 2), (1, 4), (4, 5)] -> [(1, 4), (4, 5)]."""
    taken = bytearray(max((end for _, end in spans), default=0))
    kept = []
    for start, end in sorted(spans, key=lambda span: (span[0] - span[1], span[0])):
        if not any(taken[start:end]):
            taken[start:end] = bytes([1]) * (end - start)
            kept.append((start, end))
    if len(kept) < len(spans):
        dropped["overlapping tags"] += len(spans) - len(kept)
    return sorted(kept)
