"""The seam between data and model: names, shapes and dtypes of a batch.

In: nothing. Out: the structures that pipelines yield and that train steps take, of pretraining and
of tasks; NamedTuples, which both TensorFlow and JAX know as trees. After it everything is an array
of fixed shape.
"""

from typing import Any, NamedTuple

import numpy as np

NO_PAIR = -1
"""Next-sentence label of a row that holds no two segments."""


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
    next_sentence_label: Any
    """(B,) 1 where the second segment is of another document, 0 where it goes on with the first,
    `NO_PAIR` where there are not two."""


def batch_shapes(
    batch_size: int, sequence_length: int, num_predictions: int
) -> dict[str, tuple[int, ...]]:
    """Shape of every field of a batch.

    batch_shapes(256, 512, 77)["token_ids"] -> (256, 512)
    batch_shapes(256, 512, 77)["masked_ids"] -> (256, 77)
    batch_shapes(256, 512, 77)["next_sentence_label"] -> (256,)
    """
    rows = dict.fromkeys(
        ("token_ids", "segment_ids", "document_ids", "position_ids"), (batch_size, sequence_length)
    )
    slots = (batch_size, num_predictions)
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys(PretrainBatch._fields, slots)
    return shapes | rows | {"next_sentence_label": (batch_size,)}


def empty_batch(batch_size: int, sequence_length: int, num_predictions: int) -> PretrainBatch:
    """A batch of zeros, and of no pairs: for shapes and for compiling."""
    shapes = batch_shapes(batch_size, sequence_length, num_predictions)
    zeros = PretrainBatch(**{name: np.zeros(shape, np.int32) for name, shape in shapes.items()})
    return zeros._replace(next_sentence_label=np.full(batch_size, NO_PAIR, np.int32))


class TaskRow(NamedTuple):
    """One row of a task before it joins a batch: an example, or a window of one."""

    token_ids: Any
    """(length,) int32: [CLS] ... [SEP], without padding."""
    segment_ids: Any
    """(length,) int32: 0, and 1 for the second text."""
    example: int
    """Index of its example."""
    fields: dict[str, Any] = {}
    """What head and loss need beside the tokens, arrays or numbers by name. All rows have the same
    ones, of the same shape, but for a first axis over the tokens where the task says so."""
    notes: Any = None
    """What decoding needs to know; it stays on the host."""


class TaskBatch(NamedTuple):
    """`B` rows of a task, padded to `L` tokens; int32 unless a field says otherwise."""

    token_ids: Any
    """(B, L)"""
    segment_ids: Any
    """(B, L)"""
    document_ids: Any
    """(B, L) 1 for tokens, 0 for padding."""
    position_ids: Any
    """(B, L)"""
    row_weights: Any
    """(B,) 1; 0 for a row of padding that fills the batch up."""
    row_numbers: Any
    """(B,) which row of the data set it is; -1 for a row of padding."""
    fields: dict[str, Any]
    """(B, ...) of `TaskRow.fields`; (B, L, ...) padded with 0 where they run over tokens."""
