"""Figures of a step: reckoned for other depths, and kept as JSON."""

import json

import pytest

from spanbert_jax.planning.figures import (
    Answer,
    OutOfMemory,
    StepFigures,
    Traffic,
    at_depth,
    from_tree,
    to_tree,
)


def figures(depth: int) -> StepFigures:
    """Of a step of which each layer costs the same."""
    return StepFigures(
        seconds=0.010 + 0.005 * depth,
        parts={"attention": 0.003 * depth, "heads": 0.008},
        copy_wait=0.001,
        collective_wait=0.0001 * depth,
        collectives={"all-reduce": Traffic(2, 1e6 + 1e7 * depth, 0.001 * depth)},
        matrix_seconds=0.004 * depth,
        classic_seconds=0.006 * depth,
        hbm_bytes=1e9 * depth,
        memory={"parameters": 1e8 + 3e7 * depth, "activations": 5e8 * depth},
        largest=((1e8, f"f32[{depth}]", "jvp(a)"),),
        kernels={"bundles": 10 + 50 * depth},
        compile_seconds=20.0 * depth,
    )


def test_figures_of_a_deeper_model_lie_on_the_line_through_two_depths():
    reckoned = at_depth(figures(2), figures(4), depths=(2, 4), depth=24)
    exact = figures(24)
    assert isinstance(reckoned, StepFigures)
    assert reckoned.seconds == pytest.approx(exact.seconds)
    assert reckoned.parts == pytest.approx(exact.parts)
    assert reckoned.memory == pytest.approx(exact.memory)
    assert reckoned.needed_bytes == pytest.approx(exact.needed_bytes)
    assert reckoned.kernels == pytest.approx(exact.kernels)
    traffic, expected = (each.collectives["all-reduce"] for each in (reckoned, exact))
    assert (traffic.count, traffic.num_bytes) == (2, pytest.approx(expected.num_bytes))
    assert reckoned.largest == figures(4).largest
    assert reckoned.compile_seconds == 120.0


def test_what_only_one_depth_has_grows_from_nothing_and_nothing_is_negative():
    low, high = figures(2), figures(4)
    high.parts["dropout"] = 0.002
    low.parts["embeddings"] = 0.001
    reckoned = at_depth(low, high, depths=(2, 4), depth=12)
    assert isinstance(reckoned, StepFigures)
    assert reckoned.parts["dropout"] == pytest.approx(0.010)
    assert reckoned.parts["embeddings"] == 0.0


@pytest.mark.parametrize("low", [figures(2), OutOfMemory(figures(2).needed_bytes, 1e8, ())])
def test_what_a_deeper_model_needs_lies_on_the_line_too_where_a_shallow_one_does_not_fit(
    low: Answer,
) -> None:
    array = (1e9, "f32[2]", "jvp(a)")
    high = OutOfMemory(figures(4).needed_bytes, 1e8, (array,))
    reckoned = at_depth(low, high, depths=(2, 4), depth=12)
    assert isinstance(reckoned, OutOfMemory)
    assert reckoned.needed_bytes == pytest.approx(figures(12).needed_bytes)
    assert (reckoned.available_bytes, reckoned.largest) == (1e8, (array,))


@pytest.mark.parametrize(
    "answer", [figures(2), OutOfMemory(2e10, 1.6e10, ((1e9, "f32[2]", "jvp(a)"),))]
)
def test_answers_survive_json(answer):
    assert from_tree(json.loads(json.dumps(to_tree(answer)))) == answer
