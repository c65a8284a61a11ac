"""The text of a scheduled program, read."""

from pathlib import Path

import pytest

from spanbert_jax.planning.hlo import Array, Instruction, arrays, parse
from spanbert_jax.planning.traffic import hbm_bytes

PROGRAM = (Path(__file__).parent / "files" / "loop.hlo").read_text(encoding="utf-8")


def test_arrays_of_a_shape_have_sizes_and_a_place():
    shape = "(bf16[8,128]{1,0:T(8,128)}, f32[4]{0:S(1)}, s4[16]{0}, pred[]{:T(512)})"
    assert arrays(shape) == (
        Array(2_048, True, 1_024), Array(16, False, 4), Array(8, True, 16), Array(1, True, 1),
    )  # fmt: skip


def test_a_program_is_its_computations_in_the_order_of_execution():
    program = parse(PROGRAM)
    assert program.entry == "main"
    assert [each.opcode for each in program.computations["body"]] == [
        "parameter", "get-tuple-element", "get-tuple-element", "fusion", "fusion", "tuple",
    ]  # fmt: skip
    fusion = program.by_name["slice_fusion"]
    assert fusion.operands == ("stack", "i.2")
    assert fusion.called == {"calls": "fused_slice"}
    assert fusion.estimated_cycles == 700
    assert fusion.op_name == "jit(step)/jvp(SpanBert)/encoder/layer_0/attention/slice"
    assert program.by_name["update_fusion"].estimated_cycles is None


def test_a_loop_runs_as_often_as_its_condition_says_or_as_xla_knows():
    program = parse(PROGRAM)
    loop = program.by_name["while.1"]
    assert program.trips(loop) == 12
    known = Instruction(
        loop.name, loop.shape, loop.opcode, loop.operands,
        loop.text + ', backend_config={"known_trip_count":{"n":"7"}}',
    )  # fmt: skip
    assert program.trips(known) == 7


@pytest.mark.parametrize(
    "name, moved",
    [
        # Reads one row of HBM, which then lies in vector memory.
        ("slice_fusion", 4_096),
        # Writes one row into an array that is updated in place.
        ("update_fusion", 4_096),
    ],
)
def test_of_stacked_arrays_the_slices_are_counted(name, moved):
    program = parse(PROGRAM)
    small = 4  # the counter of the loop, which lies in HBM here
    assert hbm_bytes(program, program.by_name[name]) == moved + small


def test_the_module_of_a_kernel_inside_an_attribute_does_not_end_a_computation():
    inside = '  %kernel = f32[8]{0} custom-call(%a), backend_config={"module {\n}\n"}\n'
    text = PROGRAM.replace("  %zero", inside + "  %zero", 1)
    assert "while.1" in parse(text).by_name
