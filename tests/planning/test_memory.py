"""What lies in HBM, by purpose, from a schedule."""

from spanbert_jax.planning.hlo import parse
from spanbert_jax.planning.memory import peak

FORWARD, BACKWARD = "jit(step)/jvp(SpanBert)/layer", "jit(step)/transpose(jvp(SpanBert))/layer"


def step(num_layers: int, *, scratch: int) -> str:
    """A kilobyte of each layer is kept; its gradient takes `scratch` elements on the way back."""
    lines = ["  %p = f32[256]{0} parameter(0)"]
    before = "p"
    for i in range(num_layers):
        lines.append(f"  %kept.{i} = f32[256]{{0}} fusion(%{before}), {name(FORWARD)}")
        before = f"kept.{i}"
    lines.append(f"  %head = f32[4096]{{0}} fusion(%{before}), {name(BACKWARD)}")
    before = "head"
    for i in reversed(range(num_layers)):
        operands = f"%kept.{i}, %{before}"
        lines.append(f"  %back.{i} = f32[{scratch}]{{0}} fusion({operands}), {name(BACKWARD)}")
        before = f"back.{i}"
    lines.append(f"  ROOT %out = f32[1]{{0}} fusion(%{before}), {name(BACKWARD)}")
    entry = "ENTRY %main (p: f32[256]) -> f32[1] {"
    return "\n".join(["HloModule step, is_scheduled=true", "", entry, *lines, "}", ""])


def name(operation: str) -> str:
    return f'calls=%f, metadata={{op_name="{operation}"}}'


def test_activations_grow_with_depth_wherever_the_most_is_held() -> None:
    # Head and first gradient beside all that was kept; or two gradients, when one layer's is gone.
    for scratch, others in ((1_024, 4 * (4_096 + 1_024)), (8_192, 4 * 2 * 8_192 - 1_024)):
        shallow, deep = (peak(parse(step(layers, scratch=scratch))) for layers in (2, 4))
        assert (shallow.activations, deep.activations) == (2 * 1_024, 4 * 1_024)
        assert shallow.others == deep.others == others


def test_the_largest_arrays_are_those_of_the_moment_when_most_is_held() -> None:
    held = peak(parse(step(3, scratch=8_192)), num_largest=2).largest
    assert [each.num_bytes for each in held] == [32_768, 32_768]
    assert all(each.op_name == BACKWARD for each in held)
