"""A small model and a random batch with padding, packed documents and unused slots."""

import numpy as np
import pytest

from spanbert_jax.config import ModelConfig
from spanbert_jax.data.batch import NO_PAIR, PretrainBatch

BATCH, LENGTH, SLOTS, VOCAB = 4, 16, 3, 50


@pytest.fixture
def config() -> ModelConfig:
    return ModelConfig(
        vocab_size=VOCAB, hidden_size=16, num_layers=3, num_heads=4, mlp_size=32, max_positions=32,
        boundary_offset_size=6, max_boundary_offsets=4,
    )  # fmt: skip


@pytest.fixture
def batch() -> PretrainBatch:
    rng = np.random.default_rng(0)
    documents = np.ones((BATCH, LENGTH))
    documents[0, 7:], documents[1, 12:] = 2, 0
    positions = np.sort(rng.permuted(np.tile(np.arange(1, 11), (BATCH, 1)), axis=1)[:, :SLOTS])
    fields = PretrainBatch(
        token_ids=rng.integers(5, VOCAB, (BATCH, LENGTH)),
        segment_ids=rng.integers(0, 2, (BATCH, LENGTH)),
        document_ids=documents,
        position_ids=np.tile(np.arange(LENGTH), (BATCH, 1)),
        masked_positions=positions,
        masked_ids=rng.integers(5, VOCAB, (BATCH, SLOTS)),
        masked_weights=[[1, 1, 1], [1, 1, 0], [1, 1, 1], [1, 0, 0]],
        boundary_left=positions - 1,
        boundary_right=positions + 1,
        boundary_offset=rng.integers(0, 4, (BATCH, SLOTS)),
        boundary_weights=[[1, 0, 1], [1, 0, 0], [0, 1, 1], [1, 0, 0]],
        next_sentence_label=np.full(BATCH, NO_PAIR),
    )
    return PretrainBatch(*(np.asarray(field, np.int32) for field in fields))
