"""`spanbert export`: from a checkpoint to a folder that Hugging Face Transformers loads."""

import os

from etils import epath

from spanbert_jax.config.weights import ExportConfig
from spanbert_jax.corpus.files import as_path
from spanbert_jax.corpus.tokenizers import load_tokenizer
from spanbert_jax.training.checkpoint import load_run
from spanbert_jax.training.run_folder import IMPORTED_FILE, TOKENIZER_FOLDER
from spanbert_jax.weights.exporting import export_run
from spanbert_jax.weights.formats.json_file import read_json
from spanbert_jax.weights.model_card import Card
from spanbert_jax.weights.new_folder import check_new


def run(config: ExportConfig) -> None:
    """Export a checkpoint, and say how what was written compares with it."""
    check_new(config.out)
    folder = as_path(config.checkpoint)
    pretrained = load_run(folder, step=config.step)
    tokenizer = load_tokenizer(folder / TOKENIZER_FOLDER)
    pretrained.check_tokenizer(tokenizer.fingerprint)
    exported = export_run(config.out, pretrained, tokenizer, card=_card(folder))
    agreement = exported.tokenizer
    print(f"{config.out}: {exported.num_tensors} tensors of step {pretrained.step:,}")
    print(f"largest difference of logits, read back: {exported.largest_difference:g}")
    print(f"tokenizer: the same ids on {agreement.num_equal} of {agreement.num_texts} texts")


def _card(folder: epath.Path) -> Card:
    name = os.path.basename(os.path.abspath(folder)) or "model"
    origin = folder / IMPORTED_FILE
    return Card(name, read_json(origin) if origin.exists() else None)
