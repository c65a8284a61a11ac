"""What a folder of shards holds and what of the text is not in it, as lines for the terminal."""

from spanbert_jax.corpus.shards import SPLITS, Manifest

READ = ("text bytes", "documents")
"""Counts of what was read; all others are of what was dropped or cut."""


def summary(manifest: Manifest) -> list[str]:
    """Totals of each split, how much was read, and how much of it was left out, by reason."""
    lines = []
    for split in SPLITS:
        totals = manifest.totals[split].items()
        counts = (f"{count:,} {name.removeprefix('num_')}" for name, count in totals)
        lines.append(f"{split}: {', '.join(counts)}; shards: {len(manifest.splits[split])}")
    megabytes = manifest.counts.get("text bytes", 0) / 1e6
    num_documents = manifest.counts.get("documents", 0)
    lines.append(f"read: {num_documents:,} documents, {megabytes:.1f} MB of text")
    dropped = [f"{count:,} {name}" for name, count in manifest.counts.items() if name not in READ]
    lines.append(f"left out: {', '.join(dropped) or 'nothing'}")
    for source, share in zip(manifest.sources, manifest.source_shares, strict=False):
        lines.append(f"share of the text: {share:.1%} of {source}")
    if not manifest.splits["held_out"]:
        lines.append("no document is held out: training cannot be evaluated on these shards")
    return lines
