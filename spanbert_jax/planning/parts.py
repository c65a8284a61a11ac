"""Which part of the model a kernel works for. In: a kernel of a program. Out: seconds by part.

The names are those that Flax modules and named scopes leave in the program. A kernel is fused from
operations of several parts: it goes to the part of its matrix product, if it has one, or else of
its result; what dropout adds to it is reckoned by its share of the other operations.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

from spanbert_jax.planning.hlo import Instruction, Program
from spanbert_jax.planning.timeline import Kernel

PARTS = (
    "attention", "mlp", "norms_and_residuals", "embeddings", "heads", "dropout", "optimizer",
    "collectives", "other",
)  # fmt: skip
"""All parts, in the order in which they are printed."""

# The first pattern that is found in the name of an operation says its part.
_NAMES = (
    ("optimizer", re.compile(r"/optimizer/")),
    ("attention", re.compile(r"/attention/")),
    ("mlp", re.compile(r"/feed_forward/")),
    ("embeddings", re.compile(r"/embeddings/")),
    (
        "heads",
        re.compile(r"/(mlm_head|span_boundary_head|next_sentence_head|pooler|tied_logits|loss)\b"),
    ),
    ("norms_and_residuals", re.compile(r"/(layer_\d+|layers|encoder)\b")),
)
_DROPOUT = re.compile(r"/dropout/")
_PRODUCTS = {"convolution", "dot"}
# What moves data, or names it: no work of the vector unit.
_NO_WORK = {"parameter", "constant", "bitcast", "tuple", "get-tuple-element", "broadcast", "iota"}


def seconds_by_part(program: Program, kernels: Iterable[Kernel]) -> dict[str, float]:
    """Of every part the seconds of a step, but for collectives and waits."""
    seconds: dict[str, float] = defaultdict(float)
    for kernel in kernels:
        inside = list(_inside(program, kernel.instruction))
        part, total = _part(kernel.instruction, inside), kernel.seconds * kernel.runs
        dropped = total * _vector_share(kernel) * _dropout_share(inside)
        seconds["dropout"] += dropped
        seconds[part] += total - dropped
    return {part: seconds[part] for part in PARTS if part in seconds}


def part_of(op_name: str) -> str:
    """part_of("jit(step)/jvp(SpanBert)/encoder/layer_0/attention/dot_general") -> "attention" """
    for part, pattern in _NAMES:
        if pattern.search(op_name):
            return part
    return "other"


def _part(kernel: Instruction, inside: list[Instruction]) -> str:
    products = [each for each in inside if each.opcode in _PRODUCTS and each.op_name]
    named = [each.op_name for each in (*products, kernel) if each.op_name]
    return part_of(named[0]) if named else "other"


def _vector_share(kernel: Kernel) -> float:
    """Share of a kernel's time in which neither matrix units nor HBM would hold it up."""
    if kernel.seconds == 0.0:
        return 0.0
    beside = max(kernel.matrix_seconds, kernel.hbm_seconds)
    return max(0.0, kernel.core_seconds - beside) / kernel.seconds


def _dropout_share(inside: list[Instruction]) -> float:
    """Share of dropout among the elementwise operations of a kernel, by their results."""
    work: Counter[bool] = Counter()
    for each in inside:
        if each.opcode not in _NO_WORK and each.opcode not in _PRODUCTS:
            work[bool(_DROPOUT.search(each.op_name))] += each.num_elements
    return work[True] / work.total() if work else 0.0


def _inside(program: Program, kernel: Instruction) -> Iterator[Instruction]:
    """The operations that a kernel was fused from."""
    for each in program.computations.get(kernel.called.get("calls", ""), ()):
        if each.opcode == "fusion":
            yield from _inside(program, each)
        else:
            yield each
