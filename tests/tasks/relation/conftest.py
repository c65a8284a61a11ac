"""A vocabulary with a few words and entries [unusedN], and records in the form of TACRED."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spanbert_jax.corpus.tokenizers import WordPieceTokenizer
from spanbert_jax.corpus.tokenizers.word_piece import parse_vocabulary

WORDS = "( ) , . @ # the mayor of wells married ada in city person title subject object"
PIECES = [
    "[PAD]", *(f"[unused{i}]" for i in range(1, 10)), "[UNK]", "[CLS]", "[SEP]", "[MASK]",
    *WORDS.split(), "##s",
]  # fmt: skip


RECORD = {
    "id": "r0", "token": ["The", "mayor", "of", "Wells", "married", "Ada", "."],
    "subj_start": 0, "subj_end": 1, "obj_start": 3, "obj_end": 3, "subj_type": "TITLE",
    "obj_type": "CITY", "relation": "title:of",
}  # fmt: skip


@pytest.fixture(scope="session")
def tokenizer() -> WordPieceTokenizer:
    return parse_vocabulary("\n".join(PIECES), lowercase=True, where="test")


@pytest.fixture(scope="session")
def plain_tokenizer() -> WordPieceTokenizer:
    """The same without entries [unusedN]."""
    pieces = [piece for piece in PIECES if not piece.startswith("[unused")]
    return parse_vocabulary("\n".join(pieces), lowercase=True, where="test")


@pytest.fixture(scope="session")
def record() -> Callable[..., dict[str, Any]]:
    """Makes records of one sentence: the mayor, title of somebody in a city."""
    return lambda **changes: RECORD | changes


@pytest.fixture(scope="session")
def unrelated() -> dict[str, Any]:
    """A record without a relation, of another type."""
    return RECORD | {
        "id": "r1", "relation": "no_relation", "subj_type": "PERSON", "subj_start": 5, "subj_end": 5
    }  # fmt: skip


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    """Writes records as a file of TACRED; returns its path."""

    def write_records(*records: Any, name: str = "train.json") -> str:
        (tmp_path / name).write_text(json.dumps(list(records)))
        return str(tmp_path / name)

    return write_records
