"""An imported model on disk, in the layout of a run: config.json, tokenizer/, checkpoints/0."""

import dataclasses
import json

import jax
from etils import epath

from spanbert_jax.config import BlockKind, PretrainConfig
from spanbert_jax.config.json import to_json
from spanbert_jax.corpus.files import write_file
from spanbert_jax.training.checkpoint import Checkpoints, DataPosition
from spanbert_jax.training.run_folder import CONFIG_FILE, IMPORTED_FILE, TOKENIZER_FOLDER
from spanbert_jax.weights.importing import Imported
from spanbert_jax.weights.new_folder import check_room, new_folder


def write_imported(out: epath.PathLike, imported: Imported) -> None:
    """Write what `load_run` reads as the checkpoint of step 0; it has no optimizer's moments.

    Raises:
        UserError: the folder holds something, or cannot be written.
    """
    config, tokenizer = config_of(imported), imported.tokenizer
    assert tokenizer is not None
    num_bytes = sum(leaf.nbytes for leaf in jax.tree.leaves(imported.params))
    with new_folder(out) as folder:
        check_room(folder, num_bytes, out=out)
        (folder / TOKENIZER_FOLDER).mkdir()
        tokenizer.save(folder / TOKENIZER_FOLDER)
        write_file(folder / CONFIG_FILE, to_json(config).encode())
        write_file(
            folder / IMPORTED_FILE, (json.dumps(_origin(imported), indent=2) + "\n").encode()
        )
        with Checkpoints(
            folder, config, tokenizer_fingerprint=tokenizer.fingerprint
        ) as checkpoints:
            # Orbax would copy NumPy's arrays once more.
            params = jax.device_put(imported.params)
            checkpoints.save(0, {"params": params}, position=DataPosition(0), score=None)


def config_of(imported: Imported) -> PretrainConfig:
    """A pretraining of the imported model, of sequences that it has positions for."""
    default = PretrainConfig()
    length = min(default.data.sequence_length, imported.model.max_positions)
    blocks: BlockKind = "sentence_pair" if imported.model.next_sentence_head else "document"
    data = dataclasses.replace(default.data, sequence_length=length, blocks=blocks)
    return dataclasses.replace(default, model=imported.model, data=data)


def _origin(imported: Imported) -> dict[str, object]:
    return {
        "source": imported.where,
        "family": imported.names.family,
        "weights": imported.matching.summary(),
        "initialised": imported.matching.initialised,
    }
