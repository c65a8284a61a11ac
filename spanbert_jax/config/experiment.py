"""One pretraining experiment, and the rules between its parts."""

from dataclasses import dataclass, field, replace

from spanbert_jax.config.data import DataConfig, MaskingConfig, PrepareConfig
from spanbert_jax.config.distributed import DistributedConfig
from spanbert_jax.config.model import ComputeConfig, ModelConfig
from spanbert_jax.config.optimizer import OptimizerConfig
from spanbert_jax.config.phases import FLAG, RunPhase, run_phases
from spanbert_jax.config.training import (
    CheckpointConfig,
    MeshConfig,
    ObjectiveConfig,
    TrainingConfig,
)
from spanbert_jax.config.watching import MetricsConfig, ProfileConfig
from spanbert_jax.errors import require


@dataclass(frozen=True)
class PretrainConfig:
    """One pretraining experiment."""

    workdir: str = ""
    """Folder of the run: checkpoints, metrics, report (local or gs://). Run again, it goes on."""
    init_from: str = ""
    """Weights that a new run begins with: a run's folder, a folder of `spanbert import` or
    `spanbert export`, or hf:FOLDER with a Hugging Face model. Heads it lacks begin at random."""
    model: ModelConfig = field(default_factory=ModelConfig)
    masking: MaskingConfig = field(default_factory=MaskingConfig)
    data: DataConfig = field(default_factory=DataConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    mesh: MeshConfig = field(default_factory=MeshConfig)
    distributed: DistributedConfig = field(default_factory=DistributedConfig)
    fail_fast: bool = True
    """Check before anything compiles that all processes have the same code, packages, settings and
    data; one folder of the run and data that each can read are checked in any case."""
    profile: ProfileConfig = field(default_factory=ProfileConfig)
    metrics: MetricsConfig = field(default_factory=MetricsConfig)
    compute: ComputeConfig = field(default_factory=ComputeConfig)
    prepare: PrepareConfig = field(default_factory=PrepareConfig)
    """Where a source is named, its shards are prepared first if they are not there yet."""
    fill: tuple[str, ...] = ()
    """Sentences with [MASK] tokens that are filled in at the end of the run."""

    def __post_init__(self) -> None:
        for phase in self.phases:
            self._check_rows(phase)
        self._check_phase_steps()
        require(
            self.model.encoder == "bert" or not self.compute.scan_layers,
            "--compute.scan-layers", self.compute.scan_layers,
            f"wants layers that are all alike, which those of --model.encoder {self.model.encoder} "
            "are not", "leave it out",
        )  # fmt: skip
        require(
            self.data.blocks != "sentence_pair" or self.model.num_segments >= 2,
            "--data.blocks", self.data.blocks,
            f"has 2 segments in a row, more than --model.num-segments {self.model.num_segments}",
            "use --model.num-segments 2",
        )  # fmt: skip
        require(
            self.data.blocks == "sentence_pair" or not self.model.next_sentence_head,
            "--model.next-sentence-head", self.model.next_sentence_head,
            f"learns from sentence pairs, which --data.blocks {self.data.blocks} has none of",
            "use --data.blocks sentence_pair",
        )  # fmt: skip
        require(
            self.optimizer.warmup_steps <= self.training.num_steps,
            "--optimizer.warmup-steps", self.optimizer.warmup_steps,
            f"is more than --training.num-steps {self.training.num_steps}",
            f"use for instance {max(1, self.training.num_steps // 20)}",
        )  # fmt: skip
        self._check_plateau()

    def _check_plateau(self) -> None:
        optimizer, num_steps = self.optimizer, self.training.num_steps
        plateau = num_steps * (1 - optimizer.decay_fraction)
        require(
            optimizer.schedule != "warmup_stable_decay" or optimizer.warmup_steps <= plateau,
            "--optimizer.warmup-steps", optimizer.warmup_steps,
            f"is more than the {plateau:.0f} of --training.num-steps {num_steps} that "
            f"--optimizer.decay-fraction {optimizer.decay_fraction} leaves",
            f"use for instance {max(1, num_steps // 20)}",
        )  # fmt: skip

    def _check_rows(self, phase: RunPhase) -> None:
        length, positions = phase.sequence_length, self.model.max_positions
        require(
            length <= positions, phase.length_flag, length,
            f"is longer than --model.max-positions {positions}",
            f"use at most {positions}, or raise --model.max-positions",
        )  # fmt: skip
        batch, parts = phase.batch_size, self.training.num_microbatches
        require(
            batch % parts == 0, phase.batch_flag, batch,
            f"is not divisible by --training.num-microbatches {parts}",
            f"use {_nearest_multiples(batch, parts)}",
        )  # fmt: skip

    def _check_phase_steps(self) -> None:
        before, num_steps = self.phases[-1].first_step, self.training.num_steps
        require(
            before < num_steps, FLAG, " ".join(map(str, self.data.phases)),
            f"takes {before} steps, which leaves none of --training.num-steps {num_steps} to rows "
            f"of --data.sequence-length {self.data.sequence_length}",
            f"use more steps, shorter phases, or {FLAG} without a value",
        )  # fmt: skip

    @property
    def num_predictions(self) -> int:
        """Prediction slots P of a row, in the last phase where there are several."""
        return self.masking.num_predictions(self.data.sequence_length, self.data.blocks)

    @property
    def phases(self) -> tuple[RunPhase, ...]:
        """All phases of the run, one after the other; the last is that of `data` itself."""
        data = self.data
        return run_phases(
            data.phases, sequence_length=data.sequence_length, batch_size=data.batch_size,
            num_steps=self.training.num_steps,
        )  # fmt: skip

    def of_phase(self, phase: RunPhase) -> "PretrainConfig":
        """This experiment as if all of its rows were of the shape of `phase`."""
        data = replace(
            self.data, sequence_length=phase.sequence_length, batch_size=phase.batch_size, phases=()
        )
        return replace(self, data=data)


def _nearest_multiples(value: int, factor: int) -> str:
    """_nearest_multiples(100, 32) -> "96 or 128"."""
    below = value // factor * factor
    return f"{below} or {below + factor}" if below else str(factor)


def check_devices(config: PretrainConfig, num_devices: int) -> None:
    """Raise `ConfigError` where mesh, batch or model cannot be split over `num_devices`."""
    mesh, parts = config.mesh.resolve(num_devices), config.training.num_microbatches
    for phase in config.phases:
        check_batch(phase.batch_flag, phase.batch_size, num_microbatches=parts, mesh=mesh)
    check_model(config.model, mesh=mesh)


def check_batch(flag: str, batch_size: int, *, num_microbatches: int, mesh: dict[str, int]) -> None:
    """Raise `ConfigError` where a batch cannot be split over the devices of `mesh`."""
    ways, parts = mesh["data"] * mesh["fsdp"], num_microbatches
    require(
        batch_size // parts % ways == 0, flag, batch_size,
        f"{f'in {parts} microbatches ' if parts > 1 else ''}"
        f"is not divisible by the {ways} devices that share it",
        f"use {_nearest_multiples(batch_size, ways * parts)}",
    )  # fmt: skip


def check_model(model: ModelConfig, *, mesh: dict[str, int]) -> None:
    """Raise `ConfigError` where a model cannot be split over the devices of `mesh`."""
    for axis, name in (
        ("fsdp", "hidden_size"), ("tensor", "num_heads"), ("tensor", "mlp_size"),
        ("tensor", "vocab_size"),
    ):  # fmt: skip
        size = getattr(model, name)
        require(
            size is None or size % mesh[axis] == 0, f"--mesh.{axis}", mesh[axis],
            f"does not divide --model.{name.replace('_', '-')} {size}, which is split over it",
            f"use {max(n for n in range(1, mesh[axis] + 1) if size % n == 0) if size else 1}",
        )  # fmt: skip
