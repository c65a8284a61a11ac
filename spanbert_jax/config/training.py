"""Objective, optimizer, rhythm of the loop, checkpoints and mesh."""

import math
from dataclasses import dataclass
from typing import Literal

from spanbert_jax.errors import require, require_fraction, require_positive


@dataclass(frozen=True)
class ObjectiveConfig:
    """How the two losses become one (sec. 3.2)."""

    span_boundary_weight: float = 1.0
    """Factor of the span-boundary loss."""
    loss_normalization: Literal["original", "paper"] = "original"
    """original: each loss over the number of its own targets (SBO: plus one), as the released code.
    paper: both summed per masked token and divided by the number of masked tokens."""

    def __post_init__(self) -> None:
        require(
            self.span_boundary_weight >= 0.0,
            "--objective.span-boundary-weight",
            self.span_boundary_weight,
            "must not be negative",
            "use 1.0, as the paper, or 0 to leave the objective out",
        )


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW with linear warmup and decay (sec. 4.2)."""

    learning_rate: float = 1e-4
    """Peak, reached after the warmup (sec. 4.2)."""
    warmup_steps: int = 10_000
    """Steps of linear warmup (sec. 4.2)."""
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    """Added to the root of the second moment (sec. 4.2). The released trainer divides gradients
    once more, by some 600 masked tokens: there 1e-8 acts like 6e-6 on the mean gradient here."""
    weight_decay: float = 0.01
    """Decoupled. The released command; the paper says 0.1 (sec. 4.2)."""
    no_decay: tuple[str, ...] = ()
    """Parameters without weight decay: parts of their names, such as `bias` or `norm`.
    The released code decays all of them."""
    max_grad_norm: float = 1.0
    """Gradients with a larger global norm are scaled down to it (released command, where it hardly
    ever acts, for the same reason)."""

    def __post_init__(self) -> None:
        require_positive("--optimizer.learning-rate", self.learning_rate, "1e-4")
        require(
            self.warmup_steps >= 0, "--optimizer.warmup-steps", self.warmup_steps,
            "must not be negative", "use 10000, as the paper, or 0 for none",
        )  # fmt: skip
        require_fraction("--optimizer.beta1", self.beta1)
        require_fraction("--optimizer.beta2", self.beta2)
        require_positive("--optimizer.epsilon", self.epsilon, "1e-8")
        require(
            self.weight_decay >= 0.0, "--optimizer.weight-decay", self.weight_decay,
            "must not be negative", "use 0.01, as the released code, or 0 for none",
        )  # fmt: skip
        require_positive("--optimizer.max-grad-norm", self.max_grad_norm, "1.0")


@dataclass(frozen=True)
class TrainingConfig:
    """The length of the run and the rhythm of its loop."""

    num_steps: int = 2_400_000
    """Optimizer steps (sec. 4.2)."""
    num_microbatches: int = 1
    """Parts a batch is cut into, one after the other: less memory, the same gradient."""
    seed: int = 0
    """Of initialisation, dropout, order of data and masks."""
    log_every: int = 100
    """Steps between two lines of metrics."""
    eval_every: int = 10_000
    """Steps between two evaluations on held-out documents; also at the start and at the end."""
    eval_batches: int = 64
    """Batches of an evaluation, always the same ones with the same masks."""
    max_skipped_steps: int = 100
    """Steps in a row without a finite gradient, each skipped, after which the run gives up.
    Counted when metrics are logged."""

    def __post_init__(self) -> None:
        for name in (
            "num_steps", "num_microbatches", "log_every", "eval_every", "eval_batches",
            "max_skipped_steps",
        ):  # fmt: skip
            require_positive(f"--training.{name.replace('_', '-')}", getattr(self, name), "100")
        require(
            0 <= self.seed < 2**31, "--training.seed", self.seed,
            "must be in [0, 2^31)", "use 0",
        )  # fmt: skip


@dataclass(frozen=True)
class CheckpointConfig:
    """What is kept of a run."""

    every_steps: int = 10_000
    """Steps between two checkpoints; also at the end and when interrupted."""
    keep_latest: int = 3
    """Newest checkpoints kept."""
    keep_best: int = 1
    """Checkpoints with the lowest held-out loss kept beside them."""

    def __post_init__(self) -> None:
        require_positive("--checkpoint.every-steps", self.every_steps, "10000")
        require_positive("--checkpoint.keep-latest", self.keep_latest, "3")
        require(
            self.keep_best >= 0, "--checkpoint.keep-best", self.keep_best,
            "must not be negative", "use 1, or 0 to keep the newest only",
        )  # fmt: skip


@dataclass(frozen=True)
class MeshConfig:
    """How devices are arranged; -1 in one axis takes what the others leave."""

    data: int = -1
    """Ways the batch is split, parameters whole on each."""
    fsdp: int = 1
    """Ways batch and parameters are both split."""
    tensor: int = 1
    """Ways single matrices are split."""

    def __post_init__(self) -> None:
        sizes = (self.data, self.fsdp, self.tensor)
        for name, size in zip(("data", "fsdp", "tensor"), sizes, strict=True):
            require(
                size == -1 or size >= 1, f"--mesh.{name}", size,
                "must be at least 1, or -1 for what the other axes leave", "use -1 or 1",
            )  # fmt: skip
        require(
            sizes.count(-1) <= 1, "--mesh.data", self.data,
            f"only one axis can be -1, found {sizes}", "set the others to fixed sizes",
        )  # fmt: skip

    def resolve(self, num_devices: int) -> dict[str, int]:
        """Size of every axis on `num_devices`, in the order of the mesh.

        MeshConfig(data=-1, fsdp=2).resolve(8) -> {"data": 4, "fsdp": 2, "tensor": 1}

        Raises:
            ConfigError: the axes ask for another number of devices.
        """
        sizes = {"data": self.data, "fsdp": self.fsdp, "tensor": self.tensor}
        fixed = math.prod(size for size in sizes.values() if size != -1)
        is_free = -1 in sizes.values()
        require(
            num_devices % fixed == 0 if is_free else num_devices == fixed,
            " ".join(f"--mesh.{name}" for name in sizes),
            " ".join(str(size) for size in sizes.values()),
            f"asks for {fixed} devices{' or a multiple' if is_free else ''}, found {num_devices}",
            "use --mesh.data -1 --mesh.fsdp 1 --mesh.tensor 1",
        )
        return {name: num_devices // fixed if n == -1 else n for name, n in sizes.items()}
