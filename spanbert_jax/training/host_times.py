"""Which process keeps the others waiting. In: seconds of its steps. Out: figures of all."""

from typing import NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils


class StepTimes(NamedTuple):
    """Of the steps of a log window, in this process."""

    median: float
    """Seconds from the end of a step to that of the next; all processes have about the same, since
    each step waits for the slowest."""
    percentile_95: float
    host: float
    """Mean seconds in which a step did not wait for the devices: reading, placing, starting."""


def times_of_all(times: StepTimes) -> dict[str, float]:
    """Figures of all processes, the same in each; every process must ask for them.

    host_seconds: the median process; slowest_host_seconds and slowest_process: the one that the
    others wait for, where reading or starting steps is what takes time.
    """
    figures = {"step_seconds_p50": times.median, "step_seconds_p95": times.percentile_95}
    if jax.process_count() == 1:
        return figures | {"host_seconds": times.host}
    everybody = multihost_utils.process_allgather(np.array(times, np.float64))
    host = everybody.reshape(-1, len(times))[:, StepTimes._fields.index("host")]
    return figures | {
        "host_seconds": float(np.median(host)),
        "slowest_host_seconds": float(host.max()),
        "slowest_process": float(host.argmax()),
    }
