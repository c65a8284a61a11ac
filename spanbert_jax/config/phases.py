"""A run whose rows change on the way: what a phase is, how it is typed, which steps are its own."""

from dataclasses import dataclass
from typing import NamedTuple, Self

from spanbert_jax.errors import ConfigError, require, require_positive

FLAG = "--data.phases"
TYPED = "STEPS:LENGTH[:BATCH]"


@dataclass(frozen=True)
class LengthPhase:
    """Steps before the last phase of a run, with rows of their own length."""

    num_steps: int
    """Optimizer steps of this phase."""
    sequence_length: int
    """Tokens in a row, [CLS] and [SEP] included."""
    batch_size: int | None = None
    """Rows in a step over all devices; None takes --data.batch-size."""

    def __post_init__(self) -> None:
        require_positive(f"{FLAG} {self}, steps", self.num_steps, "900000")
        require_length(f"{FLAG} {self}, length", self.sequence_length)
        if self.batch_size is not None:
            require_positive(f"{FLAG} {self}, batch size", self.batch_size, "256")

    @classmethod
    def parse(cls, word: str) -> Self:
        """LengthPhase.parse("900000:128:256") -> LengthPhase(900_000, 128, 256).

        Raises `ConfigError` where `word` is not two or three whole numbers, or one is out of range.
        """
        try:
            numbers = [int(part) for part in word.split(":")]
        except ValueError:
            numbers = []
        if len(numbers) not in (2, 3):
            raise ConfigError(
                f"{FLAG} {word}: must be whole numbers {TYPED}; use for instance 900000:128:256"
            )
        return cls(*numbers)

    def __str__(self) -> str:
        """As it is typed: str(LengthPhase(900_000, 128)) -> "900000:128"."""
        numbers = (self.num_steps, self.sequence_length, self.batch_size)
        return ":".join(str(number) for number in numbers if number is not None)


class RunPhase(NamedTuple):
    """Steps of a run, from `first_step` up to `end_step` without it, whose rows have one shape."""

    first_step: int
    end_step: int
    sequence_length: int
    batch_size: int
    typed: str = ""
    """Of a phase before the last one, for errors."""

    @property
    def length_flag(self) -> str:
        return f"{FLAG} {self.typed}, length" if self.typed else "--data.sequence-length"

    @property
    def batch_flag(self) -> str:
        return f"{FLAG} {self.typed}, batch size" if self.typed else "--data.batch-size"


def run_phases(
    phases: tuple[LengthPhase, ...], *, sequence_length: int, batch_size: int, num_steps: int
) -> tuple[RunPhase, ...]:
    """Lay phases one after the other; the last one has the length and batch size given.

    (LengthPhase(9, 128),), 512, 256, 10 -> (0, 9, 128, 256, "9:128"), (9, 10, 512, 256, "")
    """
    laid, first_step = [], 0
    for phase in phases:
        end_step, rows = first_step + phase.num_steps, phase.batch_size or batch_size
        laid.append(RunPhase(first_step, end_step, phase.sequence_length, rows, str(phase)))
        first_step = end_step
    return (*laid, RunPhase(first_step, num_steps, sequence_length, batch_size))


def require_length(flag: str, sequence_length: int) -> None:
    """Raise `ConfigError` for rows that have hardly room for text."""
    require(
        sequence_length >= 8, flag, sequence_length,
        "must be at least 8", "use 512, as the paper, or 128",
    )  # fmt: skip
