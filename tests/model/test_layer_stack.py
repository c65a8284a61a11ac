"""Both layouts of the layers' parameters hold the same numbers, names and shardings."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from spanbert_jax.config import MeshConfig
from spanbert_jax.model.layer_stack import is_stacked, stack_layers, unstack_layers
from spanbert_jax.training.mesh import make_mesh


def equal(actual: object, expected: object) -> None:
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    jax.tree.map(np.testing.assert_array_equal, actual, expected)


def test_layouts_of_the_docstrings() -> None:
    stacked = {"layers": {"bias": jnp.array([[1.0], [2.0]])}}
    separate = {"layer_0": {"bias": jnp.array([1.0])}, "layer_1": {"bias": jnp.array([2.0])}}
    equal(unstack_layers(stacked), separate)
    equal(stack_layers(separate), stacked)
    assert is_stacked(stacked) and not is_stacked(separate)
    equal(unstack_layers(separate), separate)
    equal(stack_layers(stacked), stacked)


def test_layers_keep_their_order_beyond_nine_and_what_stands_beside_them() -> None:
    bias = np.arange(12.0)
    tree = ({"encoder": {"layers": {"bias": bias}, "layer_norm": bias}}, bias)
    separate = unstack_layers(tree)
    encoder = separate[0]["encoder"]
    assert [float(encoder[f"layer_{i}"]["bias"]) for i in range(12)] == bias.tolist()
    assert encoder["layer_norm"] is bias and separate[1] is bias
    equal(stack_layers(separate), tree)


def test_boxes_and_shapes_lose_and_gain_the_axis_of_the_layers() -> None:
    mesh = make_mesh(MeshConfig(2, 2, 2))

    def shape(*sizes: int, spec: tuple[str | None, ...]) -> jax.ShapeDtypeStruct:
        sharding = NamedSharding(mesh, PartitionSpec(*spec))
        return jax.ShapeDtypeStruct(sizes, jnp.float32, sharding=sharding)

    stacked = {"layers": {"kernel": shape(2, 4, 8, spec=(None, "fsdp", "tensor"))}}
    one = {"kernel": shape(4, 8, spec=("fsdp", "tensor"))}
    separate = {"layer_0": one, "layer_1": one}
    assert unstack_layers(stacked) == separate
    assert stack_layers(separate) == stacked

    box = nn.LogicallyPartitioned(jnp.ones((2, 4)), names=("layers", "embed"))
    first = unstack_layers({"layers": {"bias": box}})["layer_0"]["bias"]
    assert isinstance(first, nn.LogicallyPartitioned)
    assert first.names == ("embed",) and first.value.shape == (4,)
    again = stack_layers({"layer_0": {"bias": first}})["layers"]["bias"]
    assert again.names == ("layers", "embed") and again.value.shape == (1, 4)
