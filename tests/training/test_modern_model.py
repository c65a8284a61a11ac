"""The modern encoder in a run: it learns, the same on any mesh, by any optimizer."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from spanbert_jax.config import MeshConfig, PretrainConfig
from spanbert_jax.data.batch import PretrainBatch


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_it_learns_the_same_on_any_mesh(
    config: PretrainConfig,
    make_batch: Callable[[int], PretrainBatch],
    trained: Callable[..., Any],
    optimizer: str,
) -> None:
    model = dataclasses.replace(
        config.model, encoder="modern", num_layers=2, num_segments=0, local_attention=8
    )
    config = dataclasses.replace(
        config, model=model, optimizer=dataclasses.replace(config.optimizer, name=optimizer)
    )
    _, alone = trained(config, MeshConfig(1, 1, 1), make_batch(0))
    assert alone[-1] < alone[0] - 0.1
    _, shared = trained(config, MeshConfig(2, 2, 2), make_batch(0))
    np.testing.assert_allclose(shared, alone, rtol=1e-4)
