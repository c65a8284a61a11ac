"""The vocabulary of a released model. In: its folder, or a file. Out: a tokenizer that fits it."""

from etils import epath

from spanbert_jax.corpus.files import as_path
from spanbert_jax.corpus.tokenizers import Tokenizer, load_tokenizer
from spanbert_jax.corpus.tokenizers.loading import (
    ACCEPTED_FILES,
    find_tokenizer_file,
    tokenizer_file_in,
)
from spanbert_jax.errors import UserError


def read_vocabulary(
    source: epath.PathLike, *, named: str, lowercase: bool | None, vocab_size: int
) -> Tokenizer:
    """The tokenizer of the model in `source`, or the one that is `named`.

    lowercase: as of `load_tokenizer`.

    Raises:
        UserError: there is none, or it has another number of entries than the model.
    """
    place = as_path(source)
    file = find_tokenizer_file(named) if named else _beside(place)
    tokenizer = load_tokenizer(file, lowercase=lowercase)
    if tokenizer.vocab_size != vocab_size:
        raise UserError(
            f"{file}: must hold as many entries as the model's token embedding has rows, "
            f"{vocab_size:,}, found {tokenizer.vocab_size:,}; {_import_with_vocabulary(place)}"
        )
    return tokenizer


def _beside(weights: epath.Path) -> epath.Path:
    """The tokenizer's file in the folder of the weights."""
    folder = weights if weights.is_dir() else weights.parent
    file = tokenizer_file_in(folder)
    if file is None:
        raise UserError(
            f"{weights}: the vocabulary of the weights must lie beside them, but {folder} holds "
            f"none of {ACCEPTED_FILES}; {_import_with_vocabulary(weights)}"
        )
    return file


def _import_with_vocabulary(weights: epath.Path) -> str:
    return (
        f"give them the vocabulary that belongs to them with `spanbert import {weights} "
        "--tokenizer VOCABULARY --out DIR`, and name DIR from then on"
    )
