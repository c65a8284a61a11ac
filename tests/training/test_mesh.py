"""One training, however many devices share it: the same losses, parameters in pieces."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest

from spanbert_jax.config import (
    DataConfig,
    MeshConfig,
    PretrainConfig,
    TrainingConfig,
    check_devices,
)
from spanbert_jax.data.batch import PretrainBatch
from spanbert_jax.errors import ConfigError
from spanbert_jax.training.mesh import make_mesh
from spanbert_jax.training.pretraining import build
from spanbert_jax.training.sharding_report import shares
from spanbert_jax.training.train_step import TrainState

NUM_STEPS = 20


class Trained(NamedTuple):
    losses: list[float]
    grad_norms: list[float]
    state: TrainState


def train(
    config: PretrainConfig,
    make_batch: Callable[[int], PretrainBatch],
    *,
    mesh: MeshConfig,
    num_devices: int,
) -> Trained:
    devices = make_mesh(mesh, jax.devices()[:num_devices])
    with jax.set_mesh(devices):
        pretraining = build(config, devices)
        state, metrics = pretraining.init(), []
        for batch in pretraining.on_devices(make_batch(step) for step in range(NUM_STEPS)):
            state, step_metrics = pretraining.train_step(state, batch)
            metrics.append(step_metrics)
    return Trained(
        [float(step["loss"]) for step in metrics],
        [float(step["grad_norm"]) for step in metrics],
        state,
    )


@pytest.fixture(scope="module")
def on_one_device(config: PretrainConfig, make_batch: Callable[[int], PretrainBatch]) -> Trained:
    assert config.model.dropout_rate == config.model.attention_dropout_rate == 0.1
    return train(config, make_batch, mesh=MeshConfig(), num_devices=1)


@pytest.fixture(scope="module")
def on_every_axis(config: PretrainConfig, make_batch: Callable[[int], PretrainBatch]) -> Trained:
    return train(config, make_batch, mesh=MeshConfig(2, 2, 2), num_devices=8)


def assert_equal_training(one: Trained, many: Trained) -> None:
    assert len(set(one.losses)) == NUM_STEPS
    # Float32 sums in another order.
    np.testing.assert_allclose(many.losses, one.losses, rtol=2e-6)
    np.testing.assert_allclose(many.grad_norms, one.grad_norms, rtol=1e-5)
    for moment in ("mu", "nu"):
        # Means over the gradients of all steps, and their squares: 9e-5 apart where masks of
        # dropout are such that the gradients of a bias nearly cancel, 1e-5 with others.
        assert_close(*(getattr(each.state.optimizer_state[1], moment) for each in (one, many)),
                     of_largest=4e-4)  # fmt: skip
    # A gradient that is little more than rounding, as that of the biases of keys, Adam makes a
    # part of a step of 0.02: parameters are up to 2e-5 apart.
    assert_close(one.state.params, many.state.params, absolute=1e-4)


def assert_close(one: Any, many: Any, *, of_largest: float = 0.0, absolute: float = 0.0) -> None:
    """Every array of two trees, to a share of the largest number in it, or to a number."""
    leaves = jax.tree_util.tree_leaves_with_path(one)
    for (path, leaf), other in zip(leaves, jax.tree.leaves(many), strict=True):
        expected, name = np.asarray(leaf), jax.tree_util.keystr(path, simple=True, separator="/")
        assert np.any(expected), name
        limit = absolute + of_largest * np.abs(expected).max()
        np.testing.assert_allclose(other, expected, rtol=0, atol=limit, err_msg=name)


@pytest.mark.parametrize("mesh", [MeshConfig(8), MeshConfig(4, 2)], ids=["data 8", "data 4 fsdp 2"])
def test_eight_devices_train_as_one_with_dropout_on(
    mesh: MeshConfig, config: PretrainConfig, make_batch, on_one_device: Trained
) -> None:
    assert_equal_training(on_one_device, train(config, make_batch, mesh=mesh, num_devices=8))


def test_devices_split_by_data_fsdp_and_tensor_train_as_one_with_dropout_on(
    on_one_device: Trained, on_every_axis: Trained
) -> None:
    assert_equal_training(on_one_device, on_every_axis)


def cut(config: PretrainConfig, num_microbatches: int) -> PretrainConfig:
    """Without dropout, whose masks are of a microbatch."""
    return dataclasses.replace(
        config,
        model=dataclasses.replace(config.model, dropout_rate=0.0, attention_dropout_rate=0.0),
        training=dataclasses.replace(config.training, num_microbatches=num_microbatches),
    )


def test_microbatches_train_as_the_batch_that_they_are_cut_from(
    config: PretrainConfig, make_batch: Callable[[int], PretrainBatch]
) -> None:
    """Rows differ in number of targets: it is the masked token that counts, wherever it is."""
    whole = train(cut(config, 1), make_batch, mesh=MeshConfig(), num_devices=1)
    for parts, mesh, num_devices in ((2, MeshConfig(2, 2, 2), 8), (4, MeshConfig(2), 2)):
        in_parts = train(cut(config, parts), make_batch, mesh=mesh, num_devices=num_devices)
        assert_equal_training(whole, in_parts)


def shard_shapes(tree: dict) -> dict[str, tuple[int, ...]]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf.addressable_shards[
            0
        ].data.shape
        for path, leaf in leaves
    }


def test_each_device_holds_its_piece_of_parameters_and_moments(on_every_axis: Trained) -> None:
    state = on_every_axis.state
    shapes = shard_shapes(state.params)
    layer = "encoder/layer_0"
    # Whole: 50 x 16; a layer of 4 x 4 x 16, 16 x 32, 32 x 16, 16; 50.
    expected = {
        "encoder/embeddings/token_embedding": (25, 8),
        f"{layer}/attention/out_kernel": (2, 4, 8),
        f"{layer}/feed_forward/inner/kernel": (8, 16),
        f"{layer}/feed_forward/outer/kernel": (16, 8),
        f"{layer}/attention_norm/scale": (8,),
        "mlm_head/bias": (25,),
    }
    assert {name: shapes[name] for name in expected} == expected
    # 3 matrices of 16 x 4 x 4, in quarters.
    assert math.prod(shapes[f"{layer}/attention/qkv_kernel"]) == 3 * 16 * 4 * 4 // 4
    moments = state.optimizer_state[1]
    assert shard_shapes(moments.mu) == shard_shapes(moments.nu) == shapes


def test_the_state_of_a_step_lies_in_the_memory_of_the_one_before(
    config: PretrainConfig, make_batch: Callable[[int], PretrainBatch]
) -> None:
    """By what the compiler says of the step: all of a device's state, down to its two counts."""
    mesh = make_mesh(MeshConfig(2, 2, 2))
    with jax.set_mesh(mesh):
        pretraining = build(config, mesh)
        (batch,) = pretraining.on_devices([make_batch(0)])
        step = pretraining.train_step.lower(pretraining.abstract_state, batch).compile()
    of_device = sum(share.device_bytes for share in shares(pretraining.abstract_state).values())
    assert step.memory_analysis().alias_size_in_bytes == of_device + 2 * 4


def test_an_axis_of_minus_one_takes_what_the_others_leave() -> None:
    assert dict(make_mesh(MeshConfig()).shape) == {"data": 8, "fsdp": 1, "tensor": 1}
    assert dict(make_mesh(MeshConfig(2, -1, 2)).shape) == {"data": 2, "fsdp": 2, "tensor": 2}
    one = make_mesh(MeshConfig(), jax.devices()[:1])
    assert dict(one.shape) == {"data": 1, "fsdp": 1, "tensor": 1}


def experiment(batch_size: int, mesh: MeshConfig, num_microbatches: int = 1) -> PretrainConfig:
    return PretrainConfig(
        data=DataConfig(batch_size=batch_size), mesh=mesh,
        training=TrainingConfig(num_microbatches=num_microbatches),
    )  # fmt: skip


def test_a_batch_that_fits_its_devices_is_no_error() -> None:
    check_devices(experiment(96, MeshConfig()), 8)
    check_devices(experiment(96, MeshConfig(2, 2, 2)), 8)
    # Tensor parallel devices share rows: 4 of them take one row.
    check_devices(experiment(2, MeshConfig(-1, 1, 4)), 8)
    check_devices(experiment(2, MeshConfig(1, 2, -1)), 8)
    check_devices(experiment(32, MeshConfig(), num_microbatches=4), 8)


NO_FIT = [
    (experiment(100, MeshConfig()), 32, "--data.batch-size 100: is not divisible by the 32 devices "
     "that share it; use 96 or 128"),
    (experiment(3, MeshConfig(-1, 2, 2)), 8, "--data.batch-size 3: is not divisible by the 4 "
     "devices that share it; use 4"),
    (experiment(24, MeshConfig(), num_microbatches=2), 8, "--data.batch-size 24: in 2 microbatches "
     "is not divisible by the 8 devices that share it; use 16 or 32"),
]  # fmt: skip


@pytest.mark.parametrize(("config", "num_devices", "message"), NO_FIT)
def test_a_batch_that_does_not_fit_its_devices_is_named_with_those_that_do(
    config: PretrainConfig, num_devices: int, message: str
) -> None:
    with pytest.raises(ConfigError) as error:
        check_devices(config, num_devices)
    assert str(error.value) == message


def test_a_mesh_that_does_not_fit_its_devices_is_named() -> None:
    with pytest.raises(ConfigError) as error:
        check_devices(experiment(96, MeshConfig(4, 2)), 6)
    assert str(error.value) == (
        "--mesh.data --mesh.fsdp --mesh.tensor 4 2 1: asks for 8 devices, found 6; "
        "use --mesh.data -1 --mesh.fsdp 1 --mesh.tensor 1"
    )
    with pytest.raises(ConfigError, match="asks for 4 devices or a multiple, found 6; use"):
        check_devices(experiment(96, MeshConfig(-1, 4)), 6)


def test_a_model_that_cannot_be_split_over_its_mesh_is_named_with_what_can() -> None:
    base = experiment(96, MeshConfig(-1, 1, 8))
    assert base.model.num_heads == 12
    with pytest.raises(ConfigError) as error:
        check_devices(base, 8)
    assert str(error.value) == (
        "--mesh.tensor 8: does not divide --model.num-heads 12, which is split over it; use 6"
    )
