"""A checkpoint of ours as a folder of Hugging Face Transformers, read again before it is there.

In: a run and its tokenizer. Out: model.safetensors, config.json, tokenizer files, README.md.
"""

import functools
import json
from typing import Any, NamedTuple

import jax
import numpy as np
from etils import epath

from spanbert_jax.config import ComputeConfig, ModelConfig
from spanbert_jax.config.weights import ImportConfig
from spanbert_jax.corpus.files import write_file
from spanbert_jax.corpus.tokenizers import Tokenizer
from spanbert_jax.data.batch import PretrainBatch, batch_shapes
from spanbert_jax.errors import UserError
from spanbert_jax.model.layer_stack import unstack_layers
from spanbert_jax.model.pretraining import SpanBert
from spanbert_jax.training.objective import model_inputs
from spanbert_jax.training.saved_run import LoadedRun
from spanbert_jax.weights.importing import import_weights
from spanbert_jax.weights.matching import tensors_from
from spanbert_jax.weights.model_card import CARD_FILE, Card, model_card
from spanbert_jax.weights.model_config import CONFIG_FILE, export_config, exported_names
from spanbert_jax.weights.new_folder import new_folder
from spanbert_jax.weights.parameters import flatten
from spanbert_jax.weights.tensors import WEIGHTS_FILE, write_safetensors
from spanbert_jax.weights.tokenizer_export import Agreement, export_tokenizer

# Of the largest logit: a segment table of one row is read back into the positions, which rounds.
_TOLERANCE = 1e-5
_ROWS, _SLOTS, _MAX_LENGTH = 2, 4, 32

Logits = dict[str, np.ndarray]
"""By the head that gives them."""


class Exported(NamedTuple):
    """What was written, and how it compares with what it was written from."""

    num_tensors: int
    largest_difference: float
    """Between the logits of the checkpoint and of the files."""
    tokenizer: Agreement


def export_run(
    out: epath.PathLike, run: LoadedRun, tokenizer: Tokenizer, *, card: Card
) -> Exported:
    """Write a model that Transformers loads; nothing is left where it is not equal to ours.

    Holds the parameters once, and one tensor more: the arrays of JAX in `run` are deleted when they
    are written, before they are read again.

    Raises:
        UserError: `out` holds something, Transformers has no such model, or what was written reads
            back as another model.
    """
    model = run.pretrain_config.model
    config = export_config(
        model, pad_id=tokenizer.pad_id, cls_id=tokenizer.cls_id, sep_id=tokenizer.sep_id
    )
    with new_folder(out) as folder:
        batch = _random_batch(model)
        ours, num_tensors = _write_weights(folder, model, run.params, batch)
        write_file(folder / CONFIG_FILE, (json.dumps(config, indent=2) + "\n").encode())
        agreement = export_tokenizer(
            tokenizer, folder, max_length=model.max_positions, num_segments=model.num_segments
        )
        write_file(folder / CARD_FILE, model_card(run, card, config, agreement).encode())
        difference = _difference(ours, _logits_of_files(folder, model, batch))
    return Exported(num_tensors, difference, agreement)


def _write_weights(
    folder: epath.Path, model: ModelConfig, params: Any, batch: PretrainBatch
) -> tuple[Logits, int]:
    """Write the parameters and delete them; returns their logits and the number of tensors."""
    # On CPUs these are views, of single layers too.
    host = unstack_layers(jax.device_get(params))
    _check_finite(host)
    logits = _logits(model, host, batch)
    tensors = tensors_from(host, names=exported_names(model), model=model)
    write_safetensors(folder / WEIGHTS_FILE, tensors, {"format": "pt"})
    for leaf in jax.tree.leaves(params):
        if isinstance(leaf, jax.Array):
            leaf.delete()
    return logits, len(tensors)


def _check_finite(params: Any) -> None:
    """Raise `UserError` for a parameter that is NaN or infinite, whether a logit shows it or not.

    Logits do not show a pooler without a next-sentence head, or the last positions.
    """
    for path, values in flatten(params):
        if not np.isfinite(values).all():
            raise UserError(
                f"the checkpoint must hold finite parameters, found NaN or infinity in {path}; "
                "export an earlier one with --step"
            )


def _logits_of_files(folder: epath.Path, model: ModelConfig, batch: PretrainBatch) -> Logits:
    options = ImportConfig(pooler=model.pooler, span_boundary_head=model.span_boundary_head)
    again = import_weights(folder, options=options, with_tokenizer=False)
    assert not again.matching.missing and not again.matching.unused
    return _logits(again.model, again.params, batch)


def _difference(ours: Logits, theirs: Logits) -> float:
    """The largest difference between logits of the checkpoint and of the files.

    Raises:
        UserError: it is more than rounding.
    """
    differences = {name: float(np.max(np.abs(ours[name] - theirs[name]))) for name in ours}
    # NumPy's, since Python's max forgets a NaN that is not the first.
    largest = float(np.max(list(differences.values())))
    scale = float(np.max([np.max(np.abs(logits)) for logits in ours.values()]))
    # Said so that NaN does not pass, nor what is infinite.
    if not (np.isfinite(scale) and largest <= _TOLERANCE * scale):
        heads = ", ".join(f"{head} by {differences[head]:.3g}" for head in differences)
        raise UserError(
            f"the model as written must give the logits of the checkpoint, found them to differ: "
            f"{heads}, of at most {scale:.3g}; look at the checkpoint with spanbert predict fill"
        )
    return largest


def _logits(model: ModelConfig, params: Any, batch: PretrainBatch) -> Logits:
    logits = jax.device_get(_apply(params, model_inputs(batch), model=model))._asdict()
    return {name: values for name, values in logits.items() if values is not None}


@functools.partial(jax.jit, static_argnames="model")
def _apply(params: Any, inputs: dict[str, Any], *, model: ModelConfig) -> Any:
    return SpanBert(model, ComputeConfig(dtype="float32")).apply({"params": params}, **inputs)


def _random_batch(model: ModelConfig) -> PretrainBatch:
    """Rows of random tokens, the second one padded."""
    rng = np.random.default_rng(0)
    length = min(_MAX_LENGTH, model.max_positions)
    limits = {
        "token_ids": model.vocab_size,
        "segment_ids": max(1, model.num_segments),
        "boundary_offset": model.max_boundary_offsets,
    }
    fields: dict[str, np.ndarray] = {
        name: rng.integers(0, limits.get(name, length), shape)
        for name, shape in batch_shapes(_ROWS, length, _SLOTS).items()
    }
    fields["position_ids"] = np.tile(np.arange(length), (_ROWS, 1))
    fields["document_ids"] = np.ones((_ROWS, length))
    fields["document_ids"][1, length // 2 :] = 0
    return PretrainBatch(**{name: array.astype(np.int32) for name, array in fields.items()})
