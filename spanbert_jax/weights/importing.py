"""Released weights as a model of ours. In: a checkpoint of others. Out: its sizes, arrays, words.

A checkpoint is a folder of Hugging Face or Google, or a file of weights; its config.json lies in
the folder or beside the file.
"""

from dataclasses import dataclass
from typing import Any

from etils import epath

from spanbert_jax.config import ModelConfig
from spanbert_jax.config.weights import ImportConfig
from spanbert_jax.corpus.files import as_path
from spanbert_jax.corpus.tokenizers import Tokenizer
from spanbert_jax.errors import UserError
from spanbert_jax.weights.matching import Matching, match, read
from spanbert_jax.weights.model_config import (
    family_of,
    model_from_config,
    model_from_shapes,
    num_layers_in,
    read_foreign_config,
    with_heads,
)
from spanbert_jax.weights.names import Names
from spanbert_jax.weights.parameters import Params, flatten, initial_parameters, nest
from spanbert_jax.weights.tensors import Tensors, open_tensors
from spanbert_jax.weights.vocabulary import read_vocabulary


@dataclass(frozen=True)
class Imported:
    """A model of ours, as others left it."""

    model: ModelConfig
    params: Params
    """Float32 arrays of separate layers."""
    tokenizer: Tokenizer | None
    """Its vocabulary, where it was asked for."""
    names: Names
    matching: Matching
    where: str
    """The file or folder of the weights."""


def import_weights(
    source: epath.PathLike, *, options: ImportConfig | None = None, with_tokenizer: bool = True
) -> Imported:
    """Read a checkpoint of others and its vocabulary; heads that it lacks begin at random.

    Everything is found and fits before any array is read. Holds the parameters once, and one
    tensor more.

    Raises:
        UserError: the checkpoint is of another kind, or its config, tensors and vocabulary
            disagree.
    """
    options = options or ImportConfig()
    with open_tensors(source) as tensors:
        stated = read_foreign_config(as_path(source))
        names = family_of(
            tensors, stated[0] if stated else None, where=stated[1] if stated else tensors.where
        )
        model = _model(tensors, names, stated, options)
        matching = match(tensors, names=names, model=model)
        tokenizer = _tokenizer(source, model, options) if with_tokenizer else None
        params = read(matching, tensors)
        where = tensors.where
    fresh = initial_parameters(model, list(matching.missing), seed=options.seed)
    params = nest(dict(flatten(params)) | fresh)
    return Imported(model, params, tokenizer, names, matching, where)


def _tokenizer(source: epath.PathLike, model: ModelConfig, options: ImportConfig) -> Tokenizer:
    assert model.vocab_size is not None
    return read_vocabulary(
        source, named=options.tokenizer, lowercase=options.lowercase, vocab_size=model.vocab_size
    )


def _model(
    tensors: Tensors, names: Names, stated: tuple[dict[str, Any], str] | None, options: ImportConfig
) -> ModelConfig:
    if stated is None:
        model = model_from_shapes(tensors, names=names, num_heads=options.num_heads)
    else:
        model = model_from_config(stated[0], names=names, where=stated[1])
        _check_stated(tensors, names, model, where=stated[1], num_heads=options.num_heads)
    return with_heads(
        model, tensors, names,
        pooler=options.pooler, span_boundary_head=options.span_boundary_head,
    )  # fmt: skip


def _check_stated(
    tensors: Tensors, names: Names, model: ModelConfig, *, where: str, num_heads: int | None
) -> None:
    """Raise `UserError` where a config disagrees with what shapes alone do not tell."""
    layers = num_layers_in(tensors, names)
    if layers != model.num_layers:
        raise UserError(
            f"{where}: num_hidden_layers must be the number of layers in {tensors.where}, "
            f"{layers}, found {model.num_layers}; import the weights with the config that belongs "
            "to them"
        )
    if num_heads not in (None, model.num_heads):
        raise UserError(
            f"--num-heads {num_heads}: must be the {model.num_heads} that {where} states; leave it "
            "out"
        )
