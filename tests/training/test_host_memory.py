"""What a step frees stays for the next one: counted in page faults, in processes of their own."""

import os
import subprocess
import sys

import pytest

# Steps whose 64 MiB of temporaries are freed at their end; prints page faults of a later one.
PROGRAM = """
import resource, statistics, sys
from spanbert_jax.training.host_memory import keep_freed_memory
kept = keep_freed_memory() if sys.argv[1] == "keep" else None
import jax, jax.numpy as jnp
step = jax.jit(lambda x: (x[:, None] + jnp.arange(2_048.0)) @ jnp.ones((2_048, 2)))
x = jnp.ones(8_192)
faults = []
for _ in range(40):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    step(x).block_until_ready()
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
# The first few find their places: a step may begin before the last one's memory is free.
print(kept, statistics.median_low(faults[20:]))
"""


def run(how: str, **environment: str) -> tuple[str, int]:
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, how],
        env={**os.environ, "XLA_FLAGS": "", **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    kept, faults = result.stdout.split()
    return kept, int(faults)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator alone gives memory back so")
def test_a_step_meets_no_page_fault_for_what_the_one_before_freed() -> None:
    _, given_back = run("leave", JAX_PLATFORMS="cpu")
    kept, faults = run("keep", JAX_PLATFORMS="cpu")
    assert kept == "True"
    assert faults < 100 < 1_000 < given_back


def test_nothing_is_changed_where_an_accelerator_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from spanbert_jax.training.host_memory import keep_freed_memory

    monkeypatch.setenv("JAX_PLATFORMS", "tpu,cpu")
    assert not keep_freed_memory()


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator alone gives memory back so")
def test_what_lies_free_is_given_back_when_asked_and_what_is_in_use_stays() -> None:
    program = """
import numpy as np
from spanbert_jax.training.host_memory import give_back_freed_memory, keep_freed_memory
keep_freed_memory()
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4_096 >> 20
freed, used = np.ones(1 << 25), np.ones(1 << 20)
del freed
before = resident()
give_back_freed_memory()
print(before - resident(), used.sum() == 1 << 20)
"""
    result = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, "JAX_PLATFORMS": "cpu"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    megabytes, kept = result.stdout.split()
    assert int(megabytes) > 200
    assert kept == "True"
