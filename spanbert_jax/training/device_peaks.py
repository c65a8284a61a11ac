"""Published peaks of matrix products per JAX device, for model FLOP/s utilisation.

Dense figures without sparsity. A JAX device is half a chip on TPU v2, v3 and v7x, and a whole chip
on the others.
"""

import re
from typing import NamedTuple

import jax

from spanbert_jax.config import ComputeConfig
from spanbert_jax.model.pretraining import compute_dtype


class DevicePeak(NamedTuple):
    """Peak in TFLOP/s of devices whose kind starts with `kind`; None where it has no such unit."""

    kind: str
    bfloat16: float | None
    float16: float | None


# TPU: the page of each version under docs.cloud.google.com/tpu/docs, "peak compute per chip".
# NVIDIA: the data sheet of each card, rows "Tensor Core", halved where they count sparsity.
# The first match counts: longer names stand before those they start with.
PEAKS = (
    DevicePeak("TPU v2", 22.5, None),  # 45 a chip
    DevicePeak("TPU v3", 61.5, None),  # 123 a chip
    DevicePeak("TPU v4 lite", 138.0, None),
    DevicePeak("TPU v4", 275.0, None),
    DevicePeak("TPU v5 lite", 197.0, None),
    DevicePeak("TPU v5e", 197.0, None),
    DevicePeak("TPU v5p", 459.0, None),
    DevicePeak("TPU v5", 459.0, None),
    DevicePeak("TPU v6 lite", 918.0, None),
    DevicePeak("TPU v6e", 918.0, None),
    DevicePeak("TPU7x", 1_153.5, None),  # 2,307 a chip
    DevicePeak("NVIDIA B200", 2_250.0, 2_250.0),
    DevicePeak("NVIDIA H200 NVL", 835.5, 835.5),
    DevicePeak("NVIDIA H200", 989.5, 989.5),
    DevicePeak("NVIDIA H100 NVL", 835.5, 835.5),
    DevicePeak("NVIDIA H100 PCIe", 756.0, 756.0),
    DevicePeak("NVIDIA H100", 989.5, 989.5),
    DevicePeak("NVIDIA A100", 312.0, 312.0),
    DevicePeak("NVIDIA L4", 121.0, 121.0),
    # No bfloat16 units: a share of a peak that the chip does not have would mislead.
    DevicePeak("Tesla V100-PCIE", None, 112.0),
    DevicePeak("Tesla V100", None, 125.0),
    DevicePeak("Tesla T4", None, 65.0),
)


def peak_flops(device_kind: str, dtype: str) -> float | None:
    """Peak FLOP/s of one device, as `jax.Device.device_kind` names it; None where not known.

    float32 has no single peak: how a product is computed depends on the precision asked for.

    peak_flops("TPU v4", "bfloat16") -> 2.75e14
    peak_flops("TPU v4", "float32") -> None
    """
    if dtype not in ("bfloat16", "float16"):
        return None
    for peak in PEAKS:
        # A whole word: an L40S is no L4.
        if re.match(rf"{re.escape(peak.kind)}\b", device_kind, re.IGNORECASE):
            tera = peak.bfloat16 if dtype == "bfloat16" else peak.float16
            return None if tera is None else tera * 1e12
    return None


def peak_of_all_devices(compute: ComputeConfig) -> float | None:
    """Peak FLOP/s of the devices at hand together; None where not known."""
    peak = peak_flops(jax.devices()[0].device_kind, compute_dtype(compute).name)
    return peak * jax.device_count() if peak else None
