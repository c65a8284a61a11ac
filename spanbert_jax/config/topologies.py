"""The TPU slices that can be planned for. In: a name as typed. Out: chips, and how they stand."""

import math
import re
from dataclasses import dataclass

from spanbert_jax.errors import ConfigError

# The pages of each version under docs.cloud.google.com/tpu/docs, "configurations", to 256 chips.
_FLAT = ("1x1", "2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16")
_CUBES = ("1x1x1", "2x2x1", "2x2x2", "2x2x4", "2x4x4", "4x4x4", "4x4x8", "4x8x8")
SHAPES = {"v4": _CUBES, "v5e": _FLAT, "v5p": _CUBES, "v6e": _FLAT}
"""Shapes of slices, by generation."""
# What the number in Cloud TPU's own names counts: v5e-8 has 8 chips, v4-8 has 8 cores of 4 chips.
_COUNTED_PER_CHIP = {"v4": 2, "v5e": 1, "v5p": 2, "v6e": 1}
_ALIASES = {"v5litepod": "v5e"}


@dataclass(frozen=True)
class Topology:
    """A slice of TPU chips."""

    generation: str
    """v4, v5e, v5p or v6e."""
    shape: tuple[int, ...]
    """Chips along each axis of the torus."""

    @property
    def num_chips(self) -> int:
        return math.prod(self.shape)

    @property
    def rings(self) -> tuple[bool, ...]:
        """Whether the last chip along each axis is linked to the first.

        So are rows of 16 in two dimensions, and all rows of slices that are made of cubes of 4.

        Topology("v5e", (8, 16)).rings -> (False, True)
        Topology("v4", (2, 4, 4)).rings -> (False, False, False)
        """
        if len(self.shape) == 2:
            return tuple(size == 16 for size in self.shape)
        return (min(self.shape) >= 4,) * 3

    @property
    def short_name(self) -> str:
        """As Cloud TPU names it by size. Topology("v4", (2, 2, 1)).short_name -> "v4-8"."""
        return f"{self.generation}-{self.num_chips * _COUNTED_PER_CHIP[self.generation]}"

    def __str__(self) -> str:
        """Topology("v5e", (4, 8)) -> "v5e:4x8"."""
        return f"{self.generation}:{'x'.join(map(str, self.shape))}"


def slices(generation: str) -> list[Topology]:
    """All slices of a generation, the smallest first; none of one that is not known."""
    shapes = SHAPES.get(generation, ())
    return [Topology(generation, tuple(map(int, shape.split("x")))) for shape in shapes]


def parse_topology(name: str) -> Topology:
    """Read the name of a slice: by its shape, or by its size as Cloud TPU counts it.

    parse_topology("v5e:4x8") == parse_topology("v5e-32") == Topology("v5e", (4, 8))

    Raises:
        ConfigError: there is no such slice; those that there are are listed.
    """
    found = re.fullmatch(r"([a-z0-9]+)([:-].+)", name.strip().lower())
    generation, size = found.groups() if found else ("", "")
    generation = _ALIASES.get(generation, generation)
    known = slices(generation)
    for topology in known:
        if generation + size in (str(topology), topology.short_name):
            return topology
    offered = known or [topology for each in SHAPES for topology in slices(each)]
    # Of other devices, XLA chooses kernels by trying them on one.
    elsewhere = "" if known else (
        "; on a GPU or CPU nothing is planned: a few steps of `spanbert pretrain` there say MFU, "
        "tokens/s and memory"
    )  # fmt: skip
    raise ConfigError(
        f"--topology {name}: must be a slice of TPU {', '.join(SHAPES)}, named by its shape or by "
        f"its size; use one of {', '.join(f'{each} ({each.short_name})' for each in offered)}"
        f"{elsewhere}"
    )
