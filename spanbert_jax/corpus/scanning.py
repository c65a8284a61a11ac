"""A first look at every document, for what depends on the others: near duplicates and mixture.

In: raw documents. Out: a row for each that the filters keep, and its signature.
"""

from collections import Counter
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt32

from spanbert_jax.config import PrepareConfig
from spanbert_jax.corpus.documents import RawDocument
from spanbert_jax.corpus.filters import keep_document
from spanbert_jax.corpus.near_duplicates import NUM_HASHES, signature

SCANNED = np.dtype([("key", "<u8"), ("check", "<u8"), ("place", "<u8"), ("num_bytes", "<u8")])


class ScannedDocuments(NamedTuple):
    """The documents of a few that are kept."""

    rows: np.ndarray
    """`SCANNED` of every one; their places are numbers in the list that was scanned."""
    signatures: UInt32[np.ndarray, "documents hashes"]
    """No hashes where near duplicates are not looked for."""


def scan(
    raws: list[RawDocument], config: PrepareConfig, dropped: Counter[str] | None = None
) -> ScannedDocuments:
    """What filters keep.

    dropped: counts what is left out, for where nothing is left; else it is counted when the
    documents are encoded.
    """
    dropped = Counter() if dropped is None else dropped
    rows, signatures = [], []
    for number, raw in enumerate(raws):
        if (document := keep_document(raw, config, dropped)) is not None:
            rows.append((document.key, document.check, number, document.num_bytes))
            if config.near_duplicates:
                signatures.append(signature("\n".join(document.paragraphs)))
    width = NUM_HASHES if config.near_duplicates else 0
    return ScannedDocuments(
        np.array(rows, SCANNED), np.array(signatures, np.uint32).reshape(len(rows), width)
    )


_config: PrepareConfig | None = None


def start_scan(config: PrepareConfig) -> None:
    """Make this process ready for `scan_documents`."""
    global _config
    _config = config


def scan_documents(raws: list[RawDocument]) -> ScannedDocuments:
    assert _config is not None
    return scan(raws, _config)
