"""Optimizer and learning rate."""

from dataclasses import dataclass
from typing import Literal

from spanbert_jax.errors import (
    require,
    require_choices,
    require_effect,
    require_fraction,
    require_positive,
)


@dataclass(frozen=True)
class OptimizerConfig:
    """Adam with decoupled weight decay, or one of its successors, and its learning rate (sec. 4.2).
    configs/optimizers.py has one experiment for each name, with its source."""

    name: Literal["fairseq_adamw", "adamw", "bert_adam", "lamb", "adafactor", "lion", "muon"] = (
        "fairseq_adamw"
    )
    """Step of update t from the moments m and v, in learning rates. fairseq_adamw:
    m / (sqrt(v) + epsilon) * sqrt(1 - beta2^t) / (1 - beta1^t), as the released pretraining. adamw:
    m and v are bias-corrected before, as algorithm 1 of Kingma and Ba 2015, PyTorch and optax.
    bert_adam: m / (sqrt(v) + epsilon), no bias correction, as BERT and the released fine-tuning.
    lamb: that of adamw and its decay, as long as the tensor itself, for large batches. lion: the
    signs of two mixtures of m and the gradient; no v. adafactor: no m, v of a matrix from its rows
    and columns, a learning rate relative to the size of each tensor, some 100 times that of the
    others. muon: m of a matrix with equal
    singular values, adamw for vectors and embeddings."""
    learning_rate: float = 1e-4
    """Peak, reached after the warmup (sec. 4.2)."""
    schedule: Literal["polynomial", "warmup_linear", "warmup_stable_decay"] = "polynomial"
    """What follows the linear warmup. polynomial: decay by a power of 1 - step / num_steps, as
    the released pretraining; the rate drops a little after the warmup. warmup_linear: a straight
    line from the peak to 0, as the released fine-tuning; its first update has rate 0.
    warmup_stable_decay: the peak until decay_fraction of the run is left, then decay by a power; a
    run that is made longer goes on from a checkpoint before its decay (Hu et al. 2024, sec. 4)."""
    warmup_steps: int = 10_000
    """Steps of linear warmup (sec. 4.2)."""
    warmup_fraction: float = 0.0
    """Warmup as a fraction of the run, in place of warmup_steps (0.1 in fine-tuning)."""
    decay_power: float = 1.0
    """Of polynomial and warmup_stable_decay: 1.0 is linear (sec. 4.2)."""
    decay_fraction: float = 0.1
    """Of warmup_stable_decay: the part of the run that its decay takes (Hu et al. 2024)."""
    end_learning_rate: float = 0.0
    """Of polynomial and warmup_stable_decay: where they end."""
    layer_decay: float = 1.0
    """Factor of the learning rate from each layer to the one below it, the heads first and the
    embeddings last (Clark et al. 2020, ELECTRA: 0.8 and 0.9 in fine-tuning, one power more); 1 for
    one rate."""
    beta1: float = 0.9
    """Decay of the first moment, the mean of gradients (sec. 4.2)."""
    beta2: float = 0.999
    """Decay of the second moment, the mean of their squares (sec. 4.2); of lion that of its one
    moment, whose mixture with the gradient beta1 sets (Chen et al. 2023: 0.9 and 0.99)."""
    momentum: float = 0.95
    """Of muon: decay of the mean of the gradients of matrices (Jordan 2024)."""
    epsilon: float = 1e-8
    """Added to the root of the second moment (sec. 4.2; 1e-6 in fine-tuning). The released trainer
    divides gradients once more, by some 600 masked tokens: there 1e-8 acts like 6e-6 on the mean
    gradient here."""
    weight_decay: float = 0.01
    """Decoupled. The released command; the paper says 0.1 (sec. 4.2)."""
    no_decay: tuple[str, ...] = ()
    """Parameters without weight decay: parts of their names, such as `bias` or `norm`.
    The released code decays all of them in pretraining, and in fine-tuning all but these two."""
    max_grad_norm: float = 1.0
    """Gradients with a larger norm are scaled down to it; 0 leaves them (released command, where it
    hardly ever acts, for the same reason as epsilon)."""
    clip_by: Literal["global_norm", "tensor_norm"] = "global_norm"
    """Norm that is clipped: of all gradients together, as the released pretraining (and
    fine-tuning in float16), or of each parameter by itself, as the released fine-tuning."""

    def __post_init__(self) -> None:
        require_choices("optimizer", self, "name", "schedule", "clip_by")
        require_fraction("--optimizer.beta1", self.beta1)
        require_fraction("--optimizer.beta2", self.beta2)
        require_fraction("--optimizer.momentum", self.momentum)
        require_positive("--optimizer.epsilon", self.epsilon, "1e-8")
        for field in _WITHOUT_EFFECT.get(self.name, ("momentum",)):
            require_effect(
                False, "optimizer", self, field, on=f"--optimizer.name {self.name}",
                remedy="use {default}, the default, wherever the other value comes from",
            )  # fmt: skip
        require(
            0.0 < self.layer_decay <= 1.0, "--optimizer.layer-decay", self.layer_decay,
            "must be in (0, 1]", "use 0.8 or 0.9, as ELECTRA, or 1 for one learning rate",
        )  # fmt: skip
        require(
            self.weight_decay >= 0.0, "--optimizer.weight-decay", self.weight_decay,
            "must not be negative", "use 0.01, as the released code, or 0 for none",
        )  # fmt: skip
        require(
            self.max_grad_norm >= 0.0, "--optimizer.max-grad-norm", self.max_grad_norm,
            "must not be negative", "use 1.0, as the released code, or 0 for no clipping",
        )  # fmt: skip
        require(
            self.max_grad_norm > 0.0 or self.clip_by == "global_norm",
            "--optimizer.clip-by", self.clip_by,
            "has no effect with --optimizer.max-grad-norm 0", "leave one of the two out",
        )  # fmt: skip
        self._check_schedule()

    def _check_schedule(self) -> None:
        require_positive("--optimizer.learning-rate", self.learning_rate, "1e-4")
        require(
            self.warmup_steps >= 0, "--optimizer.warmup-steps", self.warmup_steps,
            "must not be negative", "use 10000, as the paper, or 0 for none",
        )  # fmt: skip
        require_fraction("--optimizer.warmup-fraction", self.warmup_fraction)
        require(
            self.warmup_steps == 0 or self.warmup_fraction == 0.0,
            "--optimizer.warmup-fraction", self.warmup_fraction,
            f"stands beside --optimizer.warmup-steps {self.warmup_steps}; a warmup has one length",
            "set the other one to 0",
        )  # fmt: skip
        require_positive("--optimizer.decay-power", self.decay_power, "1.0")
        require(
            0.0 <= self.end_learning_rate <= self.learning_rate,
            "--optimizer.end-learning-rate", self.end_learning_rate,
            f"must be in [0, --optimizer.learning-rate {self.learning_rate}]", "use 0",
        )  # fmt: skip
        require(
            0.0 < self.decay_fraction <= 1.0, "--optimizer.decay-fraction", self.decay_fraction,
            "must be in (0, 1]", "use 0.1",
        )  # fmt: skip
        require(
            self.schedule != "warmup_stable_decay"
            or self.warmup_fraction + self.decay_fraction <= 1.0,
            "--optimizer.decay-fraction", self.decay_fraction,
            f"leaves no room for --optimizer.warmup-fraction {self.warmup_fraction}",
            "use fractions whose sum is at most 1",
        )  # fmt: skip
        for field, schedules in _FIELDS_OF_SCHEDULES.items():
            require_effect(
                self.schedule in schedules, "optimizer", self, field,
                on=f"--optimizer.schedule {self.schedule}",
                remedy=f"leave it out, or use --optimizer.schedule {schedules[0]}",
            )  # fmt: skip


# Fields that a name or a schedule does not look at, which would be set in vain.
_WITHOUT_EFFECT = {
    "adafactor": ("beta1", "beta2", "epsilon", "momentum"),
    "lion": ("epsilon", "momentum"),
    "muon": (),
}
_FIELDS_OF_SCHEDULES = {
    "decay_power": ("polynomial", "warmup_stable_decay"),
    "end_learning_rate": ("polynomial", "warmup_stable_decay"),
    "decay_fraction": ("warmup_stable_decay",),
}


FINE_TUNING_OPTIMIZER = OptimizerConfig(
    name="bert_adam", learning_rate=2e-5, schedule="warmup_linear", warmup_steps=0,
    warmup_fraction=0.1, epsilon=1e-6, no_decay=("bias", "norm"), clip_by="tensor_norm",
)  # fmt: skip
"""BertAdam as the released fine-tuning scripts set it up, in float32. Peaks of the paper's grids:
5e-6, 1e-5, 2e-5, 3e-5, 5e-5 (appendix B)."""
