"""What the chips of each generation can do, as far as the planner needs to know it."""

from typing import NamedTuple

from spanbert_jax.config.topologies import Topology
from spanbert_jax.training.device_peaks import peak_flops


class Chip(NamedTuple):
    """One JAX device: of the generations here a whole chip, on v4 and v5p two cores that act as
    one.
    """

    device_kind: str
    """As `jax.Device.device_kind` names it."""
    hbm_bytes: int
    """That a program can have; a part of what the chip has is the runtime's."""
    hbm_bytes_per_second: float
    clock_hz: float
    cores: int
    """That share the work of a kernel."""
    cycles_per_matmul: int
    """For which a `vmatmul` of bfloat16 takes one matrix unit."""
    link_bytes_per_second: float
    """Of one link to a neighbour, one way."""

    @property
    def flops_per_second(self) -> float:
        """Peak of matrix products in bfloat16."""
        peak = peak_flops(self.device_kind, "bfloat16")
        assert peak is not None, "every chip of the table is one of device_peaks"
        return peak


# HBM and links: the page of each version under docs.cloud.google.com/tpu/docs; link speed is a
# chip's bidirectional bandwidth over its links (4 in two dimensions, 6 in three), halved. What of
# HBM a program can have is what the compiler says where one does not fit; of v5p, not checked.
# Clock and cycles of a product: such that all matrix units together reach the published peak
# (v5e: 4 x 128 x 128 x 2 x 1.5 GHz = 197 TFLOP/s).
GIB = 2**30
CHIPS = {
    "v4": Chip("TPU v4", int(30.75 * GIB), 1_228e9, 1.05e9, 2, 16, 45e9),
    "v5e": Chip("TPU v5 lite", int(15.75 * GIB), 819e9, 1.5e9, 1, 16, 45e9),
    "v5p": Chip("TPU v5", int(95.74 * GIB), 2_765e9, 1.75e9, 2, 16, 90e9),
    "v6e": Chip("TPU v6 lite", int(31.25 * GIB), 1_640e9, 1.75e9, 1, 8, 90e9),
}
HBM_EFFICIENCY = 0.81
"""Share of HBM's peak that is reached: what the compiler's own model assumes (442 of 546 bytes a
cycle on v5e, 757 of 937 on v6e)."""
KERNEL_SECONDS = 0.5e-6
"""To start a kernel that touches HBM. Assumed, not measured."""
COLLECTIVE_SECONDS = 5e-6
"""To start a collective. Assumed, not measured."""


def chip_of(topology: Topology) -> Chip:
    return CHIPS[topology.generation]


def collective_seconds(topology: Topology, *, num_bytes: float, group: int) -> float:
    """Time of a collective in which each chip of a group sends `num_bytes`.

    Along as many axes of the torus as the group needs, the longest first, and both ways around
    where the axis is a ring; along an open row the ends hold the others up to half the speed.
    """
    if group <= 1:
        return 0.0
    chip, covered, speed = chip_of(topology), 1, 0.0
    axes = sorted(zip(topology.shape, topology.rings, strict=True), reverse=True)
    for size, is_ring in axes:
        if covered >= group or size == 1:
            break
        covered *= size
        speed += 2 * chip.link_bytes_per_second * (1.0 if is_ring else 0.5)
    return num_bytes / speed + COLLECTIVE_SECONDS
