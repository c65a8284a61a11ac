"""What `spanbert plan` is asked: a pretraining experiment, and the slice it would run on."""

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from spanbert_jax.config.experiment import PretrainConfig
from spanbert_jax.config.topologies import Topology, parse_topology
from spanbert_jax.errors import require

PUBLISHED_VOCABULARY = 28_996
"""Entries of the vocabulary of the published models: BERT's cased WordPieces."""


@dataclass(frozen=True)
class PlanConfig(PretrainConfig):
    """A pretraining experiment on a slice of TPU chips that need not be at hand."""

    topology: str = ""
    """Slice of chips, by shape or size: v5e:4x8 or v5e-32. Its name is checked before anything is
    compiled; a wrong one lists all."""
    json: str = ""
    """File that the plan is written to, every figure of it."""
    depth: Literal["shallow", "whole"] = "shallow"
    """Layers that are compiled. shallow: two depths, from which the figures of the whole are
    reckoned along a line. whole: all of them, which takes longer. Where layers are scanned, one is
    compiled in any case."""
    search: bool = False
    """Try batches, rematerialisation, meshes and microbatches, and print them, best first."""
    measure: bool = False
    """Run the step too, on the chips of the slice, which must be those of this machine, and print
    estimate and measurement side by side."""
    price_per_chip_hour: float = 0.0
    """In your currency; the plan then says what the run costs."""
    plan_cache: str = "~/.cache/spanbert_jax/plans"
    """Folder of what was compiled before, by config and versions; empty for none."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.topology:
            parse_topology(self.topology)
        require(
            self.price_per_chip_hour >= 0.0, "--price-per-chip-hour", self.price_per_chip_hour,
            "must not be negative", "use the list price of your region, or leave it out",
        )  # fmt: skip

    @property
    def slice(self) -> Topology:
        """The chips of the plan."""
        return parse_topology(self.topology)

    @property
    def experiment(self) -> PretrainConfig:
        """What would be trained, without what is asked about it."""
        return PretrainConfig(**_values(self))


def plan_of(experiment: PretrainConfig) -> PlanConfig:
    """The plan of an experiment; nothing is asked of it yet."""
    return PlanConfig(**_values(experiment))


def _values(experiment: PretrainConfig) -> dict[str, Any]:
    """Of the fields that every experiment has."""
    names = [field.name for field in dataclasses.fields(PretrainConfig)]
    return {name: getattr(experiment, name) for name in names}
