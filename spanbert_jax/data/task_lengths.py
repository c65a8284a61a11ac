"""Lengths that batches are padded to: few, since each is compiled, and close to what the rows need.

In: the longest row of every batch of a run. Out: the lengths that make compiling and padding
together cheapest.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

# Lengths that come into question are multiples of it.
MULTIPLE = 8


def cheapest_lengths(
    longest: Iterable[int], *, max_length: int, batch_size: int, tokens_to_compile: int
) -> tuple[int, ...]:
    """The lengths, ascending, that all batches are padded to.

    Of 10 batches of at most 9 tokens and one of 30, two rows each:
    tokens_to_compile 0 -> (16, 32); 1,000 -> (32,)

    longest: length of the longest row of each batch, as often as it is computed.
    max_length: of any row, and of the last multiple.
    tokens_to_compile: so many tokens could be computed in the time that one more length takes.
    """
    batches = Counter(min(-(-each // MULTIPLE) * MULTIPLE, max_length) for each in longest)
    lengths = sorted(batches)
    # Costs of the batches up to a length, which is the last of those that are chosen.
    best: list[tuple[int, tuple[int, ...]]] = [(0, ())]
    for end, length in enumerate(lengths):
        options = []
        for begin in range(end + 1):
            padded = sum(batches[each] for each in lengths[begin : end + 1]) * batch_size * length
            cost, chosen = best[begin]
            options.append((cost + padded + tokens_to_compile, (*chosen, length)))
        best.append(min(options))
    return best[-1][1]


def padded_to(length: int, lengths: Sequence[int]) -> int | None:
    """The first of the ascending `lengths` that is long enough, None where none is.

    padded_to(9, (16, 32)) -> 16; padded_to(40, (16, 32)) -> None
    """
    return next((each for each in lengths if each >= length), None)
