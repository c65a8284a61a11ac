"""Windows of text in memory: the pieces that are shuffled together, read ahead in the background.

In: the shards of a split, and an order. Out: windows. Two are held at a time: the one that rows are
taken from, and, from its middle on, the next.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64

from spanbert_jax.corpus.pieces import Shard
from spanbert_jax.corpus.shards import ShardFiles
from spanbert_jax.data.blocks import Rows
from spanbert_jax.data.order import DataOrder
from spanbert_jax.data.rows import Runs

# Reads in flight: a bucket answers each in tens of milliseconds.
_NUM_READERS = 8


class Pieces:
    """The pieces of all shards of a split, as one list."""

    def __init__(self, shards: Sequence[ShardFiles]) -> None:
        self._shards = shards
        self.tables = [shard.table for shard in shards]
        sizes = list(map(len, self.tables))
        self._first = np.cumsum([0, *sizes])
        self.num_tokens = np.concatenate(
            [np.zeros(0, np.int64), *(table["num_tokens"] for table in self.tables)]
        )

    def __len__(self) -> int:
        return len(self.num_tokens)

    @property
    def dtype(self) -> np.dtype:
        return self._shards[0].dtype

    def read(self, number: int) -> Shard:
        shard, piece = self._find(number)
        return shard.read(piece)

    def read_layout(self, number: int) -> Shard:
        """Without the token ids: see `ShardFiles.read_layout`."""
        shard, piece = self._find(number)
        return shard.read_layout(piece)

    def _find(self, number: int) -> tuple[ShardFiles, int]:
        shard = int(np.searchsorted(self._first, number, side="right")) - 1
        return self._shards[shard], number - int(self._first[shard])


class Window(NamedTuple):
    """The text of some pieces, and the rows that each was cut into."""

    text: Shard
    rows: Rows

    def runs(self, rows: Int64[np.ndarray, " n"]) -> Runs:
        """The runs of these rows, in the order asked for."""
        first = self.rows.row_splits[rows]
        count = self.rows.row_splits[rows + 1] - first
        splits = np.append(0, np.cumsum(count))
        run = np.arange(splits[-1]) + np.repeat(first - splits[:-1], count)
        return Runs(splits, self.rows.start[run], self.rows.length[run].astype(np.int64))


def load_window(
    pieces: Pieces, numbers: Int64[np.ndarray, " pieces"], *, cut: Callable[[Shard], Rows]
) -> Window:
    """Read pieces, several at a time, and cut each into rows."""
    num_tokens = pieces.num_tokens[numbers]
    starts = np.cumsum(num_tokens) - num_tokens
    tokens = np.empty(num_tokens.sum(), pieces.dtype)

    def load(number: int, start: int) -> tuple[Shard, Rows]:
        piece = pieces.read(number)
        tokens[start : start + len(piece.tokens)] = piece.tokens
        # The piece's own ids are let go: in the window they are already.
        return piece._replace(tokens=piece.tokens[:0]), cut(piece)

    with ThreadPoolExecutor(_NUM_READERS) as readers:
        loaded = list(readers.map(load, numbers.tolist(), starts.tolist()))
    return join_window(tokens, [part for part, _ in loaded], [rows for _, rows in loaded], starts)


def join_window(
    tokens: np.ndarray, layouts: list[Shard], rows: list[Rows], starts: Int64[np.ndarray, " pieces"]
) -> Window:
    """One window of the pieces' layouts and rows; starts: of each piece in `tokens`."""
    num_sentences = np.cumsum([0, *(len(layout.sentence_ends) for layout in layouts)])
    num_runs = np.cumsum([0, *(len(each.start) for each in rows)])
    parts = list(zip(layouts, rows, starts, num_sentences, num_runs))  # noqa: B905
    text = Shard(
        tokens,
        np.concatenate([layout.sentence_ends + start for layout, _, start, _, _ in parts]),
        np.concatenate([layout.document_ends + first for layout, _, _, first, _ in parts]),
        np.concatenate([layout.spans + start for layout, _, start, _, _ in parts]),
    )
    splits = [each.row_splits[:-1] + first for _, each, _, _, first in parts]
    return Window(
        text,
        Rows(
            np.concatenate([*splits, num_runs[-1:]]),
            np.concatenate([each.start + start for _, each, start, _, _ in parts]),
            np.concatenate([each.length for each in rows]),
        ),
    )


class Windows:
    """The windows of an order; asked for in its order, each is at hand when it is needed."""

    def __init__(self, order: DataOrder, *, load: Callable[[Int64[np.ndarray, " n"]], Window]):
        self._order = order
        self._load = load
        self._lock = threading.Lock()
        self._loading: dict[tuple[int, int], Future[Window]] = {}
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="window")

    def get(self, epoch: int, window: int, *, is_past_middle: bool) -> Window:
        """A window; from its middle on, the ones before are let go and the next one is read."""
        with self._lock:
            found = self._request((epoch, window))
            if is_past_middle:
                following = self._order.following(epoch, window)
                for key in [key for key in self._loading if key < (epoch, window)]:
                    del self._loading[key]
                if following != (epoch, window):
                    self._request(following)
        try:
            return found.result()
        except BaseException:
            with self._lock:
                # What could not be read may be mended until it is asked for again.
                self._loading.pop((epoch, window), None)
            raise

    @property
    def held(self) -> int:
        """Windows in memory or on their way there."""
        with self._lock:
            return len(self._loading)

    def _request(self, key: tuple[int, int]) -> "Future[Window]":
        if key not in self._loading:
            self._loading[key] = self._loader.submit(lambda: self._load(self._order.pieces(*key)))
        return self._loading[key]
