"""Sequences per CPU second of masking alone, and from memory-mapped shards to ready batches.

    python tests/benchmarks/masking.py
    python tests/benchmarks/masking.py --shards /data/shards --scheme subword
    python tests/benchmarks/masking.py --blocks sentence_pair --batch-sizes 256

One core, one thread; process CPU time, the best of several turns. Without `--shards`, random tokens
(V 28,996, 80% of them word starts) in long documents are written to a temporary folder first. One
JSON line per row. The pipeline masks at least 256 rows at once, whatever the batch.
"""

import argparse
import itertools
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from spanbert_jax.config import BlockKind, MaskingConfig, tokens_of_text
from spanbert_jax.corpus.shards import Shard
from spanbert_jax.data.blocks import cut_blocks
from spanbert_jax.data.host_tensorflow import tf
from spanbert_jax.data.masking import Vocabulary, mask_rows
from spanbert_jax.data.pipeline import (
    TokenShards,
    open_token_shards,
    pretrain_dataset,
    row_batch,
)
from spanbert_jax.data.sentence_pairs import SentencePairs

VOCAB_SIZE = 28_996
NUM_TOKENS = 40_000_000
TARGETS = {512: 12_000, 128: 40_000}
MAX_BOUNDARY_OFFSETS = 15


def synthetic_shards(
    folder: Path, *, sequence_length: int, blocks: BlockKind = "document"
) -> TokenShards:
    """Random tokens, memory-mapped; sentences of 1 to 50 tokens, 2,000 of them in a document."""
    path = folder / "tokens.npy"
    rng = np.random.default_rng(0)
    if not path.exists():
        np.save(path, rng.integers(5, VOCAB_SIZE, NUM_TOKENS, np.uint16))
    tokens = np.load(path, mmap_mode="r")
    ends = np.cumsum(np.random.default_rng(1).integers(1, 51, NUM_TOKENS // 20))
    ends = np.append(ends[ends < NUM_TOKENS], NUM_TOKENS)
    shard = Shard(
        np.asarray(tokens), ends, np.append(np.arange(2_000, len(ends), 2_000), len(ends))
    )
    max_tokens = tokens_of_text(sequence_length, blocks)
    cut, summary = cut_blocks([shard], max_tokens=max_tokens)
    vocabulary = Vocabulary(
        word_starts=rng.random(VOCAB_SIZE) < 0.8,
        cumulative_counts=np.cumsum(rng.integers(1, 10_000, VOCAB_SIZE)),
        cls_id=2, sep_id=3, mask_id=4, pad_id=0,
    )  # fmt: skip
    pairs = SentencePairs((shard,), cut, max_tokens, vocabulary.pad_id)
    return TokenShards(
        (shard.tokens,), cut, summary, vocabulary, sequence_length,
        pairs=pairs if blocks == "sentence_pair" else None,
    )  # fmt: skip


def masking_calls(shards: TokenShards, config: MaskingConfig, batch_size: int) -> Iterator[object]:
    """Mask the same blocks again and again, each time with other seeds."""
    order = np.random.default_rng(0).permutation(shards.num_blocks)[:batch_size]
    blocks = tf.constant(np.resize(order, batch_size))
    rows = row_batch(blocks, seeds=tf.zeros_like(blocks, tf.uint64), shards=shards)

    @tf.function(autograph=False)
    def mask(seeds: tf.Tensor) -> object:
        return mask_rows(
            rows, seeds=seeds, vocabulary=shards.vocabulary, config=config,
            num_predictions=config.num_predictions(shards.sequence_length, shards.block_kind),
            max_boundary_offsets=MAX_BOUNDARY_OFFSETS,
        )  # fmt: skip

    for call in itertools.count():
        yield mask(tf.cast(tf.range(batch_size) + call * batch_size, tf.uint64))


def pipeline_batches(
    shards: TokenShards, config: MaskingConfig, batch_size: int, first_example: int = 0
) -> Iterator[object]:
    dataset = pretrain_dataset(
        shards, masking=config, batch_size=batch_size, max_boundary_offsets=MAX_BOUNDARY_OFFSETS,
        seed=0, first_example=first_example,
    )  # fmt: skip
    options = tf.data.Options()
    options.threading.private_threadpool_size = 1
    return dataset.with_options(options).as_numpy_iterator()


def sequences_per_cpu_second(
    batches: Iterator[object], batch_size: int, *, num_turns: int = 5, num_rows: int = 8_192
) -> float:
    """Best of some turns, after one that is not counted."""
    rates = []
    for _ in range(num_turns + 1):
        start = time.process_time()
        for _ in range(num_rows // batch_size):
            next(batches)
        rates.append(num_rows / (time.process_time() - start))
    return max(rates[1:])


def seconds_to_first_batch(make_batches: Callable[[], Iterator[object]]) -> float:
    start = time.perf_counter()
    next(make_batches())
    return time.perf_counter() - start


def measure(shards: TokenShards, config: MaskingConfig, batch_size: int) -> Iterator[dict]:
    length = shards.sequence_length
    row = {"sequence_length": length, "batch_size": batch_size, "scheme": config.scheme}
    row["blocks"] = shards.block_kind
    masking = sequences_per_cpu_second(masking_calls(shards, config, batch_size), batch_size)
    whole = sequences_per_cpu_second(pipeline_batches(shards, config, batch_size), batch_size)
    yield row | {"measured": "masking", "sequences_per_cpu_second": round(masking)}
    yield row | {
        "measured": "shards_to_batches",
        "sequences_per_cpu_second": round(whole),
        "target": TARGETS.get(length),
        "relative_to_masking": round(whole / masking, 2),
        "mean_tokens": round(shards.summary.num_tokens / shards.num_blocks, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shards", default="", help="folder written by `spanbert prepare`")
    parser.add_argument("--scheme", default="geometric_span")
    parser.add_argument("--blocks", default="document", help="or sentence_pair")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[32, 256, 512])
    options = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    config = MaskingConfig(scheme=options.scheme)
    with tempfile.TemporaryDirectory() as folder:
        for length in TARGETS:
            shards = (
                open_token_shards(options.shards, sequence_length=length, blocks=options.blocks)
                if options.shards
                else synthetic_shards(Path(folder), sequence_length=length, blocks=options.blocks)
            )
            for batch_size in options.batch_sizes:
                for row in measure(shards, config, batch_size):
                    print(json.dumps(row), flush=True)
            for start in (0, 10**11):
                seconds = seconds_to_first_batch(
                    lambda shards=shards, start=start: pipeline_batches(shards, config, 256, start)
                )
                row = {"measured": "first_batch", "first_example": start, "seconds": seconds}
                print(json.dumps(row | {"sequence_length": length}), flush=True)


if __name__ == "__main__":
    main()
