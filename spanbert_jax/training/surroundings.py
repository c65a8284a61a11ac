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
        return int(environment["SLURM_NTASKS"]) > 1
    platforms = environment.get("JAX_PLATFORMS") or "tpu"
    has_tpu = any(Path("/dev").glob("accel*")) or Path("/dev/vfio/0").exists()
    return "tpu" in platforms and has_tpu and importlib.util.find_spec("libtpu") is not None
