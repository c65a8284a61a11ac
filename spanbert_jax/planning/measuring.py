"""The planned step, run on the chips it was planned for. In: config, topology. Out: its time.

For machines that have them: the estimate and what came of it, side by side.
"""

import statistics
import time
from typing import Any, NamedTuple

import jax
import numpy as np

from spanbert_jax.config import PretrainConfig
from spanbert_jax.config.topologies import Topology
from spanbert_jax.data.batch import PretrainBatch, empty_batch
from spanbert_jax.errors import UserError
from spanbert_jax.planning.chips import chip_of
from spanbert_jax.training.mesh import make_mesh
from spanbert_jax.training.pretraining import build

_STEPS_AT_ONCE, _TURNS = 5, 5


class Measurement(NamedTuple):
    """What a step was on this machine."""

    seconds: float
    """Of a step, median of some turns of several steps, which a run too dispatches ahead."""
    fastest: float
    slowest: float
    peak_bytes: int | None
    """Of HBM, most of any chip, the random beginning of the parameters included; None where the
    runtime does not say."""


def check_at_hand(topology: Topology) -> None:
    """Raise `UserError` where this machine has other chips than those of the slice, or not all."""
    wanted, devices = chip_of(topology).device_kind, jax.devices()
    kind = devices[0].device_kind
    is_whole = len(devices) == topology.num_chips and jax.process_count() == 1
    if not is_whole or kind != wanted:
        raise UserError(
            f"--measure: must run on the {topology.num_chips} x {wanted} of --topology {topology}, "
            f"all at this one host, found {len(devices)} x {kind}; leave it out, or name the slice "
            "that is here"
        )


def measure(config: PretrainConfig) -> Measurement:
    """Run the train step of `config` on all devices of this process."""
    mesh = make_mesh(config.mesh)
    with jax.set_mesh(mesh):
        run = build(config, mesh)
        state = run.init()
        (batch,) = run.on_devices([_batch(config)])
        seconds = []
        # The first turn compiles.
        for _ in range(1 + _TURNS):
            begin = time.perf_counter()
            for _ in range(_STEPS_AT_ONCE):
                state, metrics = run.train_step(state, batch)
            jax.block_until_ready(metrics)
            seconds.append((time.perf_counter() - begin) / _STEPS_AT_ONCE)
        seconds = seconds[1:]
    peaks = [(device.memory_stats() or {}).get("peak_bytes_in_use") for device in mesh.devices.flat]
    known: list[Any] = [peak for peak in peaks if peak is not None]
    return Measurement(
        statistics.median(seconds), min(seconds), max(seconds), max(known, default=None)
    )


def _batch(config: PretrainConfig) -> PretrainBatch:
    """Random tokens in full rows, a target of both objectives in every slot."""
    rng, size = np.random.default_rng(0), config.model.vocab_size
    empty = empty_batch(config.data.batch_size, config.data.sequence_length, config.num_predictions)
    shape = empty.token_ids.shape
    slots = np.arange(1, config.num_predictions + 1, dtype=np.int32)
    positions = np.broadcast_to(slots, empty.masked_positions.shape)
    ones = np.ones_like(positions)
    return empty._replace(
        token_ids=rng.integers(0, size, shape, dtype=np.int32),
        document_ids=np.ones(shape, np.int32),
        position_ids=np.broadcast_to(np.arange(shape[1], dtype=np.int32), shape),
        masked_positions=positions,
        masked_ids=rng.integers(0, size, positions.shape, dtype=np.int32),
        masked_weights=ones,
        boundary_left=positions - 1,
        boundary_right=positions + 1,
        boundary_weights=ones,
    )
