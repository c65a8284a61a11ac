"""What `spanbert evaluate` is asked."""

from dataclasses import dataclass, field
from typing import Literal

from spanbert_jax.config.tasks import TaskConfig
from spanbert_jax.errors import require, require_positive

Dtype = Literal["float32", "bfloat16", "auto"]


@dataclass(frozen=True)
class EvaluateConfig:
    """Score a fine-tuned model on a file of its task, and write its predictions."""

    checkpoint: str = ""
    """Folder of a fine-tuning run (its --workdir), or of a grid, whose best run it is; local or
    gs://."""
    task: TaskConfig = field(default_factory=TaskConfig)
    """The task of the checkpoint; --task.dev names the file to score, by default the one that it
    was chosen on."""
    task_file: str = ""
    """Python file that defines the task, where it is one of your own."""
    out: str = ""
    """Folder for predictions and scores.json; by default evaluations/FILE in the folder of the
    run."""
    submission: bool = False
    """Write the files that the benchmark's server takes too, into submission/; a later evaluation
    in the same folder writes them anew without being asked."""
    predictions: str = ""
    """Score this file of predictions in place of the model's; no model is run."""
    tune: bool = False
    """Tune anew on this file what was tuned on dev, such as the threshold for no answer: what the
    best value would give, no score to report."""
    step: int | None = None
    """Step of the checkpoint; none takes the best on dev."""
    dtype: Dtype | None = None
    """Of matrix products; none takes that of the run."""
    batch_tokens: int = 8_192
    """Tokens of a batch, padding included."""
    json: bool = False
    """Print scores.json in one line in place of sentences."""

    def __post_init__(self) -> None:
        require_positive("--batch-tokens", self.batch_tokens, "8192")
        for name in ("submission", "tune"):
            require(
                not (self.predictions and getattr(self, name)), f"--{name}", True,
                "is of the model's own predictions, which --predictions replaces",
                "leave out one of them",
            )  # fmt: skip
