"""What lies in HBM while a step runs. In: the scheduled program. Out: bytes by purpose.

XLA says how much a program needs; what for follows from the schedule: from when to when every array
is alive, and where in the step the most is.
"""

from dataclasses import dataclass
from typing import NamedTuple

from spanbert_jax.planning.hlo import Instruction, Program

# Their results are names of what their operands hold.
_ALIASES = {"bitcast", "tuple", "get-tuple-element", "opt-barrier"}
_ENDS = ("-done", "-update")


class Held(NamedTuple):
    """An array at the moment when the most is held."""

    num_bytes: int
    shape: str
    op_name: str


@dataclass(frozen=True)
class Peak:
    """What is held then, beside the arguments of the step."""

    activations: int
    """Bytes that the forward pass made and the backward pass has yet to read, where they are most:
    a shallow model may hold the most elsewhere, and of two of them a deep one is reckoned."""
    others: int
    """Bytes of gradients and of what is being computed, so that both are all that is held."""
    largest: tuple[Held, ...]


def peak(program: Program, *, num_largest: int = 8) -> Peak:
    """Find the moment of the entry computation at which most bytes of HBM are held.

    Bodies of loops are seen from outside: what they hold inside is not counted.
    """
    body = program.computations[program.entry]
    owners = _owners(program, body)
    last_use = _last_uses(body, owners)
    held = {each.name: _hbm_size(each) for each in body if owners[each.name] == {each.name}}
    ends: dict[int, list[str]] = {}
    for name, place in last_use.items():
        ends.setdefault(place, []).append(name)
    of_forward = {each.name: held.get(each.name, 0) for each in body if is_of_forward(each.op_name)}
    now, most, moment = 0, 0, 0
    kept, most_kept = 0, 0
    for place, each in enumerate(body):
        now += held.get(each.name, 0)
        kept += of_forward.get(each.name, 0)
        most_kept = max(most_kept, kept)
        if now > most:
            most, moment = now, place
        now -= sum(held.get(name, 0) for name in ends.get(place, ()))
        kept -= sum(of_forward.get(name, 0) for name in ends.get(place, ()))
    alive = [
        each
        for place, each in enumerate(body[: moment + 1])
        if held.get(each.name) and last_use.get(each.name, place) >= moment
    ]
    largest = sorted(alive, key=lambda each: -held[each.name])[:num_largest]
    return Peak(
        activations=most_kept,
        others=most - most_kept,
        largest=tuple(Held(held[each.name], each.shape, each.op_name) for each in largest),
    )


def is_of_forward(op_name: str) -> bool:
    """is_of_forward("jit(step)/transpose(jvp(SpanBert))/...") -> False; without transpose True."""
    return "jvp(" in op_name and "transpose(" not in op_name


def _owners(program: Program, body: tuple[Instruction, ...]) -> dict[str, set[str]]:
    """By the name of each instruction, the instructions that made what it holds."""
    owners: dict[str, set[str]] = {}
    for each in body:
        kind = each.opcode
        if kind in ("parameter", "constant"):
            owners[each.name] = set()
        elif kind in _ALIASES or kind.endswith(_ENDS):
            owners[each.name] = set().union(*(owners.get(name, set()) for name in each.operands))
        else:
            owners[each.name] = {each.name}
    return owners


def _last_uses(body: tuple[Instruction, ...], owners: dict[str, set[str]]) -> dict[str, int]:
    uses: dict[str, int] = {}
    for place, each in enumerate(body):
        if each.opcode in _ALIASES:
            continue
        for name in each.operands:
            for owner in owners.get(name, ()):
                uses[owner] = place
    # The results of the step are held to its end.
    for name in owners[body[-1].name]:
        uses[name] = len(body)
    return uses


def _hbm_size(each: Instruction) -> int:
    sizes = [array.num_bytes for array in each.arrays if array.in_hbm]
    if each.opcode == "copy-start":
        return sizes[0] if sizes else 0
    return sum(sizes)
