"""Bytes that a kernel moves to and from HBM. In: a program, one of its instructions. Out: bytes."""

from collections.abc import Sequence

from spanbert_jax.planning.hlo import Instruction, Program

_READS_A_PART = ("dynamic-slice", "gather", "slice")


def hbm_bytes(program: Program, kernel: Instruction) -> int:
    """Bytes read and written: operands and results that lie in HBM.

    Of an operand that a fusion only slices, the slices; of one that it updates in place, what it
    puts there.
    """
    return _read(program, kernel) + _written(program, kernel)


def _read(program: Program, kernel: Instruction) -> int:
    body = _body(program, kernel)
    total = 0
    for number, operand in enumerate(program.operands(kernel)):
        for array in operand.arrays:
            if array.in_hbm:
                used = _used(program, body, number, array.num_bytes) if body else array.num_bytes
                total += used
    return total


def _used(program: Program, body: Sequence[Instruction], number: int, whole: int) -> int:
    """Bytes of a fusion's operand that its body reads, of `whole`."""
    names = {
        each.name for each in body
        if each.opcode == "parameter" and each.parameter_number == number
    }  # fmt: skip
    used = 0
    for each in body:
        taken = names.intersection(each.operands)
        if not taken:
            continue
        if each.opcode == "bitcast":
            names.add(each.name)
        elif each.opcode in _READS_A_PART:
            used += each.num_bytes
        elif each.opcode == "fusion":
            inner = _body(program, each)
            places = [place for place, name in enumerate(each.operands) if name in names]
            used += sum(_used(program, inner, place, whole) for place in places)
        elif not _is_updated_in_place(each, names):
            return whole
    return min(used, whole)


def _is_updated_in_place(instruction: Instruction, names: set[str]) -> bool:
    """Whether an array is nothing but the target of a dynamic-update-slice."""
    target, *others = instruction.operands or ("",)
    is_update = instruction.opcode == "dynamic-update-slice"
    return is_update and target in names and not names.intersection(others)


def _written(program: Program, kernel: Instruction) -> int:
    updates = _updates(program, _body(program, kernel))
    if len(updates) != len(kernel.arrays):
        updates = [None] * len(kernel.arrays)
    return sum(
        array.num_bytes if update is None else min(array.num_bytes, update)
        for array, update in zip(kernel.arrays, updates, strict=True)
        if array.in_hbm
    )


def _updates(program: Program, body: Sequence[Instruction]) -> list[int | None]:
    """Of each result of a fusion, the bytes that it puts into an array in place; None: all."""
    if not body:
        return []
    root = body[-1]
    results = program.operands(root) if root.opcode == "tuple" else [root]
    return [_update(program, result) for result in results]


def _update(program: Program, result: Instruction) -> int | None:
    while result.opcode == "bitcast" and program.operands(result):
        result = program.operands(result)[0]
    if result.opcode == "dynamic-update-slice":
        return program.by_name[result.operands[1]].num_bytes
    if result.opcode == "fusion":
        inner = _updates(program, _body(program, result))
        return inner[0] if len(inner) == 1 else None
    return None


def _body(program: Program, instruction: Instruction) -> Sequence[Instruction]:
    """Of a fusion; nothing of other instructions."""
    if instruction.opcode != "fusion":
        return ()
    return program.computations.get(instruction.called.get("calls", ""), ())
