"""Windows of text in memory: the pieces that are shuffled together, read ahead in the background.

In: the shards of a split, and an order. Out: windows. Two are held at a time: the one that rows are
taken from, and the one before it in its first half, the next one in its second.
"""

import hashlib
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
from spanbert_jax.errors import UserError

# Reads in flight: a bucket answers each in tens of milliseconds.
NUM_READERS = 8


class Pieces:
    """The pieces of all shards of a split, as one list."""

    def __init__(self, shards: Sequence[ShardFiles]) -> None:
        self._shards = shards
        self.tables = [shard.table for shard in shards]
        sizes = list(map(len, self.tables))
        self._first = np.cumsum([0, *sizes])
        self.num_tokens = self._column("num_tokens")
        # A document that goes on in a piece has begun in one before.
        begun = self._column("num_documents") - (self._column("goes_on") > 0)
        self._documents_before = np.cumsum(begun) - self._column("num_documents")

    def _column(self, name: str) -> Int64[np.ndarray, " pieces"]:
        return np.concatenate([np.zeros(0, np.int64), *(table[name] for table in self.tables)])

    def __len__(self) -> int:
        return len(self.num_tokens)

    @property
    def dtype(self) -> np.dtype:
        return self._shards[0].dtype

    @property
    def fingerprint(self) -> str:
        """Of the text: of the checksums of all pieces, in their order."""
        digest = hashlib.sha256()
        for table in self.tables:
            digest.update(table[["tokens_crc32", "layout_crc32"]].tobytes())
        return digest.hexdigest()

    def read(self, number: int) -> Shard:
        shard, piece = self._find(number)
        return shard.read(piece)

    def read_layout(self, number: int) -> Shard:
        """Without the token ids: see `ShardFiles.read_layout`."""
        shard, piece = self._find(number)
        return shard.read_layout(piece)

    def document_ids(self, number: int, count: int) -> Int64[np.ndarray, " documents"]:
        """Of the `count` documents of a piece: the same for all parts of one document."""
        return self._documents_before[number] + np.arange(count)

    def _find(self, number: int) -> tuple[ShardFiles, int]:
        shard = int(np.searchsorted(self._first, number, side="right")) - 1
        return self._shards[shard], number - int(self._first[shard])


class Window(NamedTuple):
    """The text of some pieces, and the rows that each was cut into."""

    text: Shard
    rows: Rows
    document_ids: Int64[np.ndarray, " documents"]
    """Of each document of the text: the same where two are parts of one that pieces cut."""

    def take(self, rows: Int64[np.ndarray, " n"]) -> Rows:
        """These rows, in the order asked for."""
        first = self.rows.row_splits[rows]
        count = self.rows.row_splits[rows + 1] - first
        splits = np.append(0, np.cumsum(count))
        run = np.arange(splits[-1]) + np.repeat(first - splits[:-1], count)
        return Rows(splits, self.rows.start[run], self.rows.length[run])


def load_window(
    pieces: Pieces,
    numbers: Int64[np.ndarray, " pieces"],
    *,
    cut: Callable[[Shard], Rows],
    num_rows: Int64[np.ndarray, " all_pieces"],
) -> Window:
    """Read pieces, several at a time, and cut each into rows.

    num_rows: of every piece of the corpus, as they were counted.

    Raises:
        UserError: a piece is missing or altered, or gives another number of rows.
    """
    num_tokens = pieces.num_tokens[numbers]
    starts = np.cumsum(num_tokens) - num_tokens
    tokens = np.empty(num_tokens.sum(), pieces.dtype)

    def load(number: int, start: int) -> tuple[Shard, Rows]:
        piece = pieces.read(number)
        tokens[start : start + len(piece.tokens)] = piece.tokens
        rows = cut(piece)
        _check_count(len(rows.row_splits) - 1, counted=int(num_rows[number]), piece=number)
        # The piece's own ids are let go: in the window they are already.
        return piece._replace(tokens=piece.tokens[:0]), rows

    with ThreadPoolExecutor(NUM_READERS) as readers:
        loaded = list(readers.map(load, numbers.tolist(), starts.tolist()))
    documents = [
        pieces.document_ids(number, len(layout.document_ends))
        for number, (layout, _) in zip(numbers.tolist(), loaded, strict=True)
    ]
    return join_window(tokens, loaded, starts=starts, document_ids=np.concatenate(documents))


def _check_count(found: int, *, counted: int, piece: int) -> None:
    if found != counted:
        raise UserError(
            f"--data.shards: piece {piece} of the corpus must be cut into as many rows as were "
            f"counted, {counted}, found {found}: they were counted by another version; delete the "
            "folder `blocks` in the shards, and run the same command again"
        )


def join_window(
    tokens: np.ndarray,
    parts: list[tuple[Shard, Rows]],
    *,
    starts: Int64[np.ndarray, " pieces"],
    document_ids: Int64[np.ndarray, " documents"],
) -> Window:
    """One window of the pieces' layouts and rows; starts: of each piece in `tokens`."""
    layouts, rows = zip(*parts, strict=True)
    num_sentences = np.cumsum([0, *(len(layout.sentence_ends) for layout in layouts)])
    num_runs = np.cumsum([0, *(len(each.start) for each in rows)])
    return Window(
        Shard(
            tokens,
            _moved([layout.sentence_ends for layout in layouts], starts),
            _moved([layout.document_ends for layout in layouts], num_sentences[:-1]),
            _moved([layout.spans for layout in layouts], starts),
        ),
        Rows(
            np.append(_moved([each.row_splits[:-1] for each in rows], num_runs[:-1]), num_runs[-1]),
            _moved([each.start for each in rows], starts),
            np.concatenate([each.length for each in rows]),
        ),
        document_ids,
    )


def _moved(parts: list[np.ndarray], by: Int64[np.ndarray, " parts"]) -> np.ndarray:
    """_moved([[1, 2], [1]], by=[0, 10]) -> [1, 2, 11]"""
    return np.concatenate([part + offset for part, offset in zip(parts, by, strict=True)])


class Windows:
    """The windows of an order; asked for in its order, each is at hand when it is needed."""

    def __init__(self, order: DataOrder, *, load: Callable[[Int64[np.ndarray, " n"]], Window]):
        self._order = order
        self._load = load
        self._lock = threading.Lock()
        self._loading: dict[tuple[int, int], Future[Window]] = {}
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="window")

    def get(self, epoch: int, window: int, *, read_next: bool) -> Window:
        """A window; with `read_next` the one before is let go, and the next one read.

        Whatever lies further away is let go in any case.
        """
        key, following = (epoch, window), self._order.following(epoch, window)
        with self._lock:
            found = self._request(key)
            before = sorted(other for other in self._loading if other < key)
            kept = {key, following, *([] if read_next else before[-1:])}
            for other in self._loading.keys() - kept:
                del self._loading[other]
            if read_next:
                self._request(following)
        try:
            return found.result()
        except BaseException:
            with self._lock:
                # What could not be read may be mended until it is asked for again.
                self._loading.pop(key, None)
            raise

    @property
    def held(self) -> int:
        """Windows in memory or on their way there."""
        with self._lock:
            return len(self._loading)

    def _request(self, key: tuple[int, int]) -> "Future[Window]":
        if key not in self._loading:
            # Not of `self`: whoever lets windows go does not wait for what is read ahead.
            load, order = self._load, self._order
            self._loading[key] = self._loader.submit(lambda: load(order.pieces(*key)))
        return self._loading[key]
