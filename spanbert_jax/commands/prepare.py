"""`spanbert prepare`: from raw text to shards."""

from spanbert_jax.config import PrepareConfig
from spanbert_jax.corpus.dry_run import dry_run
from spanbert_jax.corpus.prepare import check_config, prepare
from spanbert_jax.corpus.progress import show_progress


def run(config: PrepareConfig) -> None:
    """Prepare the shards, which says what they hold and lack; then say what to do next."""
    if config.dry_run:
        for line in dry_run(config, check_config(config)):
            print(line)
        return
    with show_progress() as progress:
        tokenizer = prepare(config, progress=progress).tokenizer
    print(f"{config.out}: {tokenizer.kind} tokenizer of {tokenizer.vocab_size:,} entries")
    print(f"next: spanbert pretrain configs/pretrain.py:spanbert_base --data.shards {config.out}")
