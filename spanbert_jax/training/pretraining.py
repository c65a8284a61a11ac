"""Pretraining assembled. In: a resolved config. Out: what the loop drives, and what it is worth."""

from collections.abc import Callable

from jax.sharding import Mesh

from spanbert_jax.config import PretrainConfig, RunPhase
from spanbert_jax.data.batch import empty_batch
from spanbert_jax.model.flops import train_step_flops
from spanbert_jax.model.pretraining import SpanBert
from spanbert_jax.training.assembly import Assembly, assemble
from spanbert_jax.training.device_peaks import peak_of_all_devices
from spanbert_jax.training.meter import PhaseWork, PhaseWorkload
from spanbert_jax.training.objective import PretrainObjective
from spanbert_jax.training.train_step import make_eval_step


def build(config: PretrainConfig, mesh: Mesh) -> Assembly:
    """Shard and jit the model of `config`, whose vocabulary size is resolved."""
    objective = PretrainObjective(SpanBert(config.model, config.compute), config.objective)
    # Parameters do not depend on the batch: one row for each way it is split is enough.
    example = empty_batch(mesh.size, config.data.sequence_length, config.num_predictions)
    return assemble(
        objective, mesh=mesh, example=example, optimizer=config.optimizer,
        num_steps=config.training.num_steps, num_microbatches=config.training.num_microbatches,
        seed=config.training.seed, eval_step=make_eval_step(objective),
        max_norm_ratio=config.training.max_grad_norm_ratio,
        added_compiler_options=config.compute.compiler_options,
    )  # fmt: skip


def workload(config: PretrainConfig, *, epoch: Callable[[int], float]) -> PhaseWorkload:
    """What the steps of `config` are worth on the devices at hand.

    epoch: how often the text was read after a step.
    """
    return PhaseWorkload(
        log_every=config.training.log_every,
        phases=tuple(_work(config.of_phase(phase), phase) for phase in config.phases),
        epoch=epoch,
        peak_flops=peak_of_all_devices(config.compute),
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
