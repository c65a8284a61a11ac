"""Pretraining assembled: sharded state, jitted steps, batches on devices.

In: a resolved config and batches of the host. Out: what the loop drives.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from spanbert_jax.config import PretrainConfig, RunPhase
from spanbert_jax.data.batch import PretrainBatch, empty_batch
from spanbert_jax.model.flops import train_step_flops
from spanbert_jax.model.pretraining import SpanBert, compute_dtype
from spanbert_jax.training.device_peaks import peak_flops
from spanbert_jax.training.mesh import (
    LOGICAL_AXIS_RULES,
    batch_sharding,
    replicated,
    state_shardings,
)
from spanbert_jax.training.meter import PhaseWork, Workload
from spanbert_jax.training.objective import PretrainObjective
from spanbert_jax.training.optimizer import make_optimizer
from spanbert_jax.training.schedule import make_schedule
from spanbert_jax.training.train_step import (
    TrainState,
    init_state,
    make_eval_step,
    make_train_step,
)


@dataclass(frozen=True)
class Pretraining:
    """The compiled side of a run on one mesh."""

    mesh: Mesh
    abstract_state: TrainState
    """Shapes, dtypes and shardings of the state."""
    init: Any
    """() -> TrainState, sharded as it is born."""
    train_step: Any
    """(state, batch) -> (state, metrics); the state is donated."""
    eval_step: Any
    """(params, batch) -> sums."""

    def on_devices(self, batches: Iterable[PretrainBatch]) -> Iterator[PretrainBatch]:
        """Global arrays from each host's rows."""
        sharding = batch_sharding(self.mesh)
        for batch in batches:
            yield jax.tree.map(
                lambda rows: jax.make_array_from_process_local_data(sharding, rows), batch
            )

    @property
    def num_parameters(self) -> int:
        return sum(leaf.size for leaf in jax.tree.leaves(self.abstract_state.params))


def build(config: PretrainConfig, mesh: Mesh) -> Pretraining:
    """Shard and jit the model of `config`, whose vocabulary size is resolved."""
    objective = PretrainObjective(SpanBert(config.model, config.compute), config.objective)
    schedule = make_schedule(config.optimizer, config.training.num_steps)
    optimizer = make_optimizer(config.optimizer, schedule)
    seed = config.training.seed
    # Parameters do not depend on the batch: one row for each way it is split is enough.
    example = jax.tree.map(
        jnp.asarray, empty_batch(mesh.size, config.data.sequence_length, config.num_predictions)
    )

    def init() -> TrainState:
        return init_state(objective, optimizer, batch=example, seed=seed)

    def rules(function: Any) -> Any:
        """`function` traced with the meaning of the logical axes on this mesh."""

        def traced(*args: Any) -> Any:
            with nn.logical_axis_rules(LOGICAL_AXIS_RULES):
                return function(*args)

        return traced

    boxed = jax.eval_shape(rules(init))
    shardings = state_shardings(boxed, mesh)
    abstract = jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        nn.unbox(boxed), shardings,
    )  # fmt: skip
    train_step = make_train_step(
        objective, optimizer, schedule=schedule,
        num_microbatches=config.training.num_microbatches, seed=seed,
    )  # fmt: skip
    rows, whole = batch_sharding(mesh), replicated(mesh)
    return Pretraining(
        mesh=mesh,
        abstract_state=abstract,
        init=jax.jit(rules(lambda: nn.unbox(init())), out_shardings=shardings),
        train_step=jax.jit(
            rules(train_step), in_shardings=(shardings, rows), out_shardings=(shardings, whole),
            donate_argnums=0,
        ),
        eval_step=jax.jit(
            rules(make_eval_step(objective)), in_shardings=(shardings.params, rows),
            out_shardings=whole,
        ),
    )  # fmt: skip


def workload(config: PretrainConfig, *, epoch: Callable[[int], float]) -> Workload:
    """What the steps of `config` are worth on the devices at hand.

    epoch: how often the text was read after a step.
    """
    device = jax.devices()[0]
    peak = peak_flops(device.device_kind, compute_dtype(config.compute).name)
    return Workload(
        log_every=config.training.log_every,
        phases=tuple(_work(config.of_phase(phase), phase) for phase in config.phases),
        epoch=epoch,
        peak_flops=peak * jax.device_count() if peak else None,
    )


def _work(config: PretrainConfig, phase: RunPhase) -> PhaseWork:
    """Of a step of `phase`; `config` is of its rows alone."""
    batch_size, length = phase.batch_size, phase.sequence_length
    return PhaseWork(
        end_step=phase.end_step,
        tokens_per_step=batch_size * length,
        flops_per_step=train_step_flops(
            config.model, batch_size=batch_size, sequence_length=length,
            num_predictions=config.num_predictions,
        ),
    )  # fmt: skip
