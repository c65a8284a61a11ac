"""How well the order of the data is shuffled, beside a permutation of all blocks.

    python tests/benchmarks/order.py
    python tests/benchmarks/order.py --pieces 20000

A corpus of equal pieces of 1,000 blocks, of which ten sources hold a tenth each, documents of 1 to
19 blocks. Three epochs of batches of 256, in the order that training takes and in numpy's
permutations of all blocks: once of a corpus as `spanbert prepare` writes it, which mixes documents,
and once with the sources one after the other, the hardest case. One JSON line each:

rank_correlation        of position in the text and in the order, the largest of three epochs
epoch_correlation       of the orders of two epochs, the largest of three pairs
pairs_of_one_document   in a batch, mean: expected of a permutation is a number near 0
source_share_deviation  standard deviation, over batches, of the share of one source (1/10 each)
source_drift            the same over windows of 100 batches: what a window does not mix
"""

import argparse
import itertools
import json

import numpy as np

from spanbert_jax.data.order import WINDOW_PIECES, DataOrder

BLOCKS_IN_PIECE, NUM_SOURCES, BATCH_SIZE, NUM_EPOCHS = 1_000, 10, 256, 3


def documents_of_blocks(num_blocks: int) -> np.ndarray:
    """The document of each block."""
    lengths = np.random.default_rng(0).integers(1, 20, num_blocks)
    return np.repeat(np.arange(num_blocks), lengths)[:num_blocks]


def pairs_of_one_document(batches: np.ndarray, documents: np.ndarray) -> float:
    """Mean number of pairs of blocks in a batch that come from the same document."""
    ordered = np.sort(documents[batches], axis=1)
    pairs, equal = 0, np.ones_like(ordered, bool)
    for shift in range(1, 20):
        equal = equal[:, 1:] & (ordered[:, shift:] == ordered[:, :-shift])
        pairs += equal.sum()
    return float(pairs / len(batches))


def deviation(shares: np.ndarray) -> float:
    return float(np.std(shares, axis=0).mean())


def sources_of_blocks(documents: np.ndarray, *, mixed: bool) -> np.ndarray:
    """The source of each block: that of its document. Mixed documents stand anywhere."""
    if mixed:
        return np.random.default_rng(1).integers(0, NUM_SOURCES, len(documents))[documents]
    return np.arange(len(documents)) * NUM_SOURCES // len(documents)


def measure(corpus: str, name: str, epochs: list[np.ndarray]) -> dict[str, object]:
    num_blocks = len(epochs[0])
    documents = documents_of_blocks(num_blocks)
    batches = epochs[0][: num_blocks // BATCH_SIZE * BATCH_SIZE].reshape(-1, BATCH_SIZE)
    sources = sources_of_blocks(documents, mixed=corpus == "mixed")[batches]
    shares = np.stack([np.mean(sources == i, axis=1) for i in range(NUM_SOURCES)], axis=1)
    groups = shares[: len(shares) // 100 * 100].reshape(-1, 100, NUM_SOURCES).mean(axis=1)
    position = np.arange(num_blocks)
    # The rank in the order of each block, to compare epochs with each other.
    ranks = [np.argsort(epoch) for epoch in epochs]
    return {
        "corpus": corpus,
        "order": name,
        "blocks": num_blocks,
        "rank_correlation": max(abs(np.corrcoef(position, epoch)[0, 1]) for epoch in epochs),
        "epoch_correlation": max(
            abs(np.corrcoef(a, b)[0, 1]) for a, b in itertools.combinations(ranks, 2)
        ),
        "pairs_of_one_document": pairs_of_one_document(batches, documents),
        "source_share_deviation": deviation(shares),
        "source_drift": deviation(groups),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pieces", type=int, default=2_000, help="of the corpus, 1 MB each")
    options = parser.parse_args()
    order = DataOrder(np.full(options.pieces, BLOCKS_IN_PIECE), seed=0)
    examples = np.arange(NUM_EPOCHS * order.num_blocks).reshape(NUM_EPOCHS, -1)
    rng = np.random.default_rng(0)
    rows = (
        (f"windows of {WINDOW_PIECES} pieces", [order.locate(epoch).block for epoch in examples]),
        ("full permutation", [rng.permutation(order.num_blocks) for _ in range(NUM_EPOCHS)]),
    )
    for corpus, (name, epochs) in itertools.product(("mixed", "sorted by source"), rows):
        row = measure(corpus, name, epochs)
        print(json.dumps({k: round(v, 5) if isinstance(v, float) else v for k, v in row.items()}))


if __name__ == "__main__":
    main()
