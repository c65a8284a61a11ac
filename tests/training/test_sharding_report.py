"""The published models on eight devices, by their shapes alone."""

import dataclasses
import math
from pathlib import Path

import jax
import pytest

from spanbert_jax.config import MeshConfig, PretrainConfig
from spanbert_jax.config.files import load_config
from spanbert_jax.data.batch import empty_batch
from spanbert_jax.training.mesh import batch_sharding, make_mesh
from spanbert_jax.training.pretraining import build
from spanbert_jax.training.sharding_report import Share, described, shares, size

CONFIGS = Path(__file__).resolve().parents[2] / "configs" / "pretrain.py"
VOCABULARY = 29_056


def experiment(name: str, mesh: MeshConfig) -> PretrainConfig:
    config = load_config(f"{CONFIGS}:{name}", PretrainConfig)
    model = dataclasses.replace(config.model, vocab_size=VOCABULARY)
    # Scanned: one layer is lowered, not 24.
    compute = dataclasses.replace(config.compute, scan_layers=True)
    data = dataclasses.replace(config.data, batch_size=32)
    return dataclasses.replace(config, model=model, compute=compute, data=data, mesh=mesh)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("spanbert_base", 110e6), ("spanbert_large", 336e6), ("spanbert_xl", 1.28e9)],
)
def test_a_published_size_lowers_in_pieces_on_every_axis(name: str, parameters: float) -> None:
    config = experiment(name, MeshConfig(2, 2, 2))
    mesh = make_mesh(config.mesh)
    with jax.set_mesh(mesh):
        pretraining = build(config, mesh)
        rows = batch_sharding(mesh)
        batch = jax.tree.map(
            lambda field: jax.ShapeDtypeStruct(field.shape, field.dtype, sharding=rows),
            empty_batch(32, config.data.sequence_length, config.num_predictions),
        )
        lowered = pretraining.train_step.lower(pretraining.abstract_state, batch)
    text = lowered.as_text()
    assert "sharding" in text
    # Every array of the state hands its memory on to the one that takes its place.
    assert text.count("tf.aliasing_output") == len(jax.tree.leaves(pretraining.abstract_state))
    assert pretraining.num_parameters == pytest.approx(parameters, rel=0.02)
    found = shares(pretraining.abstract_state)
    total, on_device = (sum(column) for column in zip(*found.values(), strict=True))
    # float32 parameters and two moments.
    assert total == pytest.approx(12 * pretraining.num_parameters, rel=1e-6)
    # Over fsdp and tensor, but for biases, norms and small tables, which one axis splits.
    assert total / 4 < on_device < 1.04 * total / 4


def test_the_largest_config_splits_its_state_over_all_devices() -> None:
    config = load_config(f"{CONFIGS}:spanbert_xl", PretrainConfig)
    mesh = make_mesh(config.mesh)
    config = experiment("spanbert_xl", config.mesh)
    with jax.set_mesh(mesh):
        found = shares(build(config, mesh).abstract_state)
    # But for the biases inside feed-forward blocks, which lie along an axis of one device.
    assert found["encoder"].device_bytes < 1.01 * found["encoder"].total_bytes / 8
    assert math.isclose(sum(share.device_bytes for share in found.values()), 1.92e9, rel_tol=0.02)


def test_it_is_told_in_one_line_the_most_first() -> None:
    found = {
        "encoder": Share(400_000_000, 50_000_000),
        "optimizer": Share(800_000_000, 100_000_000),
    }
    assert described(found) == (
        "1.2 GB of parameters and moments, 150 MB on each device: optimizer 100 MB, encoder 50 MB"
    )


def test_sizes_are_told_in_units_that_suit_them() -> None:
    sizes = 1_330_000_000, 93_800, 12
    assert [size(number) for number in sizes] == ["1.33 GB", "93.8 kB", "12 B"]
