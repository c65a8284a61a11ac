"""One fine-tuning experiment: a task, weights to begin with, and a grid of runs if asked for."""

from dataclasses import dataclass, field
from typing import Literal

from spanbert_jax.config.distributed import DistributedConfig
from spanbert_jax.config.model import ComputeConfig
from spanbert_jax.config.optimizer import FINE_TUNING_OPTIMIZER, OptimizerConfig
from spanbert_jax.config.tasks import TaskConfig
from spanbert_jax.config.training import CheckpointConfig, MeshConfig
from spanbert_jax.config.watching import MetricsConfig, ProfileConfig
from spanbert_jax.errors import require, require_fraction, require_positive

# Learning rates and batch sizes by the name of their grid.
GRIDS: dict[str, tuple[tuple[float, ...], tuple[int, ...]]] = {
    "none": ((), ()),
    "paper": ((5e-6, 1e-5, 2e-5, 3e-5, 5e-5), (16, 32)),
    "released": ((1e-6, 2e-6, 3e-6, 5e-6, 1e-5, 2e-5, 3e-5, 5e-5), ()),
}


@dataclass(frozen=True)
class FineTuningConfig:
    """The length of a fine-tuning run and the rhythm of its loop (appendix B)."""

    num_epochs: float = 4.0
    """How often the training data are read: 4 for question answering, 10 for TACRED and GLUE."""
    batch_size: int = 32
    """Rows of a step, over all devices (the paper tries 16 and 32)."""
    evaluations_per_epoch: int = 10
    """How often dev is scored; the best checkpoint is kept. Also scored at the end of the run."""
    seed: int = 42
    """Of the head, of dropout and of the order of rows (42 as the released scripts)."""
    order: Literal["bucketed", "random_sorted"] = "bucketed"
    """How rows of like length come to share a batch. bucketed: shuffled anew each epoch, then
    sorted by length within some batches' worth. random_sorted: sorted once, cut into batches, and
    only their order is shuffled, as the released scripts."""
    dropout_rate: float | None = None
    """Of all layers, of attention and before the head; none leaves what the weights' config says
    (0.1 as BERT)."""
    num_microbatches: int = 1
    """Parts a batch is cut into, one after the other: less memory, the same gradient."""
    eval_batch_size: int = 64
    """Rows of a batch where dev is scored."""
    log_every: int = 20
    """Steps between two lines of metrics."""
    max_skipped_steps: int = 100
    """Steps in a row without a finite gradient, each skipped, after which the run gives up."""

    def __post_init__(self) -> None:
        for name in (
            "num_epochs", "batch_size", "num_microbatches", "eval_batch_size", "log_every",
            "max_skipped_steps",
        ):  # fmt: skip
            require_positive(f"--training.{name.replace('_', '-')}", getattr(self, name), "4")
        require(
            self.evaluations_per_epoch >= 0, "--training.evaluations-per-epoch",
            self.evaluations_per_epoch, "must not be negative",
            "use 10, as the released scripts, or 0 for one evaluation at the end",
        )  # fmt: skip
        require(
            0 <= self.seed < 2**31, "--training.seed", self.seed, "must be in [0, 2^31)", "use 42"
        )
        if self.dropout_rate is not None:
            require_fraction("--training.dropout-rate", self.dropout_rate)
        require(
            self.batch_size % self.num_microbatches == 0, "--training.batch-size", self.batch_size,
            f"is not divisible by --training.num-microbatches {self.num_microbatches}",
            f"use {self.num_microbatches * max(1, self.batch_size // self.num_microbatches)}",
        )  # fmt: skip

    def num_steps(self, num_rows: int) -> int:
        """FineTuningConfig(num_epochs=2, batch_size=32).num_steps(70) -> 6."""
        return max(1, round(self.num_epochs * self.steps_per_epoch(num_rows)))

    def steps_per_epoch(self, num_rows: int) -> int:
        return -(-num_rows // self.batch_size)

    def eval_every(self, num_rows: int) -> int:
        """Steps between two evaluations; as many as the run has where only its end counts.

        FineTuningConfig(evaluations_per_epoch=10, batch_size=32).eval_every(3200) -> 10
        """
        if self.evaluations_per_epoch == 0:
            return self.num_steps(num_rows)
        return max(1, round(self.steps_per_epoch(num_rows) / self.evaluations_per_epoch))


@dataclass(frozen=True)
class FinetuneConfig:
    """One fine-tuning experiment. The model's sizes are those of its weights."""

    workdir: str = ""
    """Folder of the run: checkpoints, metrics, predictions (local or gs://). Run again, it goes
    on."""
    init_from: str = ""
    """Weights to begin with: a run's folder, of pretraining or of another task, a folder of
    `spanbert import` or `spanbert export`, or a Hugging Face folder."""
    task: TaskConfig = field(default_factory=TaskConfig)
    optimizer: OptimizerConfig = FINE_TUNING_OPTIMIZER
    training: FineTuningConfig = field(default_factory=FineTuningConfig)
    grid: Literal["none", "paper", "released"] = "none"
    """Runs one after the other, of which the best on dev is kept. paper: the learning rates 5e-6,
    1e-5, 2e-5, 3e-5, 5e-5 with batches of 16 and of 32 (appendix B). released: the eight rates that
    the released scripts try."""
    learning_rates: tuple[float, ...] = ()
    """A grid of your own: its learning rates, in place of --optimizer.learning-rate."""
    batch_sizes: tuple[int, ...] = ()
    """A grid of your own: its batch sizes, in place of --training.batch-size."""
    seeds: int = 1
    """Runs of each cell of the grid: of --training.seed and the seeds that follow it."""
    checkpoint: CheckpointConfig = CheckpointConfig(every_steps=1_000, keep_latest=1)
    mesh: MeshConfig = field(default_factory=MeshConfig)
    distributed: DistributedConfig = field(default_factory=DistributedConfig)
    fail_fast: bool = True
    """Check before anything compiles that all processes have the same code, packages, settings and
    data; one folder of the run and data that each can read are checked in any case."""
    profile: ProfileConfig = field(default_factory=ProfileConfig)
    metrics: MetricsConfig = field(default_factory=MetricsConfig)
    compute: ComputeConfig = field(default_factory=ComputeConfig)

    def __post_init__(self) -> None:
        require_positive("--seeds", self.seeds, "5")
        for rate in self.learning_rates:
            require_positive("--learning-rates", rate, "1e-5 2e-5 3e-5")
        for size in self.batch_sizes:
            require_positive("--batch-sizes", size, "16 32")
        require(
            self.grid in GRIDS, "--grid", self.grid, f"must be one of {', '.join(GRIDS)}",
            "use paper",
        )  # fmt: skip
        require(
            self.grid == "none" or not (self.learning_rates or self.batch_sizes),
            "--grid", self.grid, "has learning rates and batch sizes of its own",
            "leave out --learning-rates and --batch-sizes, or --grid",
        )  # fmt: skip
        require(
            self.checkpoint.keep_best > 0, "--checkpoint.keep-best", self.checkpoint.keep_best,
            "must keep the best checkpoint on dev, which is what fine-tuning gives", "use 1",
        )  # fmt: skip

    @property
    def cells(self) -> tuple[tuple[float, int], ...]:
        """Learning rate and batch size of each cell of the grid; one cell without a grid."""
        rates, sizes = GRIDS[self.grid]
        rates = self.learning_rates or rates or (self.optimizer.learning_rate,)
        sizes = self.batch_sizes or sizes or (self.training.batch_size,)
        return tuple((rate, size) for size in sizes for rate in rates)

    @property
    def is_grid(self) -> bool:
        """Whether there is more than one run."""
        return len(self.cells) * self.seeds > 1
