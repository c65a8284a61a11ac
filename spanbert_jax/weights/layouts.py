"""How one parameter of ours lies in tensors of others, both ways.

In, out: numpy arrays. Axis letters: E embed, N heads, H head size.
"""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

Shape = tuple[int, ...]


class Layout(Protocol):
    """The way from the tensors of others to one array of ours, and back."""

    def to_ours(self, parts: Sequence[np.ndarray], shape: Shape) -> np.ndarray:
        """One array of `shape` out of the tensors that hold it."""

    def to_theirs(self, ours: np.ndarray) -> list[np.ndarray]:
        """The inverse of `to_ours`, as views where that is possible."""


@dataclass(frozen=True)
class Reshaped:
    """The same numbers, with other axes.

    A kernel (E, N, H) of one input axis, transposed -> a matrix (N * H, E)
    A stack (3, N, H) of vectors -> three vectors (N * H)
    """

    input_axes: int | None = None
    """Leading axes of ours that are the inputs of a matrix; None for what is no matrix."""
    stacked: bool = False
    """Whether ours holds several tensors of theirs on a leading axis."""
    flat: bool = False
    """Whether theirs has one axis only."""
    transposed: bool = True
    """Whether a matrix of theirs is (outputs, inputs), as PyTorch has them."""

    def to_ours(self, parts: Sequence[np.ndarray], shape: Shape) -> np.ndarray:
        pieces = [part.T if self._turned else part for part in parts]
        if self.stacked:
            return np.stack([piece.reshape(shape[1:]) for piece in pieces])
        (piece,) = pieces
        return piece.reshape(shape)

    def to_theirs(self, ours: np.ndarray) -> list[np.ndarray]:
        pieces = [self._reshape(piece) for piece in (ours if self.stacked else [ours])]
        return [piece.T if self._turned else piece for piece in pieces]

    @property
    def _turned(self) -> bool:
        return self.transposed and self.input_axes is not None

    def _reshape(self, piece: np.ndarray) -> np.ndarray:
        if self.input_axes is not None:
            return piece.reshape(math.prod(piece.shape[: self.input_axes]), -1)
        return piece.reshape(-1) if self.flat else piece


@dataclass(frozen=True)
class WithOneSegment:
    """A position table, where theirs also adds the one row of a segment table to every token.

    A model of a single segment adds the same vector to every position: ours holds their sum, and
    a table written from ours has zeros for its segment.

    positions [[1.], [2.]] and segments [[10.]] -> [[11.], [12.]] -> [[11.], [12.]] and [[0.]]
    """

    def to_ours(self, parts: Sequence[np.ndarray], shape: Shape) -> np.ndarray:
        positions, segment = (part.astype(np.float32) for part in parts)
        return (positions + segment).reshape(shape)

    def to_theirs(self, ours: np.ndarray) -> list[np.ndarray]:
        return [ours, np.zeros((1, ours.shape[1]), ours.dtype)]


COPY = Reshaped()
LINEAR = Reshaped(input_axes=1)
OUT_OF_HEADS = Reshaped(input_axes=2)
"""(N, H, E): the attention's output."""
INTO_HEADS = Reshaped(input_axes=1, stacked=True)
"""(3, E, N, H): query, key and value."""
HEAD_BIASES = Reshaped(stacked=True, flat=True)
"""(3, N, H)."""


def inputs_first(layout: Layout) -> Layout:
    """The layout whose matrices are (inputs, outputs), as TensorFlow has them."""
    if not isinstance(layout, Reshaped):
        return layout
    return dataclasses.replace(layout, transposed=False)


def their_shapes(layout: Layout, shape: Shape) -> list[Shape]:
    """Shapes of the tensors that hold a parameter of ours of `shape`; nothing is computed.

    their_shapes(INTO_HEADS, (3, 8, 2, 4)) -> [(8, 8), (8, 8), (8, 8)]
    """
    weightless = np.broadcast_to(np.float32(0), shape)
    return [part.shape for part in layout.to_theirs(weightless)]
