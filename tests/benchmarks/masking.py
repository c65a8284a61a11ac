"""Sequences per CPU second from shards to ready batches, and where the time goes.

    python tests/benchmarks/masking.py
    python tests/benchmarks/masking.py --blocks packed --batch-sizes 256
    python tests/benchmarks/masking.py --shards /data/shards --scheme subword

One core, one thread; process CPU time, the best of several turns. Without `--shards`, random tokens
(V 28,996, 80% of them word starts) are written to a temporary folder first, in sentences of 1 to 50
tokens: in long documents, or, for packed rows, in documents of 20 sentences on average. The
pipeline masks at least 256 rows at once, whatever the batch. One JSON line per row:

masking            of the same rows again and again, nothing else
windows            reading and checking the pieces of a window, and cutting them into rows
layout             finding the rows of examples in a window and putting them in place
shards_to_batches  all of it, in tf.data, batches out
"""

import argparse
import dataclasses
import itertools
import json
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from spanbert_jax.config import BlockKind, MaskingConfig
from spanbert_jax.corpus.pieces import Shard
from spanbert_jax.corpus.progress import SilentProgress
from spanbert_jax.corpus.shards import open_shard, write_shard
from spanbert_jax.data.cutting import BlockRule, count_rows
from spanbert_jax.data.host_tensorflow import tf
from spanbert_jax.data.masking import RowBatch, Vocabulary, mask_rows
from spanbert_jax.data.pipeline import pretrain_dataset
from spanbert_jax.data.sentence_pairs import draw_pairs
from spanbert_jax.data.token_shards import RowReader, TokenShards, open_token_shards
from spanbert_jax.data.windows import Pieces, load_window

VOCAB_SIZE = 28_996
NUM_TOKENS = 40_000_000
SENTENCES_IN_DOCUMENT = {"document": 2_000, "packed": 20, "sentence_pair": 2_000}
TARGETS = {512: 12_000, 128: 40_000}
MAX_BOUNDARY_OFFSETS = 15


def synthetic_shards(folder: Path, *, sequence_length: int, blocks: BlockKind) -> TokenShards:
    rng = np.random.default_rng(0)
    tokens = rng.integers(5, VOCAB_SIZE, NUM_TOKENS, np.uint16)
    ends = np.cumsum(rng.integers(1, 51, NUM_TOKENS // 20))
    ends = np.append(ends[ends < NUM_TOKENS], NUM_TOKENS)
    mean = SENTENCES_IN_DOCUMENT[blocks]
    documents = np.cumsum(rng.integers(1, 2 * mean, 2 * len(ends) // mean))
    documents = np.append(documents[documents < len(ends)], len(ends))
    info = write_shard(folder, "train-00000", Shard(tokens, ends, documents))
    pieces = Pieces([open_shard(folder, info)])
    vocabulary = Vocabulary(
        word_starts=rng.random(VOCAB_SIZE) < 0.8,
        cumulative_counts=np.cumsum(rng.integers(1, 10_000, VOCAB_SIZE)),
        cls_id=2, sep_id=3, mask_id=4, pad_id=0,
    )  # fmt: skip
    rule = BlockRule(blocks, sequence_length)
    counts = count_rows(pieces, rule, folder=folder, split="train", progress=SilentProgress())
    return TokenShards(pieces, rule=rule, counts=counts, vocabulary=vocabulary)


def read_rows(shards: TokenShards, reader: RowReader, examples: np.ndarray) -> RowBatch:
    """Rows before masking."""
    draws: tuple[tf.Tensor, ...] = ()
    if shards.block_kind == "sentence_pair":
        draws = draw_pairs(tf.zeros(len(examples), tf.uint64), max_tokens=shards.rule.max_tokens)
    places = reader.order.locate(examples)
    return reader.read(examples, places, *(draw.numpy() for draw in draws))


def masking_calls(shards: TokenShards, config: MaskingConfig, batch_size: int) -> Iterator[object]:
    """Mask the same blocks again and again, each time with other seeds."""
    rows = RowBatch(*map(tf.constant, read_rows(shards, shards.reader(0), np.arange(batch_size))))

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
    shards: TokenShards, config: MaskingConfig, batch_size: int
) -> Iterator[object]:
    batches = pretrain_dataset(
        shards, masking=config, batch_size=batch_size, max_boundary_offsets=MAX_BOUNDARY_OFFSETS,
        seed=0,
    )  # fmt: skip
    options = tf.data.Options()
    options.threading.private_threadpool_size = 1
    batches = dataclasses.replace(batches, dataset=batches.dataset.with_options(options))
    return batches.as_numpy_iterator()


def layout_calls(shards: TokenShards, batch_size: int) -> Iterator[object]:
    reader = shards.reader(0)
    for call in itertools.count():
        yield read_rows(shards, reader, np.arange(batch_size) + call * batch_size)


def window_rows_per_cpu_second(shards: TokenShards) -> float:
    start = time.process_time()
    numbers = np.arange(len(shards.pieces))
    window = load_window(
        shards.pieces,
        numbers,
        cut=lambda piece: shards.rule.cut(piece)[0],
        num_rows=shards.rows_in_piece,
    )
    return (len(window.rows.row_splits) - 1) / (time.process_time() - start)


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


def measure(shards: TokenShards, config: MaskingConfig, batch_size: int) -> Iterator[dict]:
    length, counts = shards.sequence_length, shards.summary.counts
    row = {"sequence_length": length, "batch_size": batch_size, "scheme": config.scheme}
    row["blocks"] = shards.block_kind
    rates = {
        "masking": sequences_per_cpu_second(masking_calls(shards, config, batch_size), batch_size),
        "windows": window_rows_per_cpu_second(shards),
        "layout": sequences_per_cpu_second(layout_calls(shards, batch_size), batch_size),
    }
    for name, rate in rates.items():
        yield row | {"measured": name, "sequences_per_cpu_second": round(rate)}
    batches = sequences_per_cpu_second(pipeline_batches(shards, config, batch_size), batch_size)
    # The window is read once, in a turn that is not counted.
    whole = 1 / (1 / batches + 1 / rates["windows"])
    yield row | {
        "measured": "shards_to_batches",
        "sequences_per_cpu_second": round(whole),
        "target": TARGETS.get(length),
        "relative_to_masking": round(whole / rates["masking"], 2),
        "mean_tokens": round(counts.num_tokens / counts.num_rows, 1),
        "runs_in_row": round(counts.num_segments / counts.num_rows, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shards", default="", help="folder written by `spanbert prepare`")
    parser.add_argument("--scheme", default="geometric_span")
    parser.add_argument("--blocks", default="document", choices=SENTENCES_IN_DOCUMENT)
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


if __name__ == "__main__":
    main()
