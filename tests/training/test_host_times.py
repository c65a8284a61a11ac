"""Figures of processes that are made up, and of this one."""

import math
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from spanbert_jax.training import host_times
from spanbert_jax.training.host_times import (
    HostFigures,
    combined,
    device_memory_gb,
    named,
    of_all,
    slowest,
)

NAN = math.nan
# Process 1 is late now and then, process 2 takes long to read.
THREE = (
    HostFigures(0.50, 0.60, 0.010, 30.0),
    HostFigures(0.51, 0.90, 0.020, NAN),
    HostFigures(0.49, 0.70, 0.041, 33.5),
)
HOSTS = ("host-0", "host-1", "host-2")


def test_a_window_keeps_the_largest_of_all_processes_and_whose_it_is() -> None:
    assert combined(THREE) == {
        "step_seconds_p50": 0.51, "step_seconds_p95": 0.90, "step_seconds_p95_process": 1.0,
        "host_seconds": 0.020, "slowest_host_seconds": 0.041, "slowest_process": 2.0,
        "device_memory_gb": 33.5,
    }  # fmt: skip


def test_of_one_process_alone_there_is_nobody_to_compare() -> None:
    assert combined(THREE[1:2]) == {
        "step_seconds_p50": 0.51, "step_seconds_p95": 0.90, "host_seconds": 0.020,
    }  # fmt: skip
    assert slowest(combined(THREE[1:2]), HOSTS[1:2]) == ""


def test_the_slowest_process_is_named_with_its_host() -> None:
    assert slowest(combined(THREE), HOSTS) == "process 2 on host-2, 41 ms a step"


def test_every_process_is_listed_by_its_number_and_host_with_what_is_known_of_it() -> None:
    listed = named(THREE, HOSTS)
    assert [(each["process"], each["host"]) for each in listed] == list(enumerate(HOSTS))
    assert [each["step_seconds_p95"] for each in listed] == [0.60, 0.90, 0.70]
    assert "device_memory_gb" not in listed[1] and listed[2]["device_memory_gb"] == 33.5


def test_every_process_hears_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the other two were heard, in the order of their numbers."""
    assert of_all(THREE[0]) == THREE[:1]
    monkeypatch.setattr(jax, "process_count", lambda: 3)
    monkeypatch.setattr(
        host_times.multihost_utils, "process_allgather",
        lambda own: np.stack([own, *map(np.array, THREE[1:])]),
    )  # fmt: skip
    np.testing.assert_array_equal(of_all(THREE[0]), np.array(THREE))


def device(stats: dict[str, int] | None) -> SimpleNamespace:
    return SimpleNamespace(memory_stats=lambda: stats)


@pytest.mark.parametrize(
    ("stats", "expected"),
    [
        (({"peak_bytes_in_use": 3_500_000_000}, {"peak_bytes_in_use": 4_000_000_000}), 4.0),
        # A device that tells nothing, or not this, hides no other.
        ((None, {"bytes_in_use": 7}, {"peak_bytes_in_use": 250_000_000}), 0.25),
        ((None, {}), NAN),
    ],
)
def test_memory_is_the_peak_of_the_fullest_device(
    monkeypatch: pytest.MonkeyPatch, stats: tuple, expected: float
) -> None:
    monkeypatch.setattr(jax, "local_devices", lambda: [device(each) for each in stats])
    np.testing.assert_equal(device_memory_gb(), expected)
