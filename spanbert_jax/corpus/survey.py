"""What must be known of the whole corpus before it is encoded: global figures.

In: rows of scanned documents. Out: which documents are held out, and which are left out for what
others hold.
"""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Int64, UInt64

from spanbert_jax.corpus.places import inputs_of


@dataclass(frozen=True)
class PlaceSet:
    """Places, eight bytes each."""

    places: UInt64[np.ndarray, " places"] = field(default_factory=lambda: np.zeros(0, np.uint64))
    """Ascending."""

    def __contains__(self, place: object) -> bool:
        assert isinstance(place, int)
        at = int(np.searchsorted(self.places, np.uint64(place)))
        return at < len(self.places) and bool(self.places[at] == place)


@dataclass(frozen=True)
class Survey:
    """Figures of the whole corpus, and the documents that they leave out."""

    held_out_limit: int
    """Documents with a key below it are held out."""
    left_out: PlaceSet = field(default_factory=PlaceSet)
    """Documents that are left out for what others hold."""
    counts: Counter[str] = field(default_factory=Counter)
    """How many these are, by reason."""
    source_shares: tuple[float, ...] = ()
    """Share of each source in the text that is kept; empty where no mixture is asked for."""


def sources_of(
    places: UInt64[np.ndarray, " documents"], num_inputs: list[int]
) -> Int64[np.ndarray, " documents"]:
    """Number of the source that each document is of; the sources have so many inputs."""
    return np.searchsorted(np.cumsum(num_inputs), inputs_of(places), side="right")


def mark_shared(numbers: UInt64[np.ndarray, " documents"]) -> Bool[np.ndarray, " documents"]:
    """Those that occur more than once: [7, 3, 7] -> True, False, True."""
    order = np.argsort(numbers, kind="stable")
    same = numbers[order][1:] == numbers[order][:-1]
    shared = np.zeros(len(numbers), bool)
    shared[order[1:][same]] = shared[order[:-1][same]] = True
    return shared
