"""What a folder of shards holds, for people and programs. In: the folder. Out: lines, or JSON."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from etils import epath
from jaxtyping import Int64

from spanbert_jax.corpus.shards import SPLITS, Manifest, ShardInfo, load_shard
from spanbert_jax.corpus.summary import summary

PERCENTILES = (1, 10, 25, 50, 75, 90, 99, 100)
MAX_SHARDS = 8
"""Lengths are taken from so many shards of a split, spread over it."""

Lengths = dict[str, dict[str, list[int]]]
"""{"train": {"sentences": [...], "documents": [...]}}: tokens, one number a percentile."""


def length_percentiles(folder: epath.PathLike, manifest: Manifest) -> Lengths:
    """Lengths in tokens of sentences and documents, for every split that holds any."""
    lengths = {}
    for split in SPLITS:
        shards = spread(manifest.splits[split], MAX_SHARDS)
        if shards:
            sentences, documents = zip(*(_lengths_of(folder, info) for info in shards), strict=True)
            lengths[split] = {
                "sentences": percentiles(np.concatenate(sentences)),
                "documents": percentiles(np.concatenate(documents)),
            }
    return lengths


def spread(shards: Sequence[ShardInfo], most: int) -> list[ShardInfo]:
    """At most `most` of the shards, evenly spread: of 0..9, most 3 -> 0, 3, 6."""
    if len(shards) <= most:
        return list(shards)
    return [shards[i * len(shards) // most] for i in range(most)]


def _lengths_of(
    folder: epath.PathLike, info: ShardInfo
) -> tuple[Int64[np.ndarray, " sentences"], Int64[np.ndarray, " documents"]]:
    shard = load_shard(folder, info)
    sentences = np.diff(shard.sentence_ends, prepend=0)
    ends = np.append(0, shard.sentence_ends)[shard.document_ends]
    return sentences, np.diff(ends, prepend=0)


def percentiles(lengths: Int64[np.ndarray, " n"]) -> list[int]:
    """Lengths that occur, such that so many percent are no longer.

    percentiles([4, 1, 3, 2]) -> [1, 1, 1, 2, 3, 4, 4, 4]
    """
    if not len(lengths):
        return [0] * len(PERCENTILES)
    return np.percentile(lengths, PERCENTILES, method="inverted_cdf").astype(int).tolist()


def as_json(folder: epath.PathLike, manifest: Manifest, lengths: Lengths) -> dict[str, Any]:
    names = [f"{percentile}%" for percentile in PERCENTILES]
    return {
        "shards": str(folder),
        "format_version": manifest.format_version,
        "tokenizer": {
            "kind": manifest.tokenizer.kind,
            "vocab_size": manifest.tokenizer.vocab_size,
            "file": manifest.tokenizer.file,
        },
        "sources": list(manifest.sources),
        "splits": {
            split: totals | {"num_shards": len(manifest.splits[split])}
            for split, totals in manifest.totals.items()
        },
        "counts": dict(manifest.counts),
        "options": dict(manifest.options),
        "length_percentiles": {
            split: {unit: dict(zip(names, values, strict=True)) for unit, values in units.items()}
            for split, units in lengths.items()
        },
    }


def describe(folder: epath.PathLike, manifest: Manifest, lengths: Lengths) -> list[str]:
    """Lines for the terminal: tokenizer, sources, totals, what was left out, lengths."""
    tokenizer = manifest.tokenizer
    lines = [
        f"{folder}: shards of format {manifest.format_version}",
        f"tokenizer: {tokenizer.kind}, {tokenizer.vocab_size:,} entries, {tokenizer.file}",
        *(f"source: {source}" for source in manifest.sources),
        *summary(manifest),
        "",
        f"{'length in tokens, by percentile':<32}" + "".join(f"{f'{p}%':>9}" for p in PERCENTILES),
    ]
    for split, units in lengths.items():
        for unit, values in units.items():
            lines.append(f"{f'{split} {unit}':<32}" + "".join(f"{value:>9,}" for value in values))
    sampled = [split for split in lengths if len(manifest.splits[split]) > MAX_SHARDS]
    if sampled:
        lines.append(f"(lengths of {' and '.join(sampled)}: from {MAX_SHARDS} shards of each)")
    return lines
