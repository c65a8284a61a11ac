"""`spanbert prepare`: from raw text to shards."""

from spanbert_jax.config import PrepareConfig
from spanbert_jax.corpus.prepare import prepare
from spanbert_jax.corpus.progress import show_progress
from spanbert_jax.corpus.shards import SPLITS, Manifest


def run(config: PrepareConfig) -> None:
    """Prepare the shards and say what they hold, what was left out, and what to do next."""
    with show_progress() as progress:
        manifest = prepare(config, progress=progress)
    print("\n".join(summary(manifest, folder=config.out)))


def summary(manifest: Manifest, *, folder: str) -> list[str]:
    """Lines for the terminal: totals of each split, what was dropped, the next command."""
    tokenizer = manifest.tokenizer
    lines = [f"{folder}: {tokenizer.kind} tokenizer of {tokenizer.vocab_size:,} entries"]
    for split in SPLITS:
        totals = manifest.totals[split].items()
        counts = (f"{count:,} {name.removeprefix('num_')}" for name, count in totals)
        lines.append(f"  {split}: {', '.join(counts)}; shards: {len(manifest.splits[split])}")
    megabytes = manifest.counts.get("text bytes", 0) / 1e6
    num_documents = manifest.counts.get("documents", 0)
    lines.append(f"  read: {num_documents:,} documents, {megabytes:.1f} MB of text")
    dropped = {
        name: count
        for name, count in manifest.counts.items()
        if name not in ("text bytes", "documents")
    }
    listed = ", ".join(f"{count:,} {name}" for name, count in dropped.items())
    lines.append(f"  left out: {listed or 'nothing'}")
    if not manifest.splits["held_out"]:
        lines.append("  no document is held out: training cannot be evaluated on these shards")
    lines.append(
        f"next: spanbert pretrain configs/pretrain.py:spanbert_base --data.shards {folder}"
    )
    return lines
