"""The seam between data and model: names, shapes and dtypes of a batch.

In: nothing. Out: the one structure that tf.data yields and that the train step takes; a NamedTuple,
which both TensorFlow and JAX know as a tree. After it everything is an array of fixed shape.
"""

from typing import Any, NamedTuple

import numpy as np


class PretrainBatch(NamedTuple):
    """`B` rows of `L` tokens with `P` prediction slots each; every field is int32.

    A slot is one masked token: target of the masked language model, and of the span-boundary
    objective where the observed tokens left and right of its span exist (sec. 3.2). Unused slots
    have weight 0 and point at position 0.
    """

    token_ids: Any
    """(B, L) after masking: [CLS] block [SEP] padding."""
    segment_ids: Any
    """(B, L) 0; 0 and 1 for sentence pairs."""
    document_ids: Any
    """(B, L) 0 is padding; tokens with equal ids attend to each other."""
    position_ids: Any
    """(B, L) rows of the position embedding."""
    masked_positions: Any
    """(B, P) where in the row the target stands, ascending."""
    masked_ids: Any
    """(B, P) the token that stood there."""
    masked_weights: Any
    """(B, P) 1 for a target of the masked language model."""
    boundary_left: Any
    """(B, P) position of the observed token before the span, x_{s-1}."""
    boundary_right: Any
    """(B, P) position of the observed token after the span, x_{e+1}."""
    boundary_offset: Any
    """(B, P) 0-based offset of the target inside its span, i - s."""
    boundary_weights: Any
    """(B, P) 1 for a target of the span-boundary objective."""


def batch_shapes(
    batch_size: int, sequence_length: int, num_predictions: int
) -> dict[str, tuple[int, int]]:
    """Shape of every field of a batch.

    batch_shapes(256, 512, 77)["token_ids"] -> (256, 512)
    batch_shapes(256, 512, 77)["masked_ids"] -> (256, 77)
    """
    row_fields = ("token_ids", "segment_ids", "document_ids", "position_ids")
    return {
        name: (batch_size, sequence_length if name in row_fields else num_predictions)
        for name in PretrainBatch._fields
    }


def empty_batch(batch_size: int, sequence_length: int, num_predictions: int) -> PretrainBatch:
    """A batch of zeros, for shapes and for compiling."""
    shapes = batch_shapes(batch_size, sequence_length, num_predictions)
    return PretrainBatch(**{name: np.zeros(shape, np.int32) for name, shape in shapes.items()})
