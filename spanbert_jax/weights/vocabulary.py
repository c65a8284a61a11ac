"""The vocabulary of a released model. In: its folder, or a file. Out: a tokenizer that fits it."""

import json
import re

from etils import epath

from spanbert_jax.corpus.files import as_path
from spanbert_jax.corpus.tokenizers import Tokenizer, load_tokenizer
from spanbert_jax.corpus.tokenizers.loading import VOCABULARY_FILE, find_tokenizer_file
from spanbert_jax.errors import UserError

TOKENIZER_CONFIG_FILE = "tokenizer_config.json"
_CAPITAL = re.compile("[A-Z]")


def read_vocabulary(
    source: epath.PathLike, *, named: str, lowercase: bool | None, vocab_size: int
) -> Tokenizer:
    """The tokenizer of the model in `source`, or the one that is `named`.

    Raises:
        UserError: there is none, or it has another number of entries than the model.
    """
    place = as_path(source)
    folder = place if place.is_dir() else place.parent
    file = find_tokenizer_file(named or folder)
    if file.name == VOCABULARY_FILE and lowercase is None:
        lowercase = _lowercases(file)
    tokenizer = load_tokenizer(file, lowercase=bool(lowercase))
    if tokenizer.vocab_size != vocab_size:
        raise UserError(
            f"{file}: must hold as many entries as the model's token embedding has rows, "
            f"{vocab_size:,}, found {tokenizer.vocab_size:,}; name the vocabulary that belongs to "
            "the model with --tokenizer"
        )
    return tokenizer


def _lowercases(vocabulary: epath.Path) -> bool:
    """Whether text is lowercased before it is looked up: as stated beside it, else as it looks.

    A vocabulary without a capital letter, but for pieces such as [MASK], is of lowercased text.
    """
    config = vocabulary.parent / TOKENIZER_CONFIG_FILE
    if config.exists():
        try:
            stated = json.loads(config.read_text(encoding="utf-8")).get("do_lower_case")
        except (json.JSONDecodeError, AttributeError) as error:
            raise UserError(f"{config}: must be a JSON object ({error}); restore it") from error
        if stated is not None:
            return bool(stated)
    pieces = vocabulary.read_text(encoding="utf-8").split("\n")
    return not any(_CAPITAL.search(piece) for piece in pieces if not piece.startswith("["))
