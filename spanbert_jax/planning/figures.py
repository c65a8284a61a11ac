"""What the compiler says of one step, as numbers. In: figures of two depths. Out: those of others.

Seconds and bytes are of one chip.
"""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Traffic:
    """Collectives of one kind in a step."""

    count: float
    num_bytes: float
    """That each chip sends."""
    seconds: float
    """That they take, alone on their links."""


@dataclass(frozen=True)
class StepFigures:
    """One train step of a compiled program."""

    seconds: float
    """From beginning to end, by the estimate."""
    parts: dict[str, float]
    """Of those, by the part of the model that the kernels work for, waits not included."""
    copy_wait: float
    """Seconds in which the core waits for HBM between kernels."""
    collective_wait: float
    """Seconds in which it waits for other chips."""
    collectives: dict[str, Traffic]
    """By kind."""
    matrix_seconds: float
    """For which the busiest matrix unit works."""
    classic_seconds: float
    """The sum of what XLA's own cost model says of each kernel, where it says something."""
    hbm_bytes: float
    """Read and written in a step."""
    memory: dict[str, float]
    """Bytes by purpose: parameters, optimizer, batch, activations, others, program."""
    largest: tuple[tuple[float, str, str], ...] = ()
    """Arrays at the moment when the most is held: bytes, shape, operation."""
    kernels: dict[str, float] = field(default_factory=dict)
    """How many, by where their cost was read."""
    unknown: dict[str, float] = field(default_factory=dict)
    """Operations that nothing is known about, counted as taking no time."""
    compile_seconds: float = 0.0

    @property
    def needed_bytes(self) -> float:
        """Of HBM, all together."""
        return sum(self.memory.values())


@dataclass(frozen=True)
class OutOfMemory:
    """The compiler's answer for a step that does not fit."""

    needed_bytes: float
    available_bytes: float
    largest: tuple[tuple[float, str, str], ...]
    """The largest arrays: bytes, shape, operation."""


Answer = StepFigures | OutOfMemory


def at_depth(low: Answer, high: Answer, *, depths: tuple[int, int], depth: int) -> Answer:
    """What `depth` layers would be answered, on the line through the answers for two depths.

    Every layer costs the same, and what is around the layers costs it once: in time, in bytes and
    in collectives, up to what the compiler does with layers that have others around them. Where
    even a shallow model does not fit, the deeper one surely does not.
    """
    share = (depth - depths[0]) / (depths[1] - depths[0])

    def line(a: float, b: float) -> float:
        return max(0.0, a + (b - a) * share)

    if isinstance(low, OutOfMemory) or isinstance(high, OutOfMemory):
        said = high if isinstance(high, OutOfMemory) else low
        assert isinstance(said, OutOfMemory)
        return dataclasses.replace(said, needed_bytes=line(low.needed_bytes, high.needed_bytes))
    return dataclasses.replace(
        _mapped(low, high, line), largest=high.largest,
        compile_seconds=low.compile_seconds + high.compile_seconds,
    )  # fmt: skip


def _mapped(low: Any, high: Any, along: Callable[[float, float], float]) -> Any:
    """Two trees of numbers as one; what only one of them has is 0 in the other."""
    if dataclasses.is_dataclass(low) and not isinstance(low, type):
        fields = [each.name for each in dataclasses.fields(low) if each.name != "largest"]
        return dataclasses.replace(
            low,
            **{name: _mapped(getattr(low, name), getattr(high, name), along) for name in fields},
        )
    if isinstance(low, Mapping):
        nothing = {name: _zero(value) for name, value in {**low, **high}.items()}
        first, second = {**nothing, **low}, {**nothing, **high}
        return {name: _mapped(first[name], second[name], along) for name in nothing}
    return along(low, high)


def _zero(value: Any) -> Any:
    return Traffic(0.0, 0.0, 0.0) if isinstance(value, Traffic) else 0.0


def to_tree(answer: Answer) -> dict[str, Any]:
    """As JSON keeps it; `from_tree` reads it back."""
    return dataclasses.asdict(answer)


def from_tree(tree: dict[str, Any]) -> Answer:
    """Read what `to_tree` made, also where tuples have become lists."""
    tree = tree | {"largest": tuple(tuple(each) for each in tree["largest"])}
    if "needed_bytes" in tree:
        return OutOfMemory(**tree)
    collectives = {name: Traffic(**each) for name, each in tree["collectives"].items()}
    return StepFigures(**tree | {"collectives": collectives})
