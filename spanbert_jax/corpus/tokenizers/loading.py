"""Finds a tokenizer's file and reads it, or trains one."""

from collections.abc import Iterator

from etils import epath

from spanbert_jax.config import PrepareConfig
from spanbert_jax.corpus.files import as_path
from spanbert_jax.corpus.tokenizers.byte_level import byte_level_of
from spanbert_jax.corpus.tokenizers.hugging_face import TOKENIZER_JSON, parse_json
from spanbert_jax.corpus.tokenizers.interface import Tokenizer
from spanbert_jax.corpus.tokenizers.sentence_piece import (
    SENTENCEPIECE_FILE,
    SentencePieceTokenizer,
    train_sentencepiece,
)
from spanbert_jax.corpus.tokenizers.word_piece import (
    WordPieceTokenizer,
    parse_vocabulary,
    train_wordpiece,
)
from spanbert_jax.errors import UserError

TRAINED_KINDS = ("sentencepiece", "wordpiece")
VOCABULARY_FILE = "vocab.txt"
_ACCEPTED = "*.model (SentencePiece), vocab.txt or tokenizer.json (WordPiece, byte-level BPE)"


def find_tokenizer_file(path: epath.PathLike) -> epath.Path:
    """The tokenizer's file: `path` itself, or the one that the folder `path` holds."""
    found = as_path(path)
    if not found.exists():
        raise UserError(
            f"--tokenizer {path}: no such file; use {' or '.join(TRAINED_KINDS)} to train one, "
            f"or the path of {_ACCEPTED}"
        )
    if not found.is_dir():
        return found
    for name in (SENTENCEPIECE_FILE, TOKENIZER_JSON, VOCABULARY_FILE):
        if (found / name).exists():
            return found / name
    models = sorted(found.glob("*.model"))
    if len(models) == 1:
        return models[0]
    raise UserError(f"--tokenizer {path}: the folder must hold one of {_ACCEPTED}; name the file")


def load_tokenizer(path: epath.PathLike, *, lowercase: bool = False) -> Tokenizer:
    """Read *.model, vocab.txt or tokenizer.json, or the one of them that a folder holds.

    `lowercase` matters to vocab.txt alone; the other files say it themselves. Raises `UserError`
    where the file is missing, of another kind, or lacks a special piece.
    """
    file = find_tokenizer_file(path)
    where = str(file)
    if file.suffix == ".model":
        return SentencePieceTokenizer(file.read_bytes(), where=where)
    if file.suffix not in (".txt", ".json"):
        raise UserError(f"--tokenizer {path}: unknown kind of file; name {_ACCEPTED}")
    try:
        content = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{where}: is not UTF-8 ({error}); name {_ACCEPTED}") from error
    if file.suffix == ".txt":
        return parse_vocabulary(content, lowercase=lowercase, where=where)
    return parse_tokenizer_json(content, where=where)


def parse_tokenizer_json(content: str, *, where: str) -> Tokenizer:
    """Read a tokenizer.json of Hugging Face tokenizers: WordPiece, or BPE over bytes."""
    rust, tree = parse_json(content, where=where)
    kind = tree["model"]["type"]
    if kind == "WordPiece":
        return WordPieceTokenizer(rust, where=where)
    if kind == "BPE":
        return byte_level_of(rust, tree, where=where)
    raise UserError(
        f"{where}: must hold a WordPiece or a byte-level BPE model, found {kind}; name the "
        "tokenizer.json of a BERT or RoBERTa model"
    )


def train_tokenizer(config: PrepareConfig, texts: Iterator[str]) -> Tokenizer:
    """Train the tokenizer that `config.tokenizer` names on `texts` (sentences or paragraphs)."""
    assert config.tokenizer in TRAINED_KINDS
    if config.tokenizer == "wordpiece":
        return train_wordpiece(texts, vocab_size=config.vocab_size, lowercase=config.lowercase)
    return train_sentencepiece(
        texts, vocab_size=config.vocab_size, model_type=config.sentencepiece_type
    )
