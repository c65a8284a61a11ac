"""Tiny models of both families, and random parameters for them."""

from collections.abc import Callable

import numpy as np
import pytest

from spanbert_jax.config import ModelConfig
from spanbert_jax.weights.parameters import nest, parameter_shapes

SIZES = {
    "vocab_size": 40, "hidden_size": 16, "num_layers": 2, "num_heads": 4, "mlp_size": 32,
    "max_positions": 12, "boundary_offset_size": 6, "max_boundary_offsets": 4,
}  # fmt: skip


@pytest.fixture
def model() -> ModelConfig:
    return ModelConfig(**SIZES)


@pytest.fixture
def random_params() -> Callable[[ModelConfig], dict]:
    """Parameters of a model, all of them random."""

    def draw(model: ModelConfig) -> dict:
        rng = np.random.default_rng(0)
        shapes = parameter_shapes(model)
        return nest({path: rng.standard_normal(shape, "f4") for path, shape in shapes.items()})

    return draw
