"""Keeps the memory of a step for the next one, on machines that compute on their CPU.

XLA:CPU allocates the buffers of a step anew for each step, and glibc gives blocks that large back
to the kernel when they are freed: the next step pays for a page fault every 4 KiB, which takes a
fifth to a quarter of it. Kept, it may lie in two pieces: up to the temporaries of one more step.
"""

import ctypes
import importlib.util
import os
import platform

# Names and values of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8
# Packages that bring JAX an accelerator.
_ACCELERATORS = ("libtpu", "jax_plugins")


def keep_freed_memory() -> bool:
    """Have this process keep what it frees; return whether it does.

    Must come before anything starts threads, which would have arenas of their own. Where JAX will
    find an accelerator, or without glibc, it changes nothing.
    """
    if not _will_compute_on_cpu() or platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    # One arena: only the main one can keep blocks of any size. No mmap, no trimming of its end.
    settings = ((_M_ARENA_MAX, 1), (_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, -1))
    return all(mallopt(name, value) == 1 for name, value in settings)


def give_back_freed_memory() -> None:
    """Give the kernel what lies free at the moment; what is freed from now on is kept again.

    For moments between many steps, such as an evaluation: what comes and goes then would lie where
    the temporaries of a step were, which would find another place and leave this one occupied.
    """
    if _will_compute_on_cpu() and platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


def _will_compute_on_cpu() -> bool:
    platforms = os.environ.get("JAX_PLATFORMS")
    if platforms:
        return platforms == "cpu"
    return not any(importlib.util.find_spec(name) for name in _ACCELERATORS)
