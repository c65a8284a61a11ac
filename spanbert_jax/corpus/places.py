"""Places: where a document stands in the sources, as one number that sorts in reading order."""

# Beside them 24 bits are left for the input: 16 million files.
_NUMBER_BITS = 40


def place_of(input_index: int, number: int) -> int:
    """Place of document `number` of an input, counted over all sources.

    place_of(0, 7) -> 7, place_of(1, 0) -> 1 << 40
    """
    return (input_index << _NUMBER_BITS) + number


def input_of(place: int) -> int:
    """Index of the input: input_of(place_of(3, 9)) -> 3."""
    return place >> _NUMBER_BITS
