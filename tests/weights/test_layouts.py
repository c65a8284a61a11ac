"""One parameter of ours as tensors of others: the arrays of the docstrings, and both ways."""

import numpy as np
import pytest

from spanbert_jax.weights.layouts import (
    COPY,
    HEAD_BIASES,
    INTO_HEADS,
    LINEAR,
    OUT_OF_HEADS,
    WithOneSegment,
    inputs_first,
    their_shapes,
)


def numbered(*shape: int) -> np.ndarray:
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


def test_a_linear_kernel_is_the_transpose_of_a_pytorch_weight():
    (theirs,) = LINEAR.to_theirs(np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]))
    assert theirs.tolist() == [[1.0, 4.0], [2.0, 5.0], [3.0, 6.0]]


def test_a_kernel_of_tensorflow_lies_as_ours_does():
    kernel = numbered(2, 3)
    assert inputs_first(LINEAR).to_theirs(kernel)[0].tolist() == kernel.tolist()


def test_query_key_and_value_multiply_as_three_matrices_do():
    ours, hidden = numbered(3, 8, 2, 4), numbered(8)
    theirs = INTO_HEADS.to_theirs(ours)
    for kernel, matrix in zip(ours, theirs, strict=True):
        assert np.einsum("e,enh->nh", hidden, kernel).ravel().tolist() == (matrix @ hidden).tolist()


def test_the_output_of_heads_multiplies_as_one_matrix_does():
    ours, heads = numbered(2, 4, 8), numbered(2, 4)
    (matrix,) = OUT_OF_HEADS.to_theirs(ours)
    assert np.einsum("nh,nhe->e", heads, ours).tolist() == (matrix @ heads.ravel()).tolist()


@pytest.mark.parametrize(
    "layout, shape, theirs",
    [
        (COPY, (5,), [(5,)]),
        (LINEAR, (8, 6), [(6, 8)]),
        (INTO_HEADS, (3, 8, 2, 4), [(8, 8)] * 3),
        (HEAD_BIASES, (3, 2, 4), [(8,)] * 3),
        (OUT_OF_HEADS, (2, 4, 8), [(8, 8)]),
        (WithOneSegment(), (14, 8), [(14, 8), (1, 8)]),
        (inputs_first(INTO_HEADS), (3, 8, 2, 4), [(8, 8)] * 3),
        (inputs_first(LINEAR), (8, 6), [(8, 6)]),
    ],
)
def test_every_layout_leads_there_and_back(layout, shape, theirs):
    ours = numbered(*shape)
    parts = layout.to_theirs(ours)
    assert [part.shape for part in parts] == theirs == their_shapes(layout, shape)
    assert np.array_equal(layout.to_ours(parts, shape), ours)


def test_the_one_segment_of_a_model_is_added_to_its_positions():
    parts = [np.array([[1.0], [2.0]]), np.array([[10.0]])]
    ours = WithOneSegment().to_ours(parts, (2, 1))
    assert ours.tolist() == [[11.0], [12.0]]
    positions, segments = WithOneSegment().to_theirs(ours)
    assert (positions.tolist(), segments.tolist()) == ([[11.0], [12.0]], [[0.0]])
