"""A step of the scheduled program in time. In: program, kernels' costs, topology. Out: kernels,
collectives, waits.

Kernels run one after the other; each takes the time of its bundles, or of the bytes it moves, the
longer of the two. Copies between HBM and vector memory run behind them with what bandwidth is left,
collectives on links of their own; whoever needs their result waits for what is missing.
"""

import re
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from spanbert_jax.config.topologies import Topology
from spanbert_jax.planning.bundles import KernelCost
from spanbert_jax.planning.chips import (
    HBM_EFFICIENCY,
    KERNEL_SECONDS,
    chip_of,
    collective_seconds,
)
from spanbert_jax.planning.hlo import Instruction, Program
from spanbert_jax.planning.traffic import hbm_bytes

CostSource = Literal["bundles", "cost_model", "nothing"]

_COLLECTIVES = (
    "all-reduce", "all-gather", "reduce-scatter", "collective-permute", "all-to-all",
)  # fmt: skip
# Names for what is there already, or is made with the kernel that uses it.
_FREE = {
    "parameter", "get-tuple-element", "tuple", "bitcast", "constant", "partition-id", "replica-id",
    "after-all", "opt-barrier", "iota", "broadcast",
}  # fmt: skip
_COPIES = (
    "copy", "slice", "async", "dynamic-slice", "dynamic-update-slice",
)  # fmt: skip
_SMALL_BYTES = 1_024


class Kernel(NamedTuple):
    """A kernel of the step; seconds are of one run."""

    instruction: Instruction
    runs: int
    seconds: float
    core_seconds: float
    """That it takes the core for, were HBM infinitely fast."""
    hbm_seconds: float
    """That its bytes take."""
    matrix_seconds: float
    """For which the busiest matrix unit works."""
    source: CostSource


class Collective(NamedTuple):
    """A collective operation of the step; figures are of one run."""

    kind: str
    runs: int
    num_bytes: float
    """That each chip sends."""
    seconds: float
    op_name: str


@dataclass
class Timeline:
    """A step in time."""

    seconds: float = 0.0
    kernels: list[Kernel] = field(default_factory=list)
    collectives: list[Collective] = field(default_factory=list)
    copy_wait: float = 0.0
    """Seconds in which the core waits for copies from or to HBM."""
    collective_wait: float = 0.0
    """Seconds in which it waits for other chips."""
    hbm_bytes: float = 0.0
    unknown: Counter[str] = field(default_factory=Counter)
    """Operations that nothing is known about, counted as taking no time."""


def timeline(program: Program, costs: Mapping[str, KernelCost], topology: Topology) -> Timeline:
    """Play a step of `program`.

    costs: of kernels, by the name of their instruction.
    """
    player = _Player(program, costs, topology)
    seconds = player.play(program.entry, runs=1)
    # HBM is busy at least so long, however the copies are placed.
    player.line.seconds = max(seconds, player.line.hbm_bytes / player.bandwidth)
    return player.line


@dataclass
class _Transfers:
    """What is under way beside the core, in one computation."""

    copies: deque[tuple[str, float]] = field(default_factory=deque)
    """Names and bytes left, in the order in which they were begun."""
    link_free: float = 0.0
    arrivals: dict[str, float] = field(default_factory=dict)
    """When collectives are done, by name."""

    def advance(self, num_bytes: float) -> None:
        """Let copies move so many bytes."""
        while self.copies and num_bytes > 0:
            name, left = self.copies.popleft()
            if left > num_bytes:
                self.copies.appendleft((name, left - num_bytes))
                return
            num_bytes -= left

    def bytes_until(self, name: str) -> float:
        """Bytes that must be moved before a copy is done; 0 where it is."""
        total = 0.0
        for other, left in self.copies:
            total += left
            if other == name:
                return total
        return 0.0


class _Player:
    def __init__(
        self, program: Program, costs: Mapping[str, KernelCost], topology: Topology
    ) -> None:
        self.program, self.costs, self.topology = program, costs, topology
        self.chip, self.line = chip_of(topology), Timeline()
        self.bandwidth = self.chip.hbm_bytes_per_second * HBM_EFFICIENCY

    def play(self, computation: str, *, runs: int) -> float:
        """Seconds of one run of a computation, which the step runs so often."""
        now, under_way = 0.0, _Transfers()
        for each in self.program.computations[computation]:
            now = self._instruction(each, now, under_way, runs)
        left = sum(num_bytes for _, num_bytes in under_way.copies) / self.bandwidth
        self.line.copy_wait += left * runs
        return now + left

    def _instruction(
        self, each: Instruction, now: float, under_way: _Transfers, runs: int
    ) -> float:
        """The time after an instruction that is reached at `now`."""
        kind, phase = _phase(each)
        if each.opcode in _FREE and each.estimated_cycles is None:
            return now
        if each.opcode == "while":
            trips = self.program.trips(each)
            return now + trips * self.play(each.called["body"], runs=runs * trips)
        if each.opcode in ("call", "conditional"):
            return now + self.play(next(iter(each.called.values())), runs=runs)
        if kind in _COLLECTIVES:
            return self._collective(each, kind, phase, now, under_way, runs)
        if phase and kind in _COPIES:
            return self._copy(each, phase, now, under_way, runs)
        return self._kernel(each, now, under_way, runs)

    def _collective(
        self, each: Instruction, kind: str, phase: str, now: float, under_way: _Transfers, runs: int
    ) -> float:
        if phase == "done":
            wait = max(0.0, under_way.arrivals.pop(each.operands[0], 0.0) - now)
            self.line.collective_wait += wait * runs
            return now + wait
        group = _group_size(each.text)
        sent = _sent_bytes(self.program, each, kind, group=group)
        seconds = collective_seconds(self.topology, num_bytes=sent, group=group)
        self.line.collectives.append(Collective(kind, runs, sent, seconds, each.op_name))
        if phase == "start":
            under_way.link_free = max(under_way.link_free, now) + seconds
            under_way.arrivals[each.name] = under_way.link_free
            return now
        self.line.collective_wait += seconds * runs
        return now + seconds

    def _copy(
        self, each: Instruction, phase: str, now: float, under_way: _Transfers, runs: int
    ) -> float:
        if phase == "done":
            missing = under_way.bytes_until(each.operands[0] if each.operands else "")
            wait = missing / self.bandwidth
            self.line.copy_wait += wait * runs
            under_way.advance(missing)
            return now + wait
        if phase == "start":
            num_bytes = _copied_bytes(each)
            under_way.copies.append((each.name, num_bytes))
            self.line.hbm_bytes += num_bytes * runs
        return now

    def _kernel(self, each: Instruction, now: float, under_way: _Transfers, runs: int) -> float:
        if not self._takes_time(each):
            return now
        moved, cost = float(hbm_bytes(self.program, each)), self.costs.get(each.name)
        cycles, source = _cycles(each, cost)
        if source == "nothing":
            self.line.unknown[each.opcode] += runs
        if cost is not None and cost.hbm_bytes:
            moved = min(moved, cost.hbm_bytes)
        core, hbm = cycles / self.chip.clock_hz, moved / self.bandwidth
        begin = KERNEL_SECONDS if moved > _SMALL_BYTES else KERNEL_SECONDS / 5
        seconds = max(core, hbm) + begin
        matrix = cost.matrix_cycles / self.chip.clock_hz if cost else 0.0
        self.line.kernels.append(Kernel(each, runs, seconds, core, hbm, matrix, source))
        self.line.hbm_bytes += moved * runs
        under_way.advance(max(0.0, seconds * self.bandwidth - moved))
        return now + seconds

    def _takes_time(self, each: Instruction) -> bool:
        if each.opcode == "custom-call":
            is_kernel = "tpu_custom_call" in each.text or each.name in self.costs
            return is_kernel or each.estimated_cycles is not None
        return each.opcode == "fusion" or each.num_bytes > _SMALL_BYTES


def _phase(each: Instruction) -> tuple[str, str]:
    """What an instruction does, and whether it begins or ends it.

    all-gather-start -> ("all-gather", "start"); fusion -> ("fusion", "")
    """
    kind, _, phase = each.opcode.rpartition("-")
    if phase not in ("start", "done", "update"):
        return each.opcode, ""
    if kind == "async":
        wrapped = next((name for name in _COLLECTIVES if name in each.text), kind)
        return wrapped, phase
    return kind, phase


def _cycles(each: Instruction, cost: KernelCost | None) -> tuple[float, CostSource]:
    if cost is not None and cost.is_known:
        return cost.cycles, "bundles"
    if each.estimated_cycles is not None:
        return each.estimated_cycles, "cost_model"
    if cost is not None:
        return cost.cycles, "bundles"
    return 0.0, "nothing"


def _copied_bytes(each: Instruction) -> float:
    """Bytes that an asynchronous copy moves through HBM: read, written, or both."""
    arrays = [array for array in each.arrays if array.num_bytes > 8]
    if not arrays:
        return 0.0
    if each.opcode == "copy-start" and len(arrays) >= 2:
        return float(arrays[0].num_bytes * sum(array.in_hbm for array in arrays[:2]))
    return float(min(array.num_bytes for array in arrays))


def _sent_bytes(program: Program, each: Instruction, kind: str, *, group: int) -> float:
    """Bytes that each chip of a group of n sends, by the ring algorithm: (n - 1) / n of the whole,
    twice for an all-reduce.
    """
    given = sum(operand.num_bytes for operand in program.operands(each))
    share = (group - 1) / group
    if kind == "all-reduce":
        return 2 * given * share
    if kind == "reduce-scatter":
        return given * share
    if kind == "collective-permute":
        return float(given)
    return max(array.num_bytes for array in each.arrays) * share if each.arrays else 0.0


def _group_size(text: str) -> int:
    """Chips that take part in a collective together.

    replica_groups=[4,8]<=[32] -> 8; replica_groups={{0,1},{2,3}} -> 2;
    replica_groups=mesh['data'=4,'fsdp'=8] {fsdp} -> 8
    """
    if found := re.search(r"replica_groups=\[(\d+),(\d+)\]", text):
        return int(found[2])
    if found := re.search(r"replica_groups=@?mesh\w*\[([^\]]*)\]( ?\{[^}]*\})?", text):
        sizes = dict(re.findall(r"'?(\w+)'?=(\d+)", found[1]))
        named = [axis for axis in re.findall(r"\w+", found[2] or "") if axis in sizes]
        group = 1
        for axis in named or sizes:
            group *= int(sizes[axis])
        return group
    if found := re.search(r"replica_groups=\{\{([\d,]+)\}", text):
        return found[1].count(",") + 1
    return 1
