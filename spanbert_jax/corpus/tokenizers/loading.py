"""Finds a tokenizer's file and reads it, or trains one."""

import json
import re
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
TOKENIZER_CONFIG_FILE = "tokenizer_config.json"
ACCEPTED_FILES = "*.model (SentencePiece), vocab.txt or tokenizer.json (WordPiece, byte-level BPE)"
_CAPITAL = re.compile("[A-Z]")


def find_tokenizer_file(path: epath.PathLike) -> epath.Path:
    """The tokenizer's file: `path` itself, or the one that the folder `path` holds."""
    found = as_path(path)
    if not found.exists():
        raise UserError(
            f"--tokenizer {path}: no such file; use {' or '.join(TRAINED_KINDS)} to train one, "
            f"or the path of {ACCEPTED_FILES}"
        )
    file = tokenizer_file_in(found) if found.is_dir() else found
    if file is None:
        raise UserError(
            f"--tokenizer {path}: the folder must hold one of {ACCEPTED_FILES}; name the file"
        )
    return file


def tokenizer_file_in(folder: epath.Path) -> epath.Path | None:
    """The tokenizer's file in a folder, the one that says most; None where there is none."""
    for name in (SENTENCEPIECE_FILE, TOKENIZER_JSON, VOCABULARY_FILE):
        if (folder / name).exists():
            return folder / name
    models = sorted(folder.glob("*.model"))
    return models[0] if len(models) == 1 else None


def load_tokenizer(path: epath.PathLike, *, lowercase: bool | None = None) -> Tokenizer:
    """Read *.model, vocab.txt or tokenizer.json, or the one of them that a folder holds.

    lowercase: of a vocab.txt alone; None takes what tokenizer_config.json beside it states, else
        lowercases where the vocabulary has no capital letter. The other files say it themselves.

    Raises:
        UserError: the file is missing, of another kind, or lacks a special piece; or `lowercase`
            is given for a file that says it itself.
    """
    file = find_tokenizer_file(path)
    where = str(file)
    if lowercase is not None and file.suffix in (".model", ".json"):
        raise UserError(
            f"--lowercase {lowercase}: may be said of a vocab.txt alone, but {file} says itself "
            "what becomes of capital letters; leave it out, or name a vocab.txt"
        )
    if file.suffix == ".model":
        return SentencePieceTokenizer(file.read_bytes(), where=where)
    if file.suffix not in (".txt", ".json"):
        raise UserError(f"--tokenizer {path}: unknown kind of file; name {ACCEPTED_FILES}")
    try:
        content = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{where}: is not UTF-8 ({error}); name {ACCEPTED_FILES}") from error
    if file.suffix == ".txt":
        if lowercase is None:
            lowercase = _is_lowercased(content, folder=file.parent)
        return parse_vocabulary(content, lowercase=lowercase, where=where)
    return parse_tokenizer_json(content, where=where)


def _is_lowercased(vocabulary: str, *, folder: epath.Path) -> bool:
    """Whether a vocab.txt is of lowercased text: as stated beside it, else as it looks.

    One without a capital letter, but for pieces such as [MASK], is.
    """
    stated = _stated_casing(folder / TOKENIZER_CONFIG_FILE)
    if stated is not None:
        return stated
    pieces = vocabulary.split("\n")
    return not any(_CAPITAL.search(piece) for piece in pieces if not piece.startswith("["))


def _stated_casing(file: epath.Path) -> bool | None:
    """do_lower_case of a tokenizer_config.json; None where there is none."""
    if not file.exists():
        return None
    try:
        stated = json.loads(file.read_text(encoding="utf-8")).get("do_lower_case")
    except (ValueError, AttributeError) as error:
        raise UserError(
            f"{file}: must be a JSON object in UTF-8 ({error}); restore it as it was published, or "
            "remove it"
        ) from error
    if not isinstance(stated, bool | None):
        raise UserError(
            f"{file}: do_lower_case must be true or false, found {stated!r}; correct it"
        )
    return stated


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
        return train_wordpiece(
            texts, vocab_size=config.vocab_size, lowercase=bool(config.lowercase)
        )
    return train_sentencepiece(
        texts, vocab_size=config.vocab_size, model_type=config.sentencepiece_type
    )
