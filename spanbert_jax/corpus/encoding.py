"""Cleans, filters, splits and tokenizes a few documents at a time; what a worker process does.

In: raw documents. Out: sentences, or token ids with the lengths of sentences and documents, and
tagged spans.
"""

from collections import Counter
from itertools import chain
from typing import NamedTuple

import numpy as np
from etils import epath
from jaxtyping import Bool, Int64, Integer, UInt64

from spanbert_jax.config import PrepareConfig
from spanbert_jax.corpus.documents import RawDocument
from spanbert_jax.corpus.filters import KeptDocument, keep_document
from spanbert_jax.corpus.sentences import split_sentences
from spanbert_jax.corpus.shards import token_dtype
from spanbert_jax.corpus.tagged_encoding import TaggedEncoder
from spanbert_jax.corpus.tagging import Span, Tagger, Tagging
from spanbert_jax.corpus.tokenizers import Tokenizer, load_tokenizer

KeyRange = tuple[int, int]
"""Keys from the first (inclusive) to the second (exclusive)."""
ALL_KEYS: tuple[KeyRange, ...] = ((0, 1 << 64),)


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
    kept: Bool[np.ndarray, " documents"]
    """Whether cleaning and filters left anything, and the key is one of those wanted."""
    keys: UInt64[np.ndarray, "documents 2"]
    """Key and check of the content; 0 where `kept` is not."""


class Encoder:
    """Raw documents to sentences, and to token ids where there is a tokenizer."""

    def __init__(
        self,
        tokenizer: Tokenizer | None,
        config: PrepareConfig,
        *,
        wanted: tuple[KeyRange, ...] = ALL_KEYS,
        tagger: Tagger | None = None,
    ) -> None:
        self._tokenizer = tokenizer
        self._tagged = TaggedEncoder(tokenizer, tagger) if tokenizer and tagger else None
        self._config = config
        self._wanted = wanted

    def keep(self, raw: RawDocument, dropped: Counter[str]) -> KeptDocument | None:
        """The document, cleaned; None where filters drop it or its key is not wanted."""
        document = keep_document(raw, self._config, dropped)
        if document and not any(begin <= document.key < end for begin, end in self._wanted):
            dropped.clear()  # it is counted where it is
            return None
        return document

    def sentences(self, document: KeptDocument | None) -> list[str]:
        return list(chain.from_iterable(self._paragraphs(document)))

    def _paragraphs(self, document: KeptDocument | None) -> list[list[str]]:
        """The same, by paragraph."""
        config = self._config
        return [
            split_sentences([paragraph], split=config.split, language=config.language)
            for paragraph in (document.paragraphs if document else ())
        ]

    def encode(self, raws: list[RawDocument]) -> EncodedDocuments:
        """Token ids of all documents.

        Documents "a b. c." and "" with the ids a=5 b=6 c=7 .=8 -> tokens [5, 6, 8, 7, 8],
        sentence_lengths [3, 2], document_lengths [2, 0], kept [1, 0]; where "b" is tagged,
        spans [[1, 2]]
        """
        assert self._tokenizer is not None
        dropped: list[Counter[str]] = [Counter() for _ in raws]
        kept = [self.keep(raw, counts) for raw, counts in zip(raws, dropped, strict=True)]
        by_paragraph = list(map(self._paragraphs, kept))
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
        left = np.diff(ends, prepend=0)
        for document, counts, found, rest in zip(kept, dropped, num_sentences, left, strict=True):
            if found > rest:
                counts["sentences without tokens"] += int(found - rest)
            if document and not rest:
                counts["empty documents"] += 1
        dtype = token_dtype(self._tokenizer.vocab_size)
        tokens = np.fromiter(chain.from_iterable(ids), dtype, int(lengths.sum()))
        keys = [(it.key, it.check) if it else (0, 0) for it in kept]
        return EncodedDocuments(
            tokens, lengths[lengths > 0], left, dropped,
            np.array(spans, np.int64).reshape(-1, 2),
            np.array([document is not None for document in kept], bool),
            np.array(keys, np.uint64).reshape(-1, 2),
        )  # fmt: skip


_encoder: Encoder | None = None


def start_encoder(
    tokenizer_file: epath.PathLike | None,
    config: PrepareConfig,
    wanted: tuple[KeyRange, ...] = ALL_KEYS,
    tagging: Tagging | None = None,
) -> None:
    """Make this process ready for `encode_documents`, `keep_documents` and `sentences_of`."""
    global _encoder
    tokenizer = None if tokenizer_file is None else load_tokenizer(tokenizer_file)
    tagger = None if tagging is None else Tagger(tagging)
    _encoder = Encoder(tokenizer, config, wanted=wanted, tagger=tagger)


def encode_documents(raws: list[RawDocument]) -> EncodedDocuments:
    assert _encoder is not None
    return _encoder.encode(raws)


def keys_of(raws: list[RawDocument]) -> list[int | None]:
    """Key of every document that is kept; None for others."""
    assert _encoder is not None
    kept = [_encoder.keep(raw, Counter()) for raw in raws]
    return [document.key if document else None for document in kept]


def sentences_of(raws: list[RawDocument]) -> list[str]:
    """Sentences of all documents, for training a tokenizer."""
    assert _encoder is not None
    kept = (_encoder.keep(raw, Counter()) for raw in raws)
    return [sentence for document in kept for sentence in _encoder.sentences(document)]
