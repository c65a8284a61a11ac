"""The very train step of a run, compiled for chips that are not at hand. In: config, topology.
Out: figures.

It runs in a process of its own (`worker.py`): libtpu reads where it writes machine code once, and a
compiler that gives up may take its process with it.
"""

import math
import re
import time
from collections import Counter
from pathlib import Path
from typing import Any

import jax
from jax.experimental import topologies
from jax.sharding import Mesh

from spanbert_jax.config import PretrainConfig
from spanbert_jax.config.topologies import Topology
from spanbert_jax.data.batch import PretrainBatch, batch_shapes
from spanbert_jax.planning import memory, parts
from spanbert_jax.planning.bundle_files import kernel_costs
from spanbert_jax.planning.chips import chip_of
from spanbert_jax.planning.figures import Answer, OutOfMemory, StepFigures, Traffic
from spanbert_jax.planning.hlo import parse
from spanbert_jax.planning.timeline import Timeline, timeline
from spanbert_jax.training.assembly import Assembly
from spanbert_jax.training.mesh import batch_sharding, make_mesh
from spanbert_jax.training.pretraining import build
from spanbert_jax.training.sharding_report import shares

# With a list of allocations, or where no order of the program could fit.
_NEEDED = re.compile(
    r"(?:Used |HLO temporaries \()([\d.]+)([KMGT]?)\)? (?:of|exceeds available HBM) "
    r"\(?([\d.]+)([KMGT]?)"
)
_ALLOCATION = re.compile(
    r"Size: ([\d.]+)([KMGT]?)\s+(?:Operator: op_name=\"([^\"]*)\"[^\n]*\s+)?Shape: (\S+)"
)
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def compile_step(config: PretrainConfig, topology: Topology, *, bundles: Path) -> Answer:
    """Compile the train step of `config` for a slice.

    bundles: the folder that libtpu was told to write machine code to.
    """
    mesh = make_mesh(config.mesh, devices_of(topology))
    begin = time.perf_counter()
    with jax.set_mesh(mesh):
        assembly = build(config, mesh)
        lowered = assembly.train_step.lower(assembly.abstract_state, _batch(config, mesh))
        try:
            compiled = lowered.compile()
        except jax.errors.JaxRuntimeError as error:
            if answer := _out_of_memory(str(error)):
                return answer
            raise
    seconds = time.perf_counter() - begin
    return _figures(compiled, assembly, topology, bundles=bundles, compile_seconds=seconds)


def devices_of(topology: Topology) -> list[jax.Device]:
    """The chips of a slice, as JAX would see them on its hosts."""
    flat = topology.num_chips == 1
    described = topologies.get_topology_desc(
        platform="tpu",
        topology_name=str(topology),
        chips_per_host_bounds=(1, 1, 1) if flat else (2, 2, 1),
        chip_config_name="megacore" if chip_of(topology).cores > 1 else "default",
    )
    return list(described.devices)


def _batch(config: PretrainConfig, mesh: Mesh) -> PretrainBatch:
    """Shapes of a global batch, as its rows lie on the mesh."""
    data, sharding = config.data, batch_sharding(mesh)
    shapes = batch_shapes(data.batch_size, data.sequence_length, config.num_predictions)
    return PretrainBatch(
        **{
            name: jax.ShapeDtypeStruct(shape, "int32", sharding=sharding)
            for name, shape in shapes.items()
        }
    )


def _figures(
    compiled: Any, assembly: Assembly, topology: Topology, *, bundles: Path, compile_seconds: float
) -> StepFigures:
    program, chip = parse(compiled.as_text()), chip_of(topology)
    costs = kernel_costs(bundles, cycles_per_matmul=chip.cycles_per_matmul)
    line = timeline(program, costs, topology)
    held = memory.peak(program)
    cycles = sum((each.instruction.estimated_cycles or 0) * each.runs for each in line.kernels)
    sources: Counter[str] = Counter()
    for each in line.kernels:
        sources[each.source] += each.runs
    return StepFigures(
        seconds=line.seconds,
        parts=parts.seconds_by_part(program, line.kernels),
        copy_wait=line.copy_wait,
        collective_wait=line.collective_wait,
        collectives=_collectives(line),
        matrix_seconds=sum(each.matrix_seconds * each.runs for each in line.kernels),
        classic_seconds=cycles / chip.clock_hz,
        hbm_bytes=line.hbm_bytes,
        memory=_memory(compiled, assembly, held),
        largest=tuple((float(each.num_bytes), each.shape, each.op_name) for each in held.largest),
        kernels=dict(sources),
        unknown=dict(line.unknown),
        compile_seconds=compile_seconds,
    )


def _collectives(line: Timeline) -> dict[str, Traffic]:
    found: dict[str, Traffic] = {}
    for each in line.collectives:
        before = found.get(each.kind, Traffic(0.0, 0.0, 0.0))
        found[each.kind] = Traffic(
            before.count + each.runs,
            before.num_bytes + each.num_bytes * each.runs,
            before.seconds + each.seconds * each.runs,
        )
    return found


def _memory(compiled: Any, assembly: Assembly, held: memory.Peak) -> dict[str, float]:
    """Bytes on each chip. What XLA needs beside the arguments is split as the schedule has it."""
    need, of_state = compiled.memory_analysis(), shares(assembly.abstract_state)
    optimizer = of_state["optimizer"].device_bytes
    parameters = sum(share.device_bytes for share in of_state.values()) - optimizer
    beside = need.temp_size_in_bytes + need.output_size_in_bytes - need.alias_size_in_bytes
    kept = min(held.activations, beside)
    return {
        "parameters": parameters,
        "optimizer": optimizer,
        # Batch, counters, and what the layout on the chip adds to each array.
        "batch_and_padding": max(0, need.argument_size_in_bytes - parameters - optimizer),
        "activations": kept,
        "gradients_and_temporaries": beside - kept,
        "program": need.generated_code_size_in_bytes,
    }


def _out_of_memory(message: str) -> OutOfMemory | None:
    """What the compiler says of a program that does not fit; None of another error."""
    found = _NEEDED.search(message)
    if "RESOURCE_EXHAUSTED" not in message or found is None:
        return None
    needed, available = (_bytes(*found.groups()[at : at + 2]) for at in (0, 2))
    largest = tuple(
        (_bytes(size, unit), shape, op_name or "")
        for size, unit, op_name, shape in _ALLOCATION.findall(message)
    )
    return OutOfMemory(needed, available, largest)


def _bytes(amount: str, unit: str) -> float:
    """_bytes("15.75", "G") -> 16911433728.0"""
    return math.floor(float(amount) * _UNITS[unit])
