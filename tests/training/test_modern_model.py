"""The modern encoder in a run: it learns, the same on any mesh, by any optimizer."""

import dataclasses
from collections.abc import Callable

import jax
import numpy as np
import pytest

from spanbert_jax.config import MeshConfig, PretrainConfig
from spanbert_jax.data.batch import PretrainBatch
from spanbert_jax.training.mesh import make_mesh
from spanbert_jax.training.pretraining import build


def losses(config: PretrainConfig, mesh_config: MeshConfig, batch: PretrainBatch) -> list[float]:
    """Of some steps on one batch."""
    size = mesh_config.data * mesh_config.fsdp * mesh_config.tensor
    mesh = make_mesh(mesh_config, jax.devices()[:size])
    with jax.set_mesh(mesh):
        run = build(config, mesh)
        state, found = run.init(), []
        for placed in run.on_devices([batch] * 6):
            state, metrics = run.train_step(state, placed)
            found.append(float(metrics["loss"]))
    return found


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_it_learns_the_same_on_any_mesh(
    config: PretrainConfig, make_batch: Callable[[int], PretrainBatch], optimizer: str
) -> None:
    model = dataclasses.replace(
        config.model, encoder="modern", num_layers=2, num_segments=0, local_attention=8
    )
    config = dataclasses.replace(
        config, model=model, optimizer=dataclasses.replace(config.optimizer, name=optimizer)
    )
    alone = losses(config, MeshConfig(1, 1, 1), make_batch(0))
    assert alone[-1] < alone[0] - 0.1
    np.testing.assert_allclose(losses(config, MeshConfig(2, 2, 2), make_batch(0)), alone, rtol=1e-4)
