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


def state_shardings(boxed_state: Any, mesh: Mesh) -> Any:
    """Sharding of every array of a train state, from the logical names its parameters carry."""
    specs = nn.get_partition_spec(boxed_state)
    return nn.logical_to_mesh_sharding(specs, mesh, LOGICAL_AXIS_RULES)
