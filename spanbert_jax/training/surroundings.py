"""Whether a program is one of several processes of a run, told before JAX starts."""

import importlib.util
import os
from pathlib import Path

from spanbert_jax.config import DistributedConfig

# By these JAX knows a step of Slurm.
_SLURM = ("SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID")


def is_one_of_several(config: DistributedConfig) -> bool:
    """Whether others belong to the run: by the command line, under Slurm, or on a TPU's host.

    A host of a single TPU says yes too, and finds that it is alone.
    """
    if config.is_explicit:
        return True
    environment = os.environ
    if all(name in environment for name in _SLURM):
        # The shell that salloc opens is a step of one task, whatever its job asked for.
        of_step = environment.get("SLURM_STEP_NUM_TASKS", environment["SLURM_NTASKS"])
        return int(of_step) > 1
    is_told = any(name in environment for name in ("TPU_PROCESS_ADDRESSES", "TPU_WORKER_HOSTNAMES"))
    if "TPU_SKIP_MDS_QUERY" in environment and not is_told:
        # A TPU of no Google Cloud, such as a notebook's: JAX asks nobody for others either.
        return False
    return "tpu" in (environment.get("JAX_PLATFORMS") or "tpu") and _has_tpu()


def _has_tpu() -> bool:
    """Whether chips are here, and the library that drives them."""
    chips = any(Path("/dev").glob("accel*")) or Path("/dev/vfio/0").exists()
    return chips and importlib.util.find_spec("libtpu") is not None
