"""Which process keeps the others waiting. In: figures of its steps. Out: those of all."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils


class HostFigures(NamedTuple):
    """Of the steps of a log window, in one process."""

    step_seconds_p50: float
    """From the end of a step to that of the next; all processes have about the same, since each
    step waits for the slowest."""
    step_seconds_p95: float
    host_seconds: float
    """Mean of a step in which the devices were not waited for: reading, placing, starting."""
    device_memory_gb: float = math.nan
    """The most that one of its devices has used so far; NaN where none says it."""


def device_memory_gb() -> float:
    """Of the devices of this process, as `HostFigures` has it."""
    stats = (device.memory_stats() for device in jax.local_devices())
    peaks = [each["peak_bytes_in_use"] for each in stats if each and "peak_bytes_in_use" in each]
    return max(peaks, default=math.nan) / 1e9


def of_all(own: HostFigures) -> tuple[HostFigures, ...]:
    """Of every process, by its number; each of them must ask."""
    if jax.process_count() == 1:
        return (own,)
    rows = multihost_utils.process_allgather(np.array(own, np.float64)).reshape(-1, len(own))
    return tuple(HostFigures(*map(float, row)) for row in rows)


def combined(everybody: Sequence[HostFigures]) -> dict[str, float]:
    """What a log window keeps of them, the same in every process: the largest of each figure.

    Of several also which process had the longest steps (step_seconds_p95_process), and which one
    the others wait for where it is reading or starting steps that takes time (slowest_process,
    slowest_host_seconds); host_seconds is then that of the median process.
    """
    columns = dict(zip(HostFigures._fields, np.array(everybody).T, strict=True))
    figures = {
        name: float(np.nanmax(column))
        for name, column in columns.items()
        if not np.isnan(column).all()
    }
    if len(everybody) == 1:
        return figures
    host = columns["host_seconds"]
    return figures | {
        "step_seconds_p95_process": float(columns["step_seconds_p95"].argmax()),
        "host_seconds": float(np.median(host)),
        "slowest_host_seconds": float(host.max()),
        "slowest_process": float(host.argmax()),
    }


def named(everybody: Sequence[HostFigures], hosts: Sequence[str]) -> list[dict[str, Any]]:
    """-> [{"process": 0, "host": "host-0", "step_seconds_p50": 0.5, ...}, ...]"""
    return [
        {"process": number, "host": host}
        | {name: value for name, value in figures._asdict().items() if not math.isnan(value)}
        for number, (host, figures) in enumerate(zip(hosts, everybody, strict=True))
    ]


def slowest(figures: Mapping[str, float], hosts: Sequence[str]) -> str:
    """-> "process 3 on host-3, 41 ms a step"; "" of one process alone."""
    if "slowest_process" not in figures:
        return ""
    number = int(figures["slowest_process"])
    milliseconds = 1e3 * figures["slowest_host_seconds"]
    return f"process {number} on {hosts[number]}, {milliseconds:.0f} ms a step"
