"""Fine-tuning assembled. In: a resolved objective and the run's config. Out: what the loop drives,
and what its steps are worth.
"""

import itertools
from collections.abc import Sequence

from jax.sharding import Mesh

from spanbert_jax.config import CheckpointConfig, FinetuneConfig, ModelConfig, TrainingConfig
from spanbert_jax.data.batch import TaskBatch
from spanbert_jax.model.flops import train_step_flops
from spanbert_jax.training.assembly import Assembly, assemble
from spanbert_jax.training.device_peaks import peak_of_all_devices
from spanbert_jax.training.meter import StepWorkload, Work
from spanbert_jax.training.task_objective import TaskObjective

# Tokens that a device could compute in the time that one more length takes to compile. Measured on
# CPU with a model of 6 x 384; accelerators compute a thousand times as fast, and compile no faster.
_TOKENS_TO_COMPILE = {"cpu": 16_000}
_TOKENS_TO_COMPILE_ELSEWHERE = 2_000_000


def tokens_to_compile(mesh: Mesh) -> int:
    """What one more length costs on these devices, in tokens of training."""
    platform = mesh.devices.flat[0].platform
    return mesh.size * _TOKENS_TO_COMPILE.get(platform, _TOKENS_TO_COMPILE_ELSEWHERE)


def even_batch_size(num_rows: int, *, at_most: int, mesh: Mesh) -> int:
    """Rows of a batch so that as many batches as need be are all about full.

    265 rows in batches of at most 64 on one device -> 53, which is five full ones
    """
    num_batches = -(-num_rows // at_most)
    parts = mesh.shape["data"] * mesh.shape["fsdp"]
    return min(-(-num_rows // (num_batches * parts)) * parts, at_most)


def build(
    config: FinetuneConfig, objective: TaskObjective, mesh: Mesh, *, example: TaskBatch,
    num_steps: int,
) -> Assembly:  # fmt: skip
    """Shard and jit the model of a task; the evaluation step gives the head's outputs.

    example: a batch that the mesh can split, for the shapes of the parameters.
    """
    return assemble(
        objective, mesh=mesh, example=example, optimizer=config.optimizer, num_steps=num_steps,
        num_microbatches=config.training.num_microbatches, seed=config.training.seed,
        eval_step=objective.outputs, added_compiler_options=config.compute.compiler_options,
    )  # fmt: skip


def rhythm(config: FinetuneConfig, *, num_rows: int) -> tuple[TrainingConfig, CheckpointConfig]:
    """When the loop of a run over so many rows logs, evaluates, saves and ends."""
    training = config.training
    loop = TrainingConfig(
        num_steps=training.num_steps(num_rows), eval_every=training.eval_every(num_rows),
        log_every=training.log_every, max_skipped_steps=training.max_skipped_steps,
        seed=training.seed, num_microbatches=training.num_microbatches,
    )  # fmt: skip
    return loop, config.checkpoint


def workload(config: FinetuneConfig, model: ModelConfig, *, lengths: Sequence[int],
             steps_per_epoch: int) -> StepWorkload:  # fmt: skip
    """What the steps of a run are worth on the devices at hand.

    lengths: of the rows of every step's batch.
    """
    size = config.training.batch_size
    # A head of few classes costs nothing beside its encoder.
    flops = {
        length: train_step_flops(model, batch_size=size, sequence_length=length, num_predictions=0)
        for length in set(lengths)
    }
    tokens = itertools.accumulate((size * length for length in lengths), initial=0)
    operations = itertools.accumulate((flops[length] for length in lengths), initial=0)
    return StepWorkload(
        log_every=config.training.log_every,
        work=tuple(map(Work, tokens, operations)),
        epoch=lambda step: step / steps_per_epoch,
        peak_flops=peak_of_all_devices(config.compute),
    )
