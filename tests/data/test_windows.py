"""Windows: read whole, joined, kept two at a time, and read ahead."""

import threading
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


def cut(piece):
    return document_rows(piece, max_tokens=30)[0]


def test_a_window_holds_the_rows_of_its_pieces_in_their_order(pieces: Pieces) -> None:
    numbers = np.array([4, 0, len(pieces) - 1])
    window = load_window(pieces, numbers, cut=cut)
    rows = []
    for number in numbers.tolist():
        piece = pieces.read(number)
        found = cut(piece)
        rows += [piece.tokens[a : a + n].tolist() for a, n in zip(*found[1:], strict=True)]
        assert pieces.read_layout(number).sentence_ends.tolist() == piece.sentence_ends.tolist()
    runs = window.runs(np.arange(len(rows)))
    assert runs.splits.tolist() == list(range(len(rows) + 1))
    in_window = zip(runs.start, runs.length, strict=True)
    assert [window.text.tokens[a : a + n].tolist() for a, n in in_window] == rows
    assert window.text.sentence_ends[-1] == len(window.text.tokens)
    assert window.text.document_ends[-1] == len(window.text.sentence_ends)


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
        return Window(Shard(numbers, nothing, nothing), rows)


@pytest.fixture
def order(monkeypatch: pytest.MonkeyPatch) -> DataOrder:
    monkeypatch.setattr("spanbert_jax.data.order.WINDOW_PIECES", 2)
    return DataOrder(np.full(8, 10), seed=0)


def test_the_next_window_is_read_from_the_middle_of_one_on_and_never_twice(order) -> None:
    loads = Loads()
    windows = Windows(order, load=loads)
    first = windows.get(0, 0, is_past_middle=False)
    assert first.text.tokens.tolist() == order.pieces(0, 0).tolist()
    assert len(loads.windows) == 1
    loads.loaded.clear()
    windows.get(0, 0, is_past_middle=True)
    assert loads.loaded.wait(10)
    assert loads.windows[1] == order.pieces(0, 1).tolist()
    assert windows.get(0, 1, is_past_middle=False).text.tokens.tolist() == loads.windows[1]
    assert len(loads.windows) == 2


def test_two_windows_are_held_and_an_epoch_follows_the_one_before(order) -> None:
    windows = Windows(order, load=Loads())
    for epoch, window in [(0, 0), (0, 1), (0, 2), (0, 3), (1, 0), (1, 1)]:
        windows.get(epoch, window, is_past_middle=False)
        assert windows.held <= 2
        windows.get(epoch, window, is_past_middle=True)
        assert windows.held == 2


def test_a_window_that_could_not_be_read_is_read_when_asked_for_again(order) -> None:
    loads = Loads()
    loads.broken = True
    windows = Windows(order, load=loads)
    with pytest.raises(UserError, match="is missing"):
        windows.get(0, 0, is_past_middle=False)
    loads.broken = False
    found = windows.get(0, 0, is_past_middle=False).text.tokens
    assert found.tolist() == order.pieces(0, 0).tolist()
