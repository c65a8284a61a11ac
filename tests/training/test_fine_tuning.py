"""What a fine-tuning run settles before its first step."""

import jax
import pytest

from spanbert_jax.config import MeshConfig
from spanbert_jax.training.fine_tuning import even_batch_size
from spanbert_jax.training.mesh import make_mesh


@pytest.mark.parametrize(
    ("num_devices", "num_rows", "size"),
    [(1, 265, 53), (1, 64, 64), (1, 65, 33), (1, 9, 9), (8, 265, 56), (8, 3, 8), (8, 400, 64)],
)
def test_batches_of_dev_are_about_full_and_are_split_by_the_mesh(
    num_devices: int, num_rows: int, size: int
) -> None:
    mesh = make_mesh(MeshConfig(), jax.devices()[:num_devices])
    assert even_batch_size(num_rows, at_most=64, mesh=mesh) == size
