"""Steps that are broken on purpose, on eight devices, in both layouts of the layers."""

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from spanbert_jax.config import ComputeConfig, MeshConfig, PretrainConfig
from spanbert_jax.data.batch import PretrainBatch
from spanbert_jax.model.losses import WeightedSums
from spanbert_jax.training.diagnosis import diagnose
from spanbert_jax.training.mesh import make_mesh
from spanbert_jax.training.pretraining import build

Break = Callable[[str, jax.Array], jax.Array]


@pytest.fixture(scope="module", params=[False, True], ids=["unrolled", "scanned"])
def diagnosed(
    config: PretrainConfig, make_batch: Callable[[int], PretrainBatch], request
) -> Callable[[Break], str]:
    """diagnosed(change): what is said where `change(path, leaf)` is made of each parameter."""
    compute = ComputeConfig(dtype="float32", scan_layers=request.param, remat="full")
    mesh = make_mesh(MeshConfig(data=2, fsdp=2), jax.devices()[:4])
    with jax.set_mesh(mesh):
        pretraining = build(dataclasses.replace(config, compute=compute), mesh)
        state = pretraining.init()
        (batch,) = pretraining.on_devices([make_batch(0)])

    def diagnosed(change: Break) -> str:
        def changed(path: Any, leaf: jax.Array) -> jax.Array:
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            return jax.device_put(change(name, leaf), leaf.sharding)

        with jax.set_mesh(mesh):
            params = jax.tree_util.tree_map_with_path(changed, state.params)
            return pretraining.diagnose(state.replace(params=params), batch)

    return diagnosed


def test_a_step_with_nothing_wrong_is_told_as_such(diagnosed) -> None:
    assert diagnosed(lambda path, leaf: leaf) == (
        "a batch later, all is finite: outputs, loss and gradient"
    )


def test_a_parameter_that_is_not_finite_is_named(diagnosed) -> None:
    said = diagnosed(
        lambda path, leaf: leaf.at[0].set(jnp.nan) if path == "mlm_head/bias" else leaf
    )
    assert said == "the parameter mlm_head/bias is not finite"


def test_the_innermost_module_that_overflows_first_is_named(diagnosed) -> None:
    said = diagnosed(
        lambda path, leaf: (
            jnp.full_like(leaf, 3e38) if path.endswith("feed_forward/inner/kernel") else leaf
        )
    )
    assert (
        said == "the first module whose output is not finite is encoder/layer_0/feed_forward/inner"
    )


class Root(nn.Module):
    """Its output is finite, its gradient is not: the square root at 0."""

    compute: ComputeConfig = ComputeConfig()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return jnp.sqrt(x * self.param("scale", nn.initializers.ones, (1,)))


@dataclasses.dataclass(frozen=True)
class RootObjective:
    model: Root
    factor: float = 1.0

    def sums(self, params: Any, batch: Any, dropout_key: jax.Array | None) -> dict:
        root = self.model.apply({"params": params}, batch)
        return {"root": WeightedSums(jnp.sum(root), None, jnp.float32(1.0))}

    def scales(self, batch: Any) -> dict[str, jax.Array]:
        return {"root": jnp.float32(self.factor)}


@pytest.mark.parametrize(
    ("factor", "scale", "said"),
    [
        (1.0, 0.0, "outputs and loss are finite; the gradient is not at scale"),
        (jnp.inf, 1.0, "all outputs are finite, the loss is not"),
        (1.0, -1.0, "the first module whose output is not finite is Root"),
    ],
)
def test_what_is_finite_up_to_there_is_said(factor: float, scale: float, said: str) -> None:
    mesh = make_mesh(MeshConfig(), jax.devices()[:1])
    with jax.set_mesh(mesh):
        found = diagnose(
            RootObjective(Root(), factor), {"scale": jnp.array([scale])}, jnp.ones(1),
            key=jax.random.key(0), mesh=mesh,
        )  # fmt: skip
    assert found == said
