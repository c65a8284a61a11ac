"""What the compiler is told for each kind of device: the one place for flags of XLA and libtpu.

In: the options that a config adds. Out: those of `jax.jit`, for the devices of a mesh.

They go with the functions of a run and not into XLA_FLAGS or LIBTPU_INIT_ARGS, which are read once,
by whatever touches JAX first, and end the process where a name is unknown.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

import jax
from jax.sharding import Mesh

from spanbert_jax.errors import UserError

Options = dict[str, str | bool]


class OptionsOfKind(NamedTuple):
    """What programs for devices are compiled with; `kind` is a pattern of how theirs begins."""

    kind: str
    options: Options
    why: str


# The first match counts.
OPTIONS = (
    OptionsOfKind(
        "TPU v5 lite",
        {},
        "libtpu 0.0.42 overlaps collectives by itself: two layers of base compiled for v5e:4x4, "
        "split by fsdp or by data, have the same ones with and without the flags that are commonly "
        "set (async collective fusion, data-parallel all-reduce)",
    ),
    OptionsOfKind(
        "TPU",
        {},
        "nothing is known of other generations: what holds for v5e was not looked for in v4, v5p "
        "and v6e",
    ),
    OptionsOfKind(
        "NVIDIA|Tesla",
        {"xla_gpu_enable_latency_hiding_scheduler": True},
        "collectives beside computation; off by default, on in NVIDIA's images of JAX "
        "(docs.nvidia.com/jax-toolbox, environment variables)",
    ),
    OptionsOfKind("cpu", {}, "none that was tried was faster"),
)


def compiler_options(mesh: Mesh, added: Sequence[str] = ()) -> Options:
    """Of the devices of a mesh; `added` are those of a config, which win.

    ("xla_tpu_scoped_vmem_limit_kib=65536",) -> {..., "xla_tpu_scoped_vmem_limit_kib": "65536"}

    Raises:
        UserError: the compiler of the devices does not know one, or not its value.
    """
    options = dict(_of_kind(mesh.devices.flat[0].device_kind))
    for text in added:
        name, _, value = text.partition("=")
        options[name] = _value(value)
        _check(text, {name: options[name]}, mesh)
    return options


def _value(text: str) -> str | bool:
    """As the compiler takes it: "true" -> True, "65536" as it is."""
    return text == "true" if text in ("true", "false") else text


def _of_kind(device_kind: str) -> Options:
    kinds = (each for each in OPTIONS if re.match(each.kind, device_kind, re.IGNORECASE))
    found = next(kinds, None)
    return found.options if found else {}


def _check(text: str, option: Options, mesh: Mesh) -> None:
    nothing = jax.jit(lambda: 0, out_shardings=jax.sharding.NamedSharding(mesh, jax.P()))
    try:
        nothing.lower().compile(compiler_options=option)
    except jax.errors.JaxRuntimeError as error:
        if not any(name in str(error) for name in option):
            raise
        kind = mesh.devices.flat[0].device_kind
        raise UserError(
            f"--compute.compiler-options {text}: must be an option that the compiler of {kind} "
            f"knows, found that it says: {str(error).splitlines()[0]}; leave it out"
        ) from error
