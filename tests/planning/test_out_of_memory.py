"""What the TPU compiler says of a step that does not fit, in both of its forms."""

import pytest

from spanbert_jax.planning.compile_step import _out_of_memory

GIB = 2**30
LISTED = """RESOURCE_EXHAUSTED: XLA:TPU compile permanent error. Ran out of memory in space hbm.
Used 20.50G of 15.75G hbm. Exceeded hbm capacity by 4.75G.
  1. Size: 285.78M
     Operator: op_name="jit(traced)/jvp(SpanBert)/dot_general" source_file="a.py" source_line=1
     Shape: f32[16,2,77,28996]{3,2,1,0:T(8,128)}
"""
HOPELESS = (
    "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO temporaries "
    "(71.21G) exceeds available HBM (15.75G)."
)


@pytest.mark.parametrize("message, needed", [(LISTED, 20.5), (HOPELESS, 71.21)])
def test_what_is_needed_and_what_there_is(message, needed):
    answer = _out_of_memory(message)
    assert answer is not None
    assert answer.needed_bytes == pytest.approx(needed * GIB)
    assert answer.available_bytes == pytest.approx(15.75 * GIB)


def test_the_largest_arrays_are_named():
    answer = _out_of_memory(LISTED)
    assert answer is not None
    ((size, shape, op_name),) = answer.largest
    assert size == pytest.approx(285.78 * 2**20, rel=1e-6)
    assert shape.startswith("f32[16,2,77,28996]")
    assert op_name == "jit(traced)/jvp(SpanBert)/dot_general"


def test_another_error_is_none_of_memory():
    assert _out_of_memory("INVALID_ARGUMENT: Used 1G of 2G hbm") is None
