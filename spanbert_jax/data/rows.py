"""Lays out rows of one or two segments: [CLS] A [SEP] padding, or [CLS] A [SEP] B [SEP] padding.

In: padded texts and the lengths of their segments, as numpy arrays. Out: masking.RowBatch.
"""

import numpy as np
from jaxtyping import Int32

from spanbert_jax.data.masking import RowBatch, Vocabulary


def rows_of_texts(
    texts: Int32[np.ndarray, "batch width"],
    *,
    lengths: Int32[np.ndarray, "batch segments"],
    next_sentence_label: Int32[np.ndarray, " batch"],
    vocabulary: Vocabulary,
) -> RowBatch:
    """Rows of width + 2 tokens; without tags.

    texts = [[11, 12, 13, 0, 14, 15, 0]], lengths = [[3, 2]]
    -> token_ids = [[CLS, 11, 12, 13, SEP, 14, 15, SEP, 0]],
       document_ids = [[1, 1, 1, 1, 1, 1, 1, 1, 0]],
       segment_ids = [[0, 0, 0, 0, 0, 1, 1, 1, 0]],
       segment_start = [1, 5], segment_length = [3, 2], segment_row = [0, 0],
       segment_number = [0, 1]

    texts: segments with one place for [SEP] between them, then padding.
    """
    (batch_size, num_segments), length = lengths.shape, texts.shape[1] + 2
    token_ids = np.full((batch_size, length), vocabulary.pad_id, np.int32)
    token_ids[:, 0] = vocabulary.cls_id
    token_ids[:, 1:-1] = texts
    rows, columns = np.arange(batch_size, dtype=np.int32), np.arange(length, dtype=np.int32)
    separators = np.cumsum(lengths + 1, axis=1, dtype=np.int32)
    token_ids[rows[:, None], separators] = vocabulary.sep_id
    is_real = (columns <= separators[:, -1:]).astype(np.int32)
    # The [SEP] after a segment belongs to it.
    segment_ids = sum(columns > separators[:, i : i + 1] for i in range(num_segments - 1))
    return RowBatch(
        token_ids=token_ids,
        document_ids=is_real,
        position_ids=np.broadcast_to(columns, token_ids.shape),
        segment_ids=np.asarray(segment_ids * is_real, np.int32),
        segment_start=np.ravel(separators - lengths + rows[:, None] * length),
        segment_length=np.ravel(lengths),
        segment_row=np.repeat(rows, num_segments),
        segment_number=np.tile(np.arange(num_segments, dtype=np.int32), batch_size),
        next_sentence_label=next_sentence_label,
        tag_start=np.zeros(0, np.int32),
        tag_end=np.zeros(0, np.int32),
        tag_splits=np.zeros(batch_size * num_segments + 1, np.int32),
    )
