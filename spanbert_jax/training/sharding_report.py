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
    """-> "1.33 GB of parameters and moments, 166 MB on each device: optimizer 110 MB, ..."."""
    total = sum(share.total_bytes for share in found.values())
    on_device = sum(share.device_bytes for share in found.values())
    parts = ", ".join(
        f"{name} {size(share.device_bytes)}"
        for name, share in sorted(found.items(), key=lambda item: -item[1].device_bytes)
    )
    return f"{size(total)} of parameters and moments, {size(on_device)} on each device: {parts}"


def size(num_bytes: int) -> str:
    """size(1_330_000_000) -> "1.33 GB"; size(93_800) -> "93.8 kB"; size(12) -> "12 B"."""
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if num_bytes >= unit:
            return f"{num_bytes / unit:.3g} {name}"
    return f"{num_bytes} B"
