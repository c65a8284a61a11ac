"""Places: where a document stands in the sources, as one number that sorts in reading order."""

import numpy as np
from jaxtyping import Int64, UInt64

# Beside them 24 bits are left for the input: 16 million files.
_NUMBER_BITS = 40


def place_of(input_index: int, number: int) -> int:
    """Place of document `number` of an input, counted over all sources.

    place_of(0, 7) -> 7, place_of(1, 0) -> 1 << 40
    """
    return (input_index << _NUMBER_BITS) + number


def inputs_of(places: UInt64[np.ndarray, " places"]) -> Int64[np.ndarray, " places"]:
    """Indices of the inputs: [place_of(3, 9)] -> [3]."""
    return (places >> np.uint64(_NUMBER_BITS)).astype(np.int64)
