"""Devices as a mesh, and the one table from the model's logical axes to its axes.

In: the mesh config. Out: a mesh, and shardings for parameters and batches.
"""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from spanbert_jax.config import MeshConfig

# A mesh axis is used once in an array: in an activation `batch` takes fsdp and `embed` stays whole,
# in a parameter `embed` takes fsdp.
LOGICAL_AXIS_RULES: tuple[tuple[str, str | tuple[str, ...] | None], ...] = (
    ("batch", ("data", "fsdp")),
    ("vocab", "tensor"),
    ("heads", "tensor"),
    ("mlp", "tensor"),
    ("embed", "fsdp"),
    ("layers", None),
    ("length", None),
    ("head_dim", None),
)


def make_mesh(config: MeshConfig, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Arrange `devices` (default: all); one axis of -1 takes what the others leave."""
    devices = jax.devices() if devices is None else devices
    sizes = config.resolve(len(devices))
    # Auto: the partitioner chooses where nothing is said. make_mesh defaults to Explicit.
    return jax.make_mesh(
        tuple(sizes.values()), tuple(sizes), axis_types=(AxisType.Auto,) * 3, devices=devices
    )


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Rows of a batch over the data and fsdp axes."""
    return NamedSharding(mesh, PartitionSpec(("data", "fsdp")))


def replicated(mesh: Mesh) -> NamedSharding:
    """The same value on every device."""
    return NamedSharding(mesh, PartitionSpec())


def state_shardings(state: Any, boxed_params: Any, mesh: Mesh) -> Any:
    """Sharding of every array of a train state, from the logical names its parameters carry.

    Moments lie as their parameters do. They are known by their place and shape: a path that ends
    in the parameter's, and its axes. Anything else, such as a count, or the rows and columns that
    Adafactor keeps of a matrix, is whole on every device.
    """
    specs = nn.get_partition_spec(boxed_params)
    placed = nn.logical_to_mesh_sharding(specs, mesh, LOGICAL_AXIS_RULES)
    shapes = nn.unbox(boxed_params)
    known = {
        path: (param.shape, sharding)
        for (path, param), sharding in zip(
            jax.tree_util.tree_leaves_with_path(shapes), jax.tree.leaves(placed), strict=True
        )
    }
    whole = replicated(mesh)

    def sharding_of(path: tuple[Any, ...], leaf: Any) -> NamedSharding:
        ends = (known[path[start:]] for start in range(len(path)) if path[start:] in known)
        return next((sharding for shape, sharding in ends if shape == leaf.shape), whole)

    return jax.tree_util.tree_map_with_path(sharding_of, state)
