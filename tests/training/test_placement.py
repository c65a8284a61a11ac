"""Rows of a batch on eight devices of one process; several processes are in tests/faults."""

import jax
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from spanbert_jax.config import MeshConfig
from spanbert_jax.training import placement
from spanbert_jax.training.mesh import make_mesh
from spanbert_jax.training.placement import BatchPlacement


@pytest.mark.parametrize("axes", [(8, 1, 1), (2, 2, 2), (1, 1, 8)])
def test_a_process_with_all_devices_has_all_rows_and_places_them_in_order(axes: tuple) -> None:
    placed = BatchPlacement(make_mesh(MeshConfig(*axes)))
    np.testing.assert_array_equal(placed.share(16), np.arange(16))
    rows = np.arange(32).reshape(16, 2)
    (on_devices,) = placed.on_devices([{"rows": rows}], batch_size=16)
    np.testing.assert_array_equal(on_devices["rows"], rows)
    assert on_devices["rows"].sharding.spec == PartitionSpec(("data", "fsdp"))


@pytest.mark.parametrize(
    ("axes", "mine", "rows"),
    [
        # Devices 0-3 are of one process, 4-7 of the other.
        ((8, 1, 1), range(4), range(8)),
        ((8, 1, 1), range(4, 8), range(8, 16)),
        ((2, 2, 2), range(4, 8), range(8, 16)),
        # Of two processes on the tensor axis, both have every row.
        ((1, 1, 8), range(4), range(16)),
        # Every other device, as where a mesh follows the wires of a pod.
        ((8, 1, 1), (0, 2, 4, 6), [0, 1, 4, 5, 8, 9, 12, 13]),
    ],
)
def test_a_process_has_the_rows_of_its_devices(
    axes: tuple, mine: tuple, rows: range, monkeypatch: pytest.MonkeyPatch
) -> None:
    mesh = make_mesh(MeshConfig(*axes))
    monkeypatch.setattr(placement, "batch_sharding", lambda mesh: _Addressable(mesh, mine))
    np.testing.assert_array_equal(BatchPlacement(mesh).share(16), np.array(rows))


class _Addressable:
    """The sharding of batches, as a process sees it that has some of the devices."""

    def __init__(self, mesh: Mesh, mine: tuple[int, ...]) -> None:
        self._all = NamedSharding(mesh, PartitionSpec(("data", "fsdp")))
        self._mine = [jax.devices()[number] for number in mine]

    def addressable_devices_indices_map(self, shape: tuple[int, ...]) -> dict:
        indices = self._all.devices_indices_map(shape)
        return {device: indices[device] for device in self._mine}
