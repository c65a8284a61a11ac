"""Time to the first batch, early and late in a run, and memory, on a corpus larger than memory.

    python tests/benchmarks/reading.py --gigabytes 20

Shards of so many gigabytes of token ids are written to a temporary folder: real bounds of sentences
and documents, and ids of 0, for which the file system needs no room where it knows sparse files.
Then, each in a process of its own: rows are counted for the first time; the first batch is made of
256 rows of 512 tokens at step 10 and at step 1,000,000, by turns, rows counted before; and batches
are drawn over more than two windows. Memory is the peak of the process above what it had with
TensorFlow and this program loaded. One JSON line each.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from spanbert_jax.config import MaskingConfig
from spanbert_jax.corpus import pieces
from spanbert_jax.corpus.files import sha256_of
from spanbert_jax.corpus.pieces import PIECE_TABLE, PIECE_TOKENS, Shard
from spanbert_jax.corpus.shards import (
    UNIGRAM_FILE,
    Manifest,
    ShardInfo,
    TokenizerInfo,
    write_array,
    write_manifest,
)
from spanbert_jax.corpus.tokenizers.word_piece import parse_vocabulary
from spanbert_jax.data.pipeline import pretrain_dataset
from spanbert_jax.data.token_shards import open_token_shards

BATCH_SIZE, SEQUENCE_LENGTH, SHARD_TOKENS = 256, 512, 64_000_000
VOCAB_SIZE = 30_000
NUM_TURNS = 5
NUM_BATCHES = 1_800
"""About two and a half windows of the documents below."""


def one_piece() -> Shard:
    """Half a million tokens in sentences of 1 to 50, 20 of them in a document."""
    rng = np.random.default_rng(0)
    ends = np.cumsum(rng.integers(1, 51, PIECE_TOKENS // 20))
    ends = np.append(ends[ends < PIECE_TOKENS], PIECE_TOKENS)
    documents = np.append(np.arange(20, len(ends), 20), len(ends))
    return Shard(np.zeros(PIECE_TOKENS, np.uint16), ends, documents)


def write_sparse_shard(folder: Path, name: str, *, num_pieces: int) -> ShardInfo:
    """The same piece again and again; its ids are holes in the file."""
    piece = one_piece()
    ids, layout = pieces.encode_piece(piece)
    _, table = pieces.encode_shard(piece)
    size = len(ids) + len(layout)
    table = np.repeat(table, num_pieces)
    first = int(table["offset"][0])
    table["offset"] = first + size * np.arange(num_pieces)
    path = folder / f"{name}.tokens.npy"
    np.lib.format.open_memmap(path, "w+", np.uint16, (num_pieces * size // 2,)).flush()
    with path.open("r+b") as file:
        for offset in table["offset"].tolist():
            file.seek(offset + len(ids))
            file.write(layout)
    assert table.dtype == PIECE_TABLE
    # Checksums of whole files are only asked for with --data.verify-shards.
    sha256 = {"tokens": "", "pieces": write_array(folder / f"{name}.pieces.npy", table)}
    counts = (num_pieces * count for count in piece.lengths)
    return ShardInfo(name, "uint16", *counts, sha256)


def write_corpus(folder: Path, *, gigabytes: float) -> None:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words += [f"word{i}" for i in range(VOCAB_SIZE - len(words))]
    tokenizer = parse_vocabulary("\n".join(words), lowercase=False, where="benchmark")
    file = tokenizer.save(folder)
    per_shard = SHARD_TOKENS // PIECE_TOKENS
    num_shards = max(1, round(gigabytes * 1e9 / 2 / per_shard / PIECE_TOKENS))
    train = [
        write_sparse_shard(folder, f"train-{i:05d}", num_pieces=per_shard)
        for i in range(num_shards)
    ]
    info = TokenizerInfo(
        file, tokenizer.kind, VOCAB_SIZE, tokenizer.fingerprint, sha256_of(folder / file)
    )
    unigram = write_array(folder / UNIGRAM_FILE, np.ones(VOCAB_SIZE, np.int64))
    manifest = Manifest({"train": tuple(train), "held_out": ()}, info, unigram, ("benchmark",))
    write_manifest(folder, manifest)


def memory_mb() -> float:
    """Peak of the process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def read(folder: str, *, first_step: int, num_batches: int) -> dict[str, float]:
    """Open the shards and draw batches from a step on."""
    idle, start = memory_mb(), time.perf_counter()
    shards = open_token_shards(folder, sequence_length=SEQUENCE_LENGTH)
    opened = time.perf_counter() - start
    batches = pretrain_dataset(
        shards, masking=MaskingConfig(), batch_size=BATCH_SIZE, max_boundary_offsets=15, seed=0,
        first_example=first_step * BATCH_SIZE,
    ).as_numpy_iterator()  # fmt: skip
    next(batches)
    first = time.perf_counter() - start
    for _ in range(num_batches - 1):
        next(batches)
    return {
        "first_step": first_step,
        "seconds_to_open": round(opened, 2),
        "seconds_to_first_batch": round(first, 2),
        "batches": num_batches,
        "rows": shards.num_blocks,
        "memory_mb_above_idle": round(memory_mb() - idle),
        "idle_mb": round(idle),
    }


def in_own_process(folder: str, *, first_step: int, num_batches: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--read", folder, str(first_step), str(num_batches)]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(run.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=20.0, help="of token ids")
    parser.add_argument("--folder", default=None, help="where there is room for a twelfth of that")
    parser.add_argument("--read", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read:
        folder, step, count = options.read
        print(json.dumps(read(folder, first_step=int(step), num_batches=int(count))))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        write_corpus(Path(folder), gigabytes=options.gigabytes)
        kept = sum(path.stat().st_size for path in Path(folder).iterdir()) / 1e9
        row = {"gigabytes": round(kept, 1)}

        def measured(name: str, *, first_step: int, num_batches: int) -> None:
            found = in_own_process(folder, first_step=first_step, num_batches=num_batches)
            print(json.dumps({"measured": name} | row | found), flush=True)

        measured("first count of rows", first_step=0, num_batches=1)
        for _ in range(NUM_TURNS):
            for step in (10, 1_000_000):
                measured("first batch", first_step=step, num_batches=1)
        measured("two windows and more", first_step=0, num_batches=NUM_BATCHES)


if __name__ == "__main__":
    main()
