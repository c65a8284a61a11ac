"""Objective, rhythm of the loop, checkpoints and mesh."""

import math
from dataclasses import dataclass
from typing import Literal

from spanbert_jax.errors import require, require_positive


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
    max_grad_norm_ratio: float = 0.0
    """A step whose gradient norm is more than so many times the usual one is skipped and counted,
    as one that is not finite; 0 for never. Usual is the mean of the last hundred steps or so that
    were taken; the first hundred are always."""

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
        ratio = self.max_grad_norm_ratio
        require(
            ratio == 0 or ratio > 1, "--training.max-grad-norm-ratio", ratio,
            "must be more than 1, or ordinary steps are skipped", "use 10, or 0 for never",
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
    keep_every_steps: int = 0
    """Checkpoints at multiples of so many steps are kept for good; 0 for none."""
    retry_seconds: float = 60.0
    """After a save that failed, such as on a full disk, training goes on, and so much later the
    next one is tried; later still where that fails too."""
    give_up_seconds: float = 600.0
    """At its end, or stopped, a run tries for so long to save its last state."""

    def __post_init__(self) -> None:
        require_positive("--checkpoint.every-steps", self.every_steps, "10000")
        require_positive("--checkpoint.keep-latest", self.keep_latest, "3")
        require(
            self.keep_best >= 0, "--checkpoint.keep-best", self.keep_best,
            "must not be negative", "use 1, or 0 to keep the newest only",
        )  # fmt: skip
        require(
            self.keep_every_steps % self.every_steps == 0 <= self.keep_every_steps,
            "--checkpoint.keep-every-steps", self.keep_every_steps,
            f"must be a multiple of --checkpoint.every-steps {self.every_steps}",
            f"use {10 * self.every_steps}, or 0 to keep none for good",
        )  # fmt: skip
        require_positive("--checkpoint.retry-seconds", self.retry_seconds, "60")
        require(
            self.give_up_seconds >= 0, "--checkpoint.give-up-seconds", self.give_up_seconds,
            "must not be negative", "use 600, or 0 to try once",
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
