"""How a run is watched: traces of its steps, and places its figures go to."""

import re
from dataclasses import dataclass

from spanbert_jax.errors import require

_RANGE = re.compile(r"([0-9]+):([0-9]+)")


@dataclass(frozen=True)
class ProfileConfig:
    """A trace of some steps, for XProf and TensorBoard."""

    steps: str = ""
    """FIRST:LAST of the steps that are traced into the folder `profile` of the run, such as
    100:105."""

    def __post_init__(self) -> None:
        found = _RANGE.fullmatch(self.steps)
        require(
            not self.steps or (found is not None and 1 <= int(found[1]) <= int(found[2])),
            "--profile.steps", self.steps, "must be two numbers of steps, the first one at least 1",
            "use for instance 100:105",
        )  # fmt: skip

    @property
    def range(self) -> range:
        """ProfileConfig("100:105").range -> range(100, 106)."""
        found = _RANGE.fullmatch(self.steps)
        return range(int(found[1]), int(found[2]) + 1) if found else range(0)


@dataclass(frozen=True)
class MetricsConfig:
    """Places that figures go to beside metrics.jsonl and TensorBoard's files."""

    wandb: str = ""
    """Project on Weights & Biases; needs the package wandb, and `wandb login`."""
