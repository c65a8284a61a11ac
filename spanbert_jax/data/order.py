"""The order of the data: which block, of which epoch, is global example number g.

In: how many blocks each piece of the corpus holds, and a seed. Out: epochs, windows and blocks.

The pieces of the corpus (a megabyte each) are dealt at random into windows, anew in every epoch,
and the blocks of a window are put in random order. So a host reads whole pieces, one window after
the other, and needs no more than two at a time, while a batch holds text from a whole window: from
all of the corpus, where that is no larger. A computation, not a state: example 10^11 costs what
example 0 costs, and every host finds its own rows without the others.
"""

import functools
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64, UInt64

from spanbert_jax.data.random_bits import host_random_bits

WINDOW_PIECES = 128
"""Pieces shuffled together, at most: 67 M tokens, 128 MiB at two bytes a token."""

# Numbers of keys that no block has: a block's own are for its mask.
_PIECES_KEY = 2**64 - 1
_FIRST_WINDOW_KEY = 2**63


class Places(NamedTuple):
    """Where each of n examples lies."""

    epoch: Int64[np.ndarray, " n"]
    window: Int64[np.ndarray, " n"]
    """Of its epoch."""
    row: Int64[np.ndarray, " n"]
    """Among the blocks of the window's pieces, one piece after the other as the window has them."""
    block: Int64[np.ndarray, " n"]
    """Among all blocks of the corpus: its identity, whatever the epoch."""


class PlaceInWindow(NamedTuple):
    """Where in its window an example lies."""

    passed: int
    """Examples of the window before it."""
    size: int
    """All examples of the window."""


class _Epoch(NamedTuple):
    windows: list[Int64[np.ndarray, " pieces"]]
    starts: Int64[np.ndarray, " windows_and_end"]
    """In examples, of the epoch."""


class _Window(NamedTuple):
    pieces: Int64[np.ndarray, " pieces"]
    starts: Int64[np.ndarray, " pieces"]
    """First row of each piece."""
    order: Int64[np.ndarray, " rows"]
    """Row of each example of the window."""


class DataOrder:
    """An epoch visits every block once, in an order that depends on (seed, epoch) alone.

    The example after an epoch's last is the first of the next.
    """

    def __init__(self, blocks_in_piece: Int64[np.ndarray, " pieces"], *, seed: int) -> None:
        self._blocks_in_piece = blocks_in_piece
        self._first_block = np.cumsum(blocks_in_piece) - blocks_in_piece
        self._seed = np.array([seed], np.uint64)
        self.num_blocks = int(blocks_in_piece.sum())
        self._epoch = functools.lru_cache(maxsize=2)(self._make_epoch)
        self._window = functools.lru_cache(maxsize=4)(self._make_window)

    def locate(self, examples: Int64[np.ndarray, " n"]) -> Places:
        """Epoch, window, row and block of each example.

        blocks_in_piece = [2, 1], examples = [0, 1, 2, 3] -> epoch = [0, 0, 0, 1], window all 0,
        block = a permutation of 0, 1, 2, then the first of another
        """
        epochs, rest = np.divmod(examples, self.num_blocks)
        places = Places(epochs, *(np.empty_like(examples) for _ in Places._fields[1:]))
        for epoch in np.unique(epochs).tolist():
            of_epoch = epochs == epoch
            starts = self._epoch(epoch).starts
            places.window[of_epoch] = np.searchsorted(starts, rest[of_epoch], side="right") - 1
            for number in np.unique(places.window[of_epoch]).tolist():
                here = of_epoch & (places.window == number)
                window = self._window(epoch, number)
                row = window.order[rest[here] - starts[number]]
                piece = np.searchsorted(window.starts, row, side="right") - 1
                places.row[here] = row
                first = self._first_block[window.pieces[piece]]
                places.block[here] = first + row - window.starts[piece]
        return places

    def pieces(self, epoch: int, window: int) -> Int64[np.ndarray, " pieces"]:
        """The pieces of a window, in its order."""
        return self._window(epoch, window).pieces

    def place_in_window(self, example: int) -> PlaceInWindow:
        epoch, rest = divmod(example, self.num_blocks)
        starts = self._epoch(epoch).starts
        window = int(np.searchsorted(starts, rest, side="right")) - 1
        size = int(starts[window + 1] - starts[window])
        return PlaceInWindow(rest - int(starts[window]), size)

    def following(self, epoch: int, window: int) -> tuple[int, int]:
        """Epoch and number of the window after one."""
        last = len(self._epoch(epoch).windows) - 1
        return (epoch, window + 1) if window < last else (epoch + 1, 0)

    def _make_epoch(self, epoch: int) -> _Epoch:
        num_pieces = len(self._blocks_in_piece)
        pieces = _permutation(num_pieces, key=self._key(epoch, _PIECES_KEY))
        windows = np.array_split(pieces, -(-num_pieces // WINDOW_PIECES))
        sizes = [int(self._blocks_in_piece[window].sum()) for window in windows]
        return _Epoch(windows, np.cumsum([0, *sizes], dtype=np.int64))

    def _make_window(self, epoch: int, window: int) -> _Window:
        pieces = self._epoch(epoch).windows[window]
        sizes = self._blocks_in_piece[pieces]
        key = self._key(epoch, _FIRST_WINDOW_KEY + window)
        order = _permutation(int(sizes.sum()), key=key)
        return _Window(pieces, np.cumsum(sizes) - sizes, order)

    def _key(self, epoch: int, number: int) -> UInt64[np.ndarray, "1"]:
        of_epoch = host_random_bits(self._seed, counters=np.array([epoch], np.uint64))
        return host_random_bits(of_epoch, counters=np.array([number], np.uint64))


def _permutation(size: int, *, key: UInt64[np.ndarray, "1"]) -> Int64[np.ndarray, " size"]:
    """A random order of 0..size-1: as 64 random bits for each would sort them."""
    bits = host_random_bits(key, counters=np.arange(size, dtype=np.uint64))
    return np.argsort(bits, kind="stable")
