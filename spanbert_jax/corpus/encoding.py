"""Cleans, splits and tokenizes a few documents at a time; what a worker process does.

In: raw documents. Out: sentences, or token ids with the lengths of sentences and documents, and
tagged spans.
"""

from collections import Counter
from itertools import chain
from typing import Literal, NamedTuple

import numpy as np
from etils import epath
from jaxtyping import Int64, Integer

from spanbert_jax.corpus.documents import RawDocument, clean_document
from spanbert_jax.corpus.sentences import split_sentences
from spanbert_jax.corpus.shards import token_dtype
from spanbert_jax.corpus.tagged_encoding import TaggedEncoder
from spanbert_jax.corpus.tagging import Span, Tagger, Tagging
from spanbert_jax.corpus.tokenizers import Tokenizer, load_tokenizer


class EncodedDocuments(NamedTuple):
    """Token ids of some documents, one after the other."""

    tokens: Integer[np.ndarray, " tokens"]
    sentence_lengths: Int64[np.ndarray, " sentences"]
    """In tokens."""
    document_lengths: Int64[np.ndarray, " documents"]
    """In sentences; 0 for a document of which nothing is left."""
    dropped: list[Counter[str]]
    """By document: what was left out, by reason."""
    spans: Int64[np.ndarray, "spans 2"]
    """Start and end (exclusive) in `tokens` of every tagged span, ascending, apart, each of whole
    words of one sentence."""


class Encoder:
    """Raw documents to sentences, and to token ids where there is a tokenizer."""

    def __init__(
        self,
        tokenizer: Tokenizer | None,
        *,
        split: Literal["sentences", "lines"],
        language: str,
        tagger: Tagger | None = None,
    ) -> None:
        self._tokenizer = tokenizer
        self._tagged = TaggedEncoder(tokenizer, tagger) if tokenizer and tagger else None
        self._split = split
        self._language = language

    def sentences(self, raw: RawDocument, dropped: Counter[str]) -> list[str]:
        """Sentences of one document; what cleaning left out is added to `dropped`."""
        return list(chain.from_iterable(self._paragraphs(raw, dropped)))

    def _paragraphs(self, raw: RawDocument, dropped: Counter[str]) -> list[list[str]]:
        return [
            split_sentences([paragraph], split=self._split, language=self._language)
            for paragraph in clean_document(raw, dropped).paragraphs
        ]

    def encode(self, raws: list[RawDocument]) -> EncodedDocuments:
        """Token ids of all documents.

        Documents "a b. c." and "" with the ids a=5 b=6 c=7 .=8 -> tokens [5, 6, 8, 7, 8],
        sentence_lengths [3, 2], document_lengths [2, 0]; where "b" is tagged, spans [[1, 2]]
        """
        assert self._tokenizer is not None
        dropped: list[Counter[str]] = [Counter() for _ in raws]
        by_paragraph = [
            self._paragraphs(raw, counts) for raw, counts in zip(raws, dropped, strict=True)
        ]
        documents = [list(chain.from_iterable(paragraphs)) for paragraphs in by_paragraph]
        space = self._tokenizer.between_sentences
        texts = [
            space + sentence if i else sentence
            for sentences in documents
            for i, sentence in enumerate(sentences)
        ]
        spans: list[Span] = []
        if self._tagged is None:
            ids = self._tokenizer.encode_batch(texts)
        else:
            ids, spans = self._tagged.encode(texts, documents=by_paragraph, dropped=dropped)
        lengths = np.fromiter(map(len, ids), np.int64, len(ids))
        num_sentences = np.array([len(sentences) for sentences in documents], np.int64)
        # A sentence of control characters alone has no tokens.
        ends = np.concatenate([[0], np.cumsum(lengths > 0)])[np.cumsum(num_sentences)]
        kept = np.diff(ends, prepend=0)
        for counts, found, left in zip(dropped, num_sentences, kept, strict=True):
            if found > left:
                counts["sentences without tokens"] += int(found - left)
            if not left:
                counts["empty documents"] += 1
        dtype = token_dtype(self._tokenizer.vocab_size)
        tokens = np.fromiter(chain.from_iterable(ids), dtype, int(lengths.sum()))
        places = np.array(spans, np.int64).reshape(-1, 2)
        return EncodedDocuments(tokens, lengths[lengths > 0], kept, dropped, places)


_encoder: Encoder | None = None


def start_encoder(
    tokenizer_file: epath.PathLike | None,
    split: str,
    language: str,
    tagging: Tagging | None = None,
) -> None:
    """Make this process ready for `encode_documents` and `sentences_of`."""
    global _encoder
    tokenizer = None if tokenizer_file is None else load_tokenizer(tokenizer_file)
    tagger = None if tagging is None else Tagger(tagging)
    assert split in ("sentences", "lines")
    _encoder = Encoder(tokenizer, split=split, language=language, tagger=tagger)  # type: ignore[arg-type]


def encode_documents(raws: list[RawDocument]) -> EncodedDocuments:
    assert _encoder is not None
    return _encoder.encode(raws)


def sentences_of(raws: list[RawDocument]) -> list[str]:
    """Sentences of all documents, for training a tokenizer."""
    assert _encoder is not None
    return [sentence for raw in raws for sentence in _encoder.sentences(raw, Counter())]
