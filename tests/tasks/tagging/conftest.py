"""A vocabulary with a few words, and files of sentences."""

from collections.abc import Callable
from pathlib import Path

import pytest

from spanbert_jax.corpus.tokenizers import WordPieceTokenizer
from spanbert_jax.corpus.tokenizers.word_piece import parse_vocabulary

WORDS = "ada love ##lace went to new york . in it ' s rome a b c d e f"

COLUMNS = """Ada B-PER
Lovelace I-PER
went O

in O
Rome B-LOC
"""


@pytest.fixture(scope="session")
def tokenizer() -> WordPieceTokenizer:
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS.split()]
    return parse_vocabulary("\n".join(pieces), lowercase=True, where="test")


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    """Writes a file of sentences; returns its path."""

    def write_text(text: str = COLUMNS, name: str = "train.conll") -> str:
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    return write_text
