"""`spanbert export`: from a checkpoint to a folder that Hugging Face Transformers loads."""

import os

from spanbert_jax.config.weights import ExportConfig
from spanbert_jax.corpus.files import as_path
from spanbert_jax.weights.exporting import export_run
from spanbert_jax.weights.loading import read_run
from spanbert_jax.weights.model_card import Card
from spanbert_jax.weights.new_folder import check_new


def run(config: ExportConfig) -> None:
    """Export a checkpoint, and say how what was written compares with it."""
    check_new(config.out)
    folder = as_path(config.checkpoint)
    saved = read_run(folder, step=config.step)
    card = Card(os.path.basename(os.path.abspath(folder)) or "model", saved.imported)
    exported = export_run(config.out, saved.run, saved.tokenizer, card=card)
    agreement = exported.tokenizer
    print(f"{config.out}: {exported.num_tensors} tensors of step {saved.run.step:,}")
    print(f"largest difference of logits, read back: {exported.largest_difference:g}")
    print(f"tokenizer: the same ids on {agreement.num_equal} of {agreement.num_texts} texts")
