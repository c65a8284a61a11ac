"""One order of the blocks for each epoch, computed and not remembered."""

import numpy as np
import pytest

from spanbert_jax.data import order
from spanbert_jax.data.order import DataOrder

MANY = np.random.default_rng(0).integers(0, 40, 500)
"""Blocks in each of 500 pieces; some hold none."""


def data_order(*blocks_in_piece: int, seed: int = 0) -> DataOrder:
    return DataOrder(np.array(blocks_in_piece), seed=seed)


def blocks(of: DataOrder, start: int, stop: int) -> np.ndarray:
    return of.locate(np.arange(start, stop)).block


@pytest.mark.parametrize("sizes", [(1,), (2,), (3, 0, 4), tuple(MANY)])
def test_every_epoch_visits_every_block_once(sizes: tuple[int, ...]) -> None:
    of = data_order(*sizes)
    assert of.num_blocks == sum(sizes)
    epochs = blocks(of, 0, 5 * of.num_blocks).reshape(5, -1)
    np.testing.assert_array_equal(np.sort(epochs, axis=1), [np.arange(of.num_blocks)] * 5)


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    epochs = blocks(data_order(*MANY), 0, 3 * MANY.sum()).reshape(3, -1)
    other_seed = blocks(data_order(*MANY, seed=1), 0, MANY.sum())
    for one, other in [(0, 1), (0, 2), (1, 2)]:
        assert np.mean(epochs[one] == epochs[other]) < 0.01
    assert np.mean(epochs[0] == other_seed) < 0.01


def test_an_example_has_the_same_place_whatever_is_asked_before_and_beside_it() -> None:
    whole = data_order(*MANY).locate(np.arange(30_000))
    for start in (29_990, 0, 15_000, 9_000):
        part = data_order(*MANY).locate(np.arange(start, start + 10))
        for one, other in zip(whole, part, strict=True):
            np.testing.assert_array_equal(one[start : start + 10], other)


def test_a_place_says_where_in_its_window_a_block_lies() -> None:
    of = data_order(*MANY)
    first_block = np.cumsum(MANY) - MANY
    places = of.locate(np.arange(2 * of.num_blocks))
    for epoch, window, row, block in list(zip(*places, strict=True))[::97]:
        rows = np.concatenate(
            [
                first_block[piece] + np.arange(MANY[piece])
                for piece in of.pieces(int(epoch), int(window))
            ]
        )
        assert rows[row] == block


def test_windows_are_of_even_size_and_all_pieces_are_in_one_of_them_in_every_epoch() -> None:
    of = data_order(*MANY)
    for epoch in (0, 1):
        windows = [of.pieces(epoch, window) for window in range(4)]
        assert [len(window) for window in windows] == [125] * 4
        assert sorted(np.concatenate(windows).tolist()) == list(range(500))
    assert of.following(0, 2) == (0, 3)
    assert of.following(0, 3) == (1, 0)


def test_no_more_than_a_window_is_read_at_a_time() -> None:
    places = data_order(*MANY).locate(np.arange(2 * MANY.sum()))
    assert np.all(np.diff(places.epoch * 10 + places.window) >= 0)
    assert places.window.max() == 3


def test_a_corpus_of_one_window_is_shuffled_as_a_whole() -> None:
    found = blocks(data_order(*[100] * order.WINDOW_PIECES), 0, 100 * order.WINDOW_PIECES)
    correlation = np.corrcoef(np.arange(len(found)), found)[0, 1]
    assert abs(correlation) < 4 / np.sqrt(len(found))
    assert np.mean(np.abs(np.diff(found)) < 100) < 0.03


def test_a_place_in_a_window_counts_from_its_first_example_to_its_size() -> None:
    of = data_order(*MANY)
    windows = of.locate(np.arange(of.num_blocks)).window
    sizes = np.bincount(windows)
    for window, start in enumerate((np.cumsum(sizes) - sizes).tolist()):
        assert of.place_in_window(start) == (0, sizes[window])
        assert of.place_in_window(of.num_blocks + start + 7)[0] >= 0
        assert of.place_in_window(start + int(sizes[window]) - 1) == (
            sizes[window] - 1, sizes[window],
        )  # fmt: skip


def test_example_numbers_may_be_far_beyond_32_bits() -> None:
    of = DataOrder(np.full(10**6, 3_000), seed=2**31 - 1)
    start = 10**13
    places = of.locate(np.arange(start, start + 1000))
    assert set(places.epoch.tolist()) == {start // (3 * 10**9)}
    assert len(set(places.block.tolist())) == 1000
    assert 0 <= places.block.min() and places.block.max() < 3 * 10**9
