"""A tiny pretraining: its config, and random batches whose rows differ in number of targets."""

from collections.abc import Callable

import jax
import numpy as np
import pytest

from spanbert_jax.config import (
    ComputeConfig,
    DataConfig,
    MeshConfig,
    ModelConfig,
    OptimizerConfig,
    PretrainConfig,
    TrainingConfig,
)
from spanbert_jax.data.batch import NO_PAIR, PretrainBatch
from spanbert_jax.training.mesh import make_mesh
from spanbert_jax.training.pretraining import build
from spanbert_jax.training.train_step import TrainState

BATCH, LENGTH, SLOTS, VOCAB = 8, 16, 3, 50
# Of each row. Halves of the batch (every second row) have 9 and 11, and 5 and 7.
NUM_TARGETS = (1, 2, 3, 3, 2, 3, 3, 3)
NUM_BOUNDARY_TARGETS = (1, 0, 2, 3, 0, 1, 2, 3)


@pytest.fixture(scope="session")
def config() -> PretrainConfig:
    return PretrainConfig(
        model=ModelConfig(
            vocab_size=VOCAB, hidden_size=16, num_layers=1, num_heads=4, mlp_size=32,
            max_positions=LENGTH, boundary_offset_size=6, max_boundary_offsets=4,
        ),
        data=DataConfig(sequence_length=LENGTH, batch_size=BATCH),
        optimizer=OptimizerConfig(learning_rate=0.02, warmup_steps=2),
        training=TrainingConfig(num_steps=100, seed=3),
        compute=ComputeConfig(dtype="float32"),
    )  # fmt: skip


@pytest.fixture(scope="session")
def make_batch() -> Callable[[int], PretrainBatch]:
    """A batch from a seed: row 0 holds two documents, row 1 ends in padding."""

    def random_batch(seed: int) -> PretrainBatch:
        rng = np.random.default_rng(seed)
        documents = np.ones((BATCH, LENGTH))
        documents[0, 7:], documents[1, 12:] = 2, 0
        positions = np.tile(np.arange(1, 11), (BATCH, 1))
        positions = np.sort(rng.permuted(positions, axis=1)[:, :SLOTS])
        fields = PretrainBatch(
            token_ids=rng.integers(5, VOCAB, (BATCH, LENGTH)),
            segment_ids=np.zeros((BATCH, LENGTH)),
            document_ids=documents,
            position_ids=np.tile(np.arange(LENGTH), (BATCH, 1)),
            masked_positions=positions,
            masked_ids=rng.integers(5, VOCAB, (BATCH, SLOTS)),
            masked_weights=np.arange(SLOTS) < np.array(NUM_TARGETS)[:, None],
            boundary_left=positions - 1,
            boundary_right=positions + 1,
            boundary_offset=rng.integers(0, 4, (BATCH, SLOTS)),
            boundary_weights=np.arange(SLOTS) < np.array(NUM_BOUNDARY_TARGETS)[:, None],
            next_sentence_label=np.full(BATCH, NO_PAIR),
        )
        return PretrainBatch(*(np.asarray(field, np.int32) for field in fields))

    return random_batch


@pytest.fixture(scope="session")
def trained() -> Callable[[PretrainConfig, MeshConfig, PretrainBatch], tuple[TrainState, list]]:
    """State and losses after six steps on one batch."""

    def train(
        config: PretrainConfig, mesh_config: MeshConfig, batch: PretrainBatch
    ) -> tuple[TrainState, list]:
        size = mesh_config.data * mesh_config.fsdp * mesh_config.tensor
        mesh = make_mesh(mesh_config, jax.devices()[:size])
        with jax.set_mesh(mesh):
            run = build(config, mesh)
            state, losses = run.init(), []
            for placed in run.on_devices([batch] * 6):
                state, metrics = run.train_step(state, placed)
                losses.append(float(metrics["loss"]))
        return state, losses

    return train
