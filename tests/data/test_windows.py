"""Windows: read whole, joined, kept two at a time, and read ahead."""

import gc
import threading
import weakref
from pathlib import Path

import numpy as np
import pytest

from spanbert_jax.corpus import pieces as corpus_pieces
from spanbert_jax.corpus.pieces import Shard
from spanbert_jax.corpus.shards import open_shard, read_manifest
from spanbert_jax.data.blocks import Rows, document_rows
from spanbert_jax.data.order import DataOrder
from spanbert_jax.data.windows import Pieces, Window, Windows, load_window
from spanbert_jax.errors import UserError


@pytest.fixture
def pieces(make_shards, monkeypatch: pytest.MonkeyPatch) -> Pieces:
    monkeypatch.setattr(corpus_pieces, "PIECE_TOKENS", 200)
    folder: Path = make_shards(train=[10, 8], held_out=[2])
    infos = read_manifest(folder).splits["train"]
    return Pieces([open_shard(folder, info) for info in infos])


def cut(piece: Shard) -> Rows:
    return document_rows(piece, max_tokens=30)[0]


def counted(pieces: Pieces) -> np.ndarray:
    numbers = range(len(pieces))
    return np.array([len(cut(pieces.read_layout(number)).start) for number in numbers])


def test_a_window_holds_the_rows_of_its_pieces_in_their_order(pieces: Pieces) -> None:
    numbers = np.array([4, 0, len(pieces) - 1])
    window = load_window(pieces, numbers, cut=cut, num_rows=counted(pieces))
    rows = []
    for number in numbers.tolist():
        piece = pieces.read(number)
        found = cut(piece)
        rows += [piece.tokens[a : a + n].tolist() for a, n in zip(*found[1:], strict=True)]
        assert pieces.read_layout(number).sentence_ends.tolist() == piece.sentence_ends.tolist()
    runs = window.take(np.arange(len(rows)))
    assert runs.row_splits.tolist() == list(range(len(rows) + 1))
    in_window = zip(runs.start, runs.length, strict=True)
    assert [window.text.tokens[a : a + n].tolist() for a, n in in_window] == rows
    assert window.text.sentence_ends[-1] == len(window.text.tokens)
    assert window.text.document_ends[-1] == len(window.text.sentence_ends)


def test_another_number_of_rows_than_was_counted_is_an_error(pieces: Pieces) -> None:
    num_rows = counted(pieces)
    num_rows[3] -= 1
    load_window(pieces, np.array([2, 4]), cut=cut, num_rows=num_rows)
    with pytest.raises(UserError, match="piece 3 of the corpus .* delete the folder `blocks`"):
        load_window(pieces, np.array([2, 3]), cut=cut, num_rows=num_rows)


def test_parts_of_one_document_are_known_as_such(
    shards_of_documents, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpus_pieces, "PIECE_TOKENS", 200)
    long, short = [[7] * 10] * 90, [[8] * 10]
    folder = shards_of_documents(train=[[long, short], [short, long, short]], held_out=[[short]])
    infos = read_manifest(folder).splits["train"]
    pieces = Pieces([open_shard(folder, info) for info in infos])
    window = load_window(pieces, np.arange(len(pieces)), cut=cut, num_rows=counted(pieces))
    ids = window.document_ids
    assert len(ids) == len(window.text.document_ends) > 5
    ends = window.text.sentence_ends[window.text.document_ends - 1]
    is_long = window.text.tokens[ends - 1] == 7
    assert [len(set(ids[is_long])), len(set(ids[~is_long])), len(set(ids))] == [2, 3, 5]


class Loads:
    """Counts what is loaded, and fails where it is told to."""

    def __init__(self) -> None:
        self.windows: list[list[int]] = []
        self.broken = False
        self.loaded = threading.Event()

    def __call__(self, numbers: np.ndarray) -> Window:
        if self.broken:
            raise UserError("train-00000.tokens.npy: is missing")
        self.windows.append(numbers.tolist())
        self.loaded.set()
        nothing = np.zeros(0, np.int64)
        rows = Rows(np.zeros(1, np.int64), nothing, np.zeros(0, np.int32))
        return Window(Shard(numbers, nothing, nothing), rows, nothing)


@pytest.fixture
def order(monkeypatch: pytest.MonkeyPatch) -> DataOrder:
    monkeypatch.setattr("spanbert_jax.data.order.WINDOW_PIECES", 2)
    return DataOrder(np.full(8, 10), seed=0)


def test_the_next_window_is_read_from_the_middle_of_one_on_and_never_twice(order) -> None:
    loads = Loads()
    windows = Windows(order, load=loads)
    first = windows.get(0, 0, read_next=False)
    assert first.text.tokens.tolist() == order.pieces(0, 0).tolist()
    assert len(loads.windows) == 1
    loads.loaded.clear()
    windows.get(0, 0, read_next=True)
    assert loads.loaded.wait(10)
    assert loads.windows[1] == order.pieces(0, 1).tolist()
    assert windows.get(0, 1, read_next=False).text.tokens.tolist() == loads.windows[1]
    assert len(loads.windows) == 2


def test_two_windows_are_held_and_an_epoch_follows_the_one_before(order) -> None:
    loads = Loads()
    windows = Windows(order, load=loads)
    for epoch, window in [(0, 0), (0, 1), (0, 2), (0, 3), (1, 0), (1, 1)]:
        windows.get(epoch, window, read_next=False)
        assert windows.held <= 2
        windows.get(epoch, window, read_next=True)
        assert windows.held == 2
    # The last one may still be on its way.
    assert 6 <= len(loads.windows) <= 7
    assert len(set(map(tuple, loads.windows))) == len(loads.windows)


def test_a_host_that_never_comes_past_the_middle_holds_no_more(order) -> None:
    windows = Windows(order, load=Loads())
    for epoch in range(5):
        for window in range(4):
            windows.get(epoch, window, read_next=False)
            assert windows.held <= 2


def test_the_window_before_is_kept_for_who_is_a_little_late(order) -> None:
    loads = Loads()
    windows = Windows(order, load=loads)
    windows.get(0, 0, read_next=True)
    for window in (1, 0, 1):
        windows.get(0, window, read_next=False)
    assert len(loads.windows) == 2


def test_a_window_that_could_not_be_read_is_read_when_asked_for_again(order) -> None:
    loads = Loads()
    loads.broken = True
    windows = Windows(order, load=loads)
    with pytest.raises(UserError, match="is missing"):
        windows.get(0, 0, read_next=False)
    loads.broken = False
    found = windows.get(0, 0, read_next=False).text.tokens
    assert found.tolist() == order.pieces(0, 0).tolist()


def test_windows_are_let_go_while_one_is_still_read_ahead(order) -> None:
    reads, go_on = Loads(), threading.Event()

    def load(numbers: np.ndarray) -> Window:
        if reads.windows:
            assert go_on.wait(60)
        return reads(numbers)

    windows = Windows(order, load=load)
    windows.get(0, 0, read_next=True)
    held = weakref.ref(windows)
    del windows
    gc.collect()
    assert held() is None
    go_on.set()
