"""Share of non-padding tokens in rows of documents and in packed rows, and what cutting takes.

    python tests/benchmarks/packing.py --shards /data/shards
    python tests/benchmarks/packing.py --shards /data/shards --sequence-lengths 512 --ratio 0.15

All pieces of the training text, [CLS] and [SEP] counted as tokens; `document-original` is the
released code's rule, which leaves over-long sentences out. Milliseconds are process CPU time per
piece, about 2^19 tokens, on one core. One JSON line for each rule and length.
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator

from spanbert_jax.config import MaskingConfig
from spanbert_jax.corpus.pieces import Shard
from spanbert_jax.corpus.shards import open_shard, read_manifest
from spanbert_jax.data.blocks import RowCounts, Rows, add_counts, document_rows
from spanbert_jax.data.packing import packed_rows

Cut = Callable[[Shard], tuple[Rows, RowCounts]]


def rules(length: int, masking: MaskingConfig) -> dict[str, Cut]:
    slots = masking.num_predictions(length, "packed")
    return {
        "document": lambda piece: document_rows(piece, max_tokens=length - 2),
        "document-original": lambda piece: document_rows(
            piece, max_tokens=length - 2, over_long="original"
        ),
        "packed": lambda piece: packed_rows(
            piece, sequence_length=length, max_slots=slots, budget=masking.budget
        ),
    }


def pieces_of(folder: str) -> Iterator[Shard]:
    """The layout of every piece of the training text, without its token ids."""
    for info in read_manifest(folder).splits["train"]:
        shard = open_shard(folder, info)
        yield from map(shard.read_layout, range(len(shard.table)))


def measure(pieces: list[Shard], *, length: int, masking: MaskingConfig) -> Iterator[dict]:
    num_tokens = sum(int(piece.sentence_ends[-1]) for piece in pieces)
    for name, cut in rules(length, masking).items():
        start = time.process_time()
        counts = add_counts([cut(piece)[1] for piece in pieces])
        seconds = time.process_time() - start
        num_sentences = sum(len(piece.sentence_ends) for piece in pieces)
        yield {
            "blocks": name,
            "sequence_length": length,
            "non_padding_share": round(counts.filled_share(length), 4),
            "num_rows": counts.num_rows,
            "runs_in_row": round(counts.num_segments / counts.num_rows, 3),
            "split_sentence_share": round(counts.num_split_sentences / num_sentences, 4),
            "left_out_share": round(1 - counts.num_tokens / num_tokens, 6),
            "milliseconds_per_piece": round(1e3 * seconds / len(pieces), 2),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shards", required=True, help="folder written by `spanbert prepare`")
    parser.add_argument("--sequence-lengths", type=int, nargs="+", default=[512, 128])
    parser.add_argument("--ratio", type=float, default=0.15, help="--masking.mask-ratio")
    options = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    pieces = list(pieces_of(options.shards))
    for length in options.sequence_lengths:
        for row in measure(pieces, length=length, masking=MaskingConfig(mask_ratio=options.ratio)):
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
