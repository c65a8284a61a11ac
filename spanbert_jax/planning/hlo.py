"""The scheduled program that XLA made of a step. In: its text. Out: computations of instructions.

After optimisation for TPU the text is in the order of execution, and every shape says in its layout
where the array lies: `S(1)` is the vector memory of the core, nothing is HBM.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

_BITS = {
    "pred": 8, "s2": 2, "u2": 2, "s4": 4, "u4": 4, "s8": 8, "u8": 8, "s16": 16, "u16": 16,
    "s32": 32, "u32": 32, "s64": 64, "u64": 64, "bf16": 16, "f16": 16, "f32": 32, "f64": 64,
    "f8e4m3fn": 8, "f8e5m2": 8,
}  # fmt: skip
_ARRAY = re.compile(rf"\b({'|'.join(_BITS)})\[([\d,]*)\](\{{[^}}]*\}})?")
_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{\s*$")
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?([\w.\-]+) = (.*?) ([a-z][\w\-]*)\((.*)$")
_CALLED = re.compile(r"(calls|body|condition|to_apply|branch_computations)=\{?%?([\w.\-]+)")


class Array(NamedTuple):
    """One array of a shape."""

    num_bytes: int
    in_hbm: bool
    num_elements: int


def arrays(shape: str) -> tuple[Array, ...]:
    """Every array of a shape, as it is written.

    arrays("(bf16[8,128]{1,0:T(8,128)}, f32[4]{0:S(1)})") -> ((2048, True, 1024), (16, False, 4))
    """
    return tuple(
        Array(_size(dims) * _BITS[dtype] // 8, "S(" not in layout, _size(dims))
        for dtype, dims, layout in _ARRAY.findall(shape)
    )


def _size(dims: str) -> int:
    """_size("8,128") -> 1024; _size("") -> 1"""
    size = 1
    for dim in dims.split(","):
        size *= int(dim) if dim else 1
    return size


@dataclass(frozen=True)
class Instruction:
    """One instruction, a kernel or a transfer."""

    name: str
    shape: str
    """Of its result, as it is written."""
    opcode: str
    operands: tuple[str, ...]
    """Names of the instructions whose results it takes."""
    text: str
    """What stands behind the opcode: operands and attributes."""

    @cached_property
    def arrays(self) -> tuple[Array, ...]:
        """Of its result."""
        return arrays(self.shape)

    @property
    def num_bytes(self) -> int:
        return sum(array.num_bytes for array in self.arrays)

    @property
    def num_elements(self) -> int:
        return sum(array.num_elements for array in self.arrays)

    @cached_property
    def estimated_cycles(self) -> int | None:
        """Of XLA's own cost model."""
        found = re.search(r'"estimated_cycles":"(\d+)"', self.text)
        return int(found[1]) if found else None

    @cached_property
    def op_name(self) -> str:
        """Where in the Python program it comes from, "jit(train_step)/jvp(SpanBert)/encoder/...";
        "" where the compiler made it."""
        found = re.search(r'op_name="([^"]*)"', self.text)
        return found[1] if found else ""

    @cached_property
    def called(self) -> dict[str, str]:
        """The computations it runs, by role: calls, body, condition, to_apply."""
        return dict(_CALLED.findall(self.text))

    @property
    def parameter_number(self) -> int:
        """Of an instruction that is a parameter of its computation."""
        return int(self.text.partition(")")[0])

    @property
    def constant(self) -> int | None:
        """Of a constant that is one whole number."""
        value = self.text.partition(")")[0]
        return int(value) if re.fullmatch(r"-?\d+", value) else None


@dataclass(frozen=True)
class Program:
    """All computations of a program, each in the order of execution."""

    computations: dict[str, tuple[Instruction, ...]]
    entry: str

    @cached_property
    def by_name(self) -> dict[str, Instruction]:
        return {each.name: each for body in self.computations.values() for each in body}

    def operands(self, instruction: Instruction) -> list[Instruction]:
        return [self.by_name[name] for name in instruction.operands if name in self.by_name]

    def trips(self, loop: Instruction) -> int:
        """How often a loop runs, by the one number that its condition compares with."""
        found = re.search(r'known_trip_count":\{"n":"(\d+)"', loop.text)
        if found:
            return int(found[1])
        numbers = [
            each.constant
            for each in self._with_called(loop.called["condition"])
            if each.opcode == "constant" and each.constant is not None
        ]
        return max(numbers, default=1)

    def _with_called(self, computation: str) -> Iterator[Instruction]:
        """The instructions of a computation and of those it runs."""
        for each in self.computations.get(computation, ()):
            yield each
            for name in each.called.values():
                yield from self._with_called(name)


def parse(text: str) -> Program:
    """Read the text of a compiled program, `jax.stages.Compiled.as_text()`."""
    computations: dict[str, list[Instruction]] = {}
    current, entry = "", ""
    lines = text.splitlines()
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if begun := _COMPUTATION.match(line):
            current = begun[2]
            computations[current] = []
            entry = current if begun[1] else entry
        elif line == "}" and not following.strip():
            # The module of a Mosaic kernel, inside an attribute, has lines of one brace too.
            current = ""
        elif current and (found := _INSTRUCTION.match(line)):
            name, shape, opcode, rest = found.groups()
            operands = tuple(re.findall(r"%([\w.\-]+)", rest.partition("), ")[0]))
            computations[current].append(Instruction(name, shape, opcode, operands, rest))
    return Program({name: tuple(body) for name, body in computations.items()}, entry)
