"""A small tokenizer of lowercased words, and files of questions."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spanbert_jax.corpus.tokenizers.word_piece import WordPieceTokenizer, parse_vocabulary

PIECES = (
    "[PAD] [UNK] [CLS] [SEP] [MASK] by ada love ##lace in 1843 who wrote the first program ? , ."
)


@pytest.fixture
def word_pieces() -> WordPieceTokenizer:
    return parse_vocabulary(PIECES.replace(" ", "\n"), lowercase=True, where="test")


@pytest.fixture
def write_squad(tmp_path) -> Callable[..., str]:
    """A file in SQuAD's form; each question is a dict, all over one context."""

    def write(*questions: dict[str, Any], context: str = "by Ada in 1843") -> str:
        qas = [{"question": "Who?", **question} for question in questions]
        content = {"data": [{"paragraphs": [{"context": context, "qas": qas}]}]}
        (tmp_path / "squad.json").write_text(json.dumps(content), encoding="utf-8")
        return str(tmp_path / "squad.json")

    return write


@pytest.fixture
def write_text(tmp_path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        (tmp_path / "file.json").write_text(text, encoding="utf-8")
        return tmp_path / "file.json"

    return write
