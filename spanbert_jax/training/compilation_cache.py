"""JAX's persistent compilation cache, kept for every run: a program that restarts compiles nothing.

In: a folder, local or gs://. Out: JAX reads what it finds there and writes what it compiles.

A local one is bounded, least recently used programs go first. Programs for CPUs are kept by kind of
CPU, since the compiler uses every instruction that it finds. Whoever set a cache of their own, by
JAX_COMPILATION_CACHE_DIR, keeps it.
"""

import contextlib
import hashlib
import platform
import sys
from collections.abc import Callable
from pathlib import Path

import filelock
import jax
from etils import epath

from spanbert_jax.config import ComputeConfig
from spanbert_jax.config.addresses import is_address

DEFAULT = ComputeConfig.compilation_cache
BYTES_ON_DISK = 8 * 1024**3
"""Most that a local cache may take."""
_SECONDS_FOR_LOCK = 10.0
# The names of JAX's files: a program, and when it was last used.
_PROGRAM, _LAST_USE = "-cache", "-atime"


def _warn(message: str) -> None:
    print(message, file=sys.stderr)


def keep_compiled(place: str = DEFAULT, *, say: Callable[[str], None] = _warn) -> None:
    """Have JAX keep what it compiles at `place`; "" for nowhere.

    A place that cannot be written is said, and the run compiles as it would without one. On several
    hosts with GPUs only a place that is named is used: there, hosts that find nothing wait for the
    one that finds all.
    """
    if not place or jax.config.values["jax_compilation_cache_dir"]:
        return
    backend, is_remote = jax.default_backend(), is_address(place)
    if place == DEFAULT and backend == "gpu" and jax.process_count() > 1:
        return
    # Always a folder that nobody else fills.
    folder = epath.Path(place).expanduser() / (
        f"cpu-{_kind_of_cpu()}" if backend == "cpu" else backend
    )
    if is_remote:
        # What XLA itself keeps for GPUs, it can keep on local disks alone.
        jax.config.update("jax_persistent_cache_enable_xla_caches", "none")
    elif jax.process_index() == 0 and not _bounded(Path(folder), say):
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))


def _bounded(folder: Path, say: Callable[[str], None]) -> bool:
    """Whether a folder can be written; JAX then removes what is too much. The first process does
    so alone, and alone takes the lock that this needs."""
    try:
        _mend(folder)
    except (OSError, filelock.Timeout) as error:
        say(
            f"compiled programs are not kept in {folder} ({error}); name another folder in "
            "JAX_COMPILATION_CACHE_DIR"
        )
        return False
    if jax.config.values["jax_compilation_cache_max_size"] == -1:
        jax.config.update("jax_compilation_cache_max_size", BYTES_ON_DISK)
    return True


def _mend(folder: Path) -> None:
    """Make the folder, and remove programs whose writing was cut off: JAX would not replace them.

    Raises:
        OSError: nothing can be written there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(folder / ".lockfile", timeout=_SECONDS_FOR_LOCK):
        for program in folder.glob(f"*{_PROGRAM}"):
            last_use = program.with_name(program.name.removesuffix(_PROGRAM) + _LAST_USE)
            if not last_use.exists():
                program.unlink()


def _kind_of_cpu() -> str:
    """The same for all CPUs that can run the same programs."""
    what = platform.machine() + platform.processor()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        what += next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return hashlib.sha256(what.encode()).hexdigest()[:12]
