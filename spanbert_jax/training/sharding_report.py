"""What of a run's state lies on each device. In: shapes and shardings. Out: bytes by group."""

import math
from typing import Any, NamedTuple

import jax


class Share(NamedTuple):
    """Of one group of arrays."""

    total_bytes: int
    device_bytes: int
    """On each device; all have the same."""


def shares(abstract_state: Any) -> dict[str, Share]:
    """Bytes of parameters, by the part of the model, and of the optimizer's state.

    abstract_state: a TrainState of shapes, dtypes and shardings.

    -> {"encoder": Share(342_000_000, 42_750_000), "mlm_head": ..., "optimizer": ...}
    """
    groups = dict(abstract_state.params) | {"optimizer": abstract_state.optimizer_state}
    return {name: _share(tree) for name, tree in groups.items()}


def _share(tree: Any) -> Share:
    total = on_device = 0
    for leaf in jax.tree.leaves(tree):
        size = leaf.dtype.itemsize
        total += size * leaf.size
        on_device += size * math.prod(leaf.sharding.shard_shape(leaf.shape))
    return Share(total, on_device)


def described(found: dict[str, Share]) -> str:
    """-> "1.35 GB of parameters and moments, 0.17 on each device: encoder 0.04, optimizer 0.11"."""
    total = sum(share.total_bytes for share in found.values())
    on_device = sum(share.device_bytes for share in found.values())
    parts = ", ".join(
        f"{name} {share.device_bytes / 1e9:.2g}"
        for name, share in sorted(found.items(), key=lambda item: -item[1].device_bytes)
    )
    return (
        f"{total / 1e9:.3g} GB of parameters and moments, {on_device / 1e9:.3g} on each device: "
        f"{parts}"
    )
