"""What a kernel costs, counted in the machine code that libtpu writes for it.

In: the file `*-final_bundles.txt` of a kernel. Out: cycles, of the core and of its matrix units.

A bundle is one very long instruction word, issued in one cycle. Loops are counted as often as the
constant says that they are left at ("loop exit test"), a software pipeline less the stages in which
it fills.
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

# Address, marks such as LB for the first bundle of a loop, one > for each loop it is in, content.
_BUNDLE = re.compile(r"^\s*(?:0x[0-9a-f]+|0)\s+((?:[A-Z]{2}\s*)*):\s*((?:>\s*)*)\{(.*)")
_CONSTANT = re.compile(r"%(\w+) = smov (?:\(!?%\w+\), )?(\d+)")
_MATMUL = re.compile(r"vmatmul\.(?:mubr\.|mubr)?(\w+?)\.[\w.]*?mxu(\d)")
_STEP = re.compile(r"%(\w+) = sadd\.s32 (\d+), %")
_STAGE = re.compile(r"iteration index, stage = (\d+)")
_EXIT = re.compile(r"scmp\.\w+\.s32\.totalorder %(\w+), (%?\w+)\s*/\* loop exit test")
_TRANSFER = re.compile(
    r"= dma\.(hbm_to_vmem|vmem_to_hbm|hbm_to_hbm)[^;]*?size_in_granules=\*/(%?\w+)"
)
_GRANULE = 32


class KernelCost(NamedTuple):
    """What one run of a kernel costs."""

    bundles: int
    """Cycles in which an instruction is issued."""
    matrix_cycles: int
    """Cycles that the busiest matrix unit is taken for."""
    hbm_bytes: int | None
    """Moved between HBM and vector memory by transfers of known size; None where one is not."""
    is_known: bool
    """Whether all loops have a constant bound."""

    @property
    def cycles(self) -> int:
        return max(self.bundles, self.matrix_cycles)


@dataclass
class _Loop:
    """The bundles of one loop while they are read; the outermost is the kernel."""

    is_marked: bool = False
    bundles: int = 0
    matrix_cycles: Counter[str] = field(default_factory=Counter)
    granules: int | None = 0
    exit_bound: int | None = None
    stages: int = 0
    steps: dict[str, int] = field(default_factory=dict)

    @property
    def trips(self) -> int:
        """In a pipeline the body is skipped while it fills and drains."""
        return 1 if self.exit_bound is None else max(1, self.exit_bound - self.stages)

    def add(self, inner: "_Loop") -> None:
        """Count a loop inside this one as often as it runs."""
        self.bundles += inner.bundles * inner.trips
        for unit, cycles in inner.matrix_cycles.items():
            self.matrix_cycles[unit] += cycles * inner.trips
        if self.granules is not None and inner.granules is not None:
            self.granules += inner.granules * inner.trips
        else:
            self.granules = None


def kernel_cost(lines: Iterable[str], *, cycles_per_matmul: int) -> KernelCost:
    """Count the bundles of a kernel.

    cycles_per_matmul: for which one `vmatmul` of bfloat16 takes a matrix unit.
    """
    reader = _Reader(cycles_per_matmul)
    for line in lines:
        if found := _BUNDLE.match(line):
            marks, nesting, content = found.groups()
            reader.read(content, depth=nesting.count(">"), begins_loop="LB" in marks)
    return reader.finish()


class _Reader:
    def __init__(self, cycles_per_matmul: int) -> None:
        self._cycles_per_matmul = cycles_per_matmul
        self._loops = [_Loop()]
        self._constants: dict[str, int] = {}
        self._is_known = True

    def read(self, content: str, *, depth: int, begins_loop: bool) -> None:
        if content.startswith("}"):
            # An empty bundle carries no mark of the loops it is in.
            self._loops[-1].bundles += 1
            return
        while len(self._loops) - 1 > depth:
            self._close()
        if begins_loop and len(self._loops) - 1 == depth > 0:
            self._close()
        while len(self._loops) - 1 < depth:
            self._loops.append(_Loop())
        self._loops[-1].is_marked |= begins_loop
        self._count(content)

    def finish(self) -> KernelCost:
        while len(self._loops) > 1:
            self._close()
        kernel = self._loops[0]
        return KernelCost(
            kernel.bundles,
            max(kernel.matrix_cycles.values(), default=0),
            None if kernel.granules is None else kernel.granules * _GRANULE,
            self._is_known,
        )

    def _close(self) -> None:
        inner = self._loops.pop()
        # What follows a loop may still carry its mark: only one that begins as one is a loop.
        self._is_known &= inner.exit_bound is not None or not inner.is_marked
        self._loops[-1].add(inner)

    def _count(self, content: str) -> None:
        loop = self._loops[-1]
        loop.bundles += 1
        self._constants |= {name: int(value) for name, value in _CONSTANT.findall(content)}
        for dtype, unit in _MATMUL.findall(content):
            # Half as many rows of four bytes enter at a time, and so do rows that come from the
            # register of the left matrix ("lmr"): each gives one vector of results in place of two,
            # and only so are the FLOPs of a kernel that has them those of its matrix product.
            share = 2 if dtype in ("f32", "lmr") else 1
            loop.matrix_cycles[unit] += self._cycles_per_matmul // share
        loop.steps |= {name: int(value) for name, value in _STEP.findall(content)}
        for stage in _STAGE.findall(content):
            loop.stages = max(loop.stages, int(stage))
        for counter, bound in _EXIT.findall(content):
            self._set_exit(loop, counter, bound)
        for kind, size in _TRANSFER.findall(content):
            granules = self._value(size)
            if granules is None or loop.granules is None:
                loop.granules = None
            else:
                loop.granules += granules * (2 if kind == "hbm_to_hbm" else 1)

    def _set_exit(self, loop: _Loop, counter: str, bound: str) -> None:
        value, step = self._value(bound), loop.steps.get(counter, 1)
        if value is not None:
            # A step of 2^31 or more is a negative one, of a loop that counts down.
            loop.exit_bound = max(1, -(-value // step)) if step < 2**31 else 1

    def _value(self, text: str) -> int | None:
        """Of a number, or of a register that a constant was put into."""
        return int(text) if text.isdigit() else self._constants.get(text.lstrip("%"))
