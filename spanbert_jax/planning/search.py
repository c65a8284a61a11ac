"""Settings that fit, and the fastest of them. In: a plan that is to be better. Out: plans, best
first.

The batch and what it teaches stay as they are: tried are ways to compute it. Every plan costs one
or two compilations, so that nothing is tried that cannot win: what recomputes is slower than what
fits without, and more microbatches than needed are slower than fewer.
"""

import dataclasses
from collections.abc import Iterator
from typing import Literal

from spanbert_jax.config import MeshConfig, PretrainConfig
from spanbert_jax.config.experiment import check_devices
from spanbert_jax.config.topologies import Topology
from spanbert_jax.errors import ConfigError
from spanbert_jax.planning.plan import Compile, Plan, plan_step

Remat = Literal["none", "dots", "full"]
_REMATS: tuple[Remat, ...] = ("none", "dots", "full")
_FIRST_ROWS = 16


def next_that_fits(plan: Plan, *, compile_: Compile) -> Plan | None:
    """The same batch in as few microbatches as fit; None where not even single rows do."""
    for config in _smaller(plan.config, plan.topology):
        smaller = _planned(config, plan, compile_)
        if smaller.fits:
            return smaller
    return None


def search(plan: Plan, *, compile_: Compile) -> list[Plan]:
    """Ways to compute the batch of `plan`, the fastest first, then those that do not fit."""
    found: dict[PretrainConfig, Plan] = {}

    def tried(config: PretrainConfig) -> Plan:
        if config not in found:
            found[config] = _planned(config, plan, compile_)
        return found[config]

    for mesh in _meshes(plan):
        of_mesh = dataclasses.replace(plan.config, mesh=mesh)
        for remat in _REMATS:
            config = _with_remat(of_mesh, remat)
            fitting = None
            for each in (config, *_smaller(config, plan.topology)):
                if tried(each).fits:
                    fitting = each
                    break
            if fitting == config:
                # It fits in one piece as it is: whoever recomputes more only loses.
                break
    return sorted(found.values(), key=lambda each: (not each.fits, _step_seconds(each)))


def largest_batch(plan: Plan, *, compile_: Compile) -> tuple[Plan | None, list[Plan]]:
    """The most rows in one microbatch that fit on a chip, by powers of two, and all that was tried.

    Its global batch is another one than that of `plan`; None where not even one row fits.
    """

    def of_rows(rows: int) -> Plan:
        tried.append(_planned(_of_rows(plan, rows), plan, compile_))
        return tried[-1]

    tried: list[Plan] = []
    rows = _FIRST_ROWS
    best = of_rows(rows)
    while best.fits:
        if not (larger := of_rows(2 * rows)).fits:
            return best, tried
        best, rows = larger, 2 * rows
    while rows > 1:
        rows //= 2
        if (smaller := of_rows(rows)).fits:
            return smaller, tried
    return None, tried


def _of_rows(plan: Plan, rows: int) -> PretrainConfig:
    """One microbatch with so many rows on each chip that the batch is split over."""
    ways = plan.mesh["data"] * plan.mesh["fsdp"]
    data = dataclasses.replace(plan.config.data, batch_size=rows * ways)
    training = dataclasses.replace(plan.config.training, num_microbatches=1)
    return dataclasses.replace(plan.config, data=data, training=training)


def _smaller(config: PretrainConfig, topology: Topology) -> Iterator[PretrainConfig]:
    """The same batch in more and more microbatches, as far as the mesh can split them."""
    parts = config.training.num_microbatches * 2
    while parts <= config.data.batch_size:
        training = dataclasses.replace(config.training, num_microbatches=parts)
        try:
            smaller = dataclasses.replace(config, training=training)
            check_devices(smaller, topology.num_chips)
        except ConfigError:
            return
        yield smaller
        parts *= 2


def _meshes(plan: Plan) -> Iterator[MeshConfig]:
    """That of the config, all chips as copies, and all chips with a piece of the state each."""
    seen: list[dict[str, int]] = []
    for mesh in (plan.config.mesh, MeshConfig(), MeshConfig(data=1, fsdp=-1)):
        try:
            sizes = mesh.resolve(plan.topology.num_chips)
            check_devices(dataclasses.replace(plan.config, mesh=mesh), plan.topology.num_chips)
        except ConfigError:
            continue
        if sizes not in seen:
            seen.append(sizes)
            yield mesh


def _with_remat(config: PretrainConfig, remat: Remat) -> PretrainConfig:
    compute = dataclasses.replace(config.compute, remat=remat)
    return dataclasses.replace(config, compute=compute)


def _planned(config: PretrainConfig, like: Plan, compile_: Compile) -> Plan:
    return plan_step(
        config, like.topology, compile_=compile_, whole=like.whole,
        price_per_chip_hour=like.price_per_chip_hour,
    )  # fmt: skip


def _step_seconds(plan: Plan) -> float:
    return plan.figures.seconds if plan.fits else plan.needed_bytes
