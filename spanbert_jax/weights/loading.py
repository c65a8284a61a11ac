"""Any pretrained model by its path. In: a run, an exported or a Hugging Face folder, a file of
weights. Out: config, parameters and tokenizer.
"""

import dataclasses
from collections.abc import Set
from typing import Any, Literal, NamedTuple

import jax
from etils import epath

from spanbert_jax.config import ModelConfig
from spanbert_jax.corpus.files import as_path
from spanbert_jax.corpus.tokenizers import Tokenizer, load_tokenizer
from spanbert_jax.model.layer_stack import unstack_layers
from spanbert_jax.training.run_folder import (
    CHECKPOINT_FOLDER,
    IMPORTED_FILE,
    TOKENIZER_FOLDER,
    best_of_grid,
)
from spanbert_jax.training.saved_run import LoadedRun, load_run
from spanbert_jax.weights.formats.json_file import read_json
from spanbert_jax.weights.importing import import_weights
from spanbert_jax.weights.loaded_model import LoadedModel
from spanbert_jax.weights.parameters import Params, flatten

_HEADS = {"pooler", "next_sentence_head", "span_boundary_head"}


class SavedRun(NamedTuple):
    """A checkpoint of a run, with what lies beside it."""

    run: LoadedRun
    tokenizer: Tokenizer
    imported: dict[str, Any] | None
    """What `spanbert import` recorded, in the folder of an import; None in that of a real run."""

    @property
    def fresh_heads(self) -> Set[str]:
        """Heads that began at random, since the source of an import lacked them."""
        return set(self.imported["initialised"]) if self.imported else set()


def read_run(folder: epath.Path, *, step: int | None = None) -> SavedRun:
    """Read a run's checkpoint, by default its newest, with the tokenizer it was made with.

    Raises:
        UserError: `folder` is no run that has saved a checkpoint, or holds another tokenizer.
    """
    run = load_run(folder, step=step)
    tokenizer = load_tokenizer(folder / TOKENIZER_FOLDER)
    run.check_tokenizer(tokenizer.fingerprint)
    record = folder / IMPORTED_FILE
    return SavedRun(run, tokenizer, read_json(record) if record.exists() else None)


class Pretrained(NamedTuple):
    """A pretrained model as it lies on disk."""

    model: ModelConfig
    params: Params
    """Arrays of separate layers, on the host or on the default device."""
    tokenizer: Tokenizer
    fresh: frozenset[str] = frozenset()
    """Paths of parameters that are not from the disk: heads that it lacks, begun at random."""


def load(
    path: epath.PathLike,
    *,
    step: int | None = None,
    dtype: Literal["float32", "bfloat16", "auto"] = "float32",
) -> LoadedModel:
    """Load a pretrained model for downstream use.

    Args:
        path: a run's folder (its --workdir), a folder that `spanbert import` or `spanbert export`
            wrote, a Hugging Face folder, or a file of weights with its config and vocabulary
            beside it; local or gs://. Heads that it lacks, the model lacks too.
        step: of a run's checkpoint; by default its newest.
        dtype: of matrix products; auto is bfloat16 on TPU and GPU.

    Raises:
        UserError: there is no model at `path`, or it does not fit its config or its vocabulary.
    """
    return at_hand(read_pretrained(path, step=step), dtype=dtype)


def at_hand(loaded: Pretrained, *, dtype: Literal["float32", "bfloat16", "auto"]) -> LoadedModel:
    """The model on the default device, without the heads that are random or not there."""
    fresh = {path.split("/")[0] for path in loaded.fresh}
    params = {part: tree for part, tree in loaded.params.items() if part not in fresh}
    model = model_without(loaded.model, _HEADS - params.keys())
    return LoadedModel(model, jax.device_put(params), loaded.tokenizer, dtype)


def model_without(model: ModelConfig, heads: Set[str]) -> ModelConfig:
    """The model less `heads`, such as those nobody has trained: what is random says nothing."""
    return dataclasses.replace(
        model,
        pooler=model.pooler and "pooler" not in heads,
        next_sentence_head=model.next_sentence_head
        and not heads & {"pooler", "next_sentence_head"},
        span_boundary_head=model.span_boundary_head and "span_boundary_head" not in heads,
    )


def read_pretrained(path: epath.PathLike, *, step: int | None = None) -> Pretrained:
    """Config, parameters and tokenizer of the model at `path`; see `load`.

    Of a folder of a grid it is the best run.
    """
    folder = best_of_grid(as_path(path))
    if (folder / CHECKPOINT_FOLDER).is_dir():
        saved = read_run(folder, step=step)
        params, heads = unstack_layers(saved.run.params), saved.fresh_heads
        fresh = frozenset(path for path, _ in flatten(params) if path.split("/")[0] in heads)
        return Pretrained(saved.run.model, params, saved.tokenizer, fresh)
    imported = import_weights(folder)
    assert imported.tokenizer is not None
    fresh = frozenset(imported.matching.missing)
    return Pretrained(imported.model, imported.params, imported.tokenizer, fresh)
