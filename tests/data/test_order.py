"""One order of the blocks for each epoch, computed and not remembered."""

import numpy as np
import pytest

from spanbert_jax.data.host_tensorflow import tf
from spanbert_jax.data.order import epochs_and_blocks


def order(start: int, stop: int, *, num_blocks: int, seed: int = 0) -> np.ndarray:
    examples = tf.range(start, stop, dtype=tf.int64)
    return epochs_and_blocks(examples, num_blocks=num_blocks, seed=seed)[1].numpy()


@pytest.mark.parametrize("num_blocks", [1, 2, 3, 7, 1000])
def test_every_epoch_visits_every_block_once(num_blocks: int) -> None:
    blocks = order(0, 5 * num_blocks, num_blocks=num_blocks).reshape(5, num_blocks)
    np.testing.assert_array_equal(np.sort(blocks, axis=1), [np.arange(num_blocks)] * 5)


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    epochs = order(0, 3000, num_blocks=1000).reshape(3, 1000)
    other_seed = order(0, 1000, num_blocks=1000, seed=1)
    for one, other in [(0, 1), (0, 2), (1, 2)]:
        assert np.mean(epochs[one] == epochs[other]) < 0.01
    assert np.mean(epochs[0] == other_seed) < 0.01


def test_an_example_has_the_same_place_whatever_is_asked_beside_it() -> None:
    whole = order(0, 200, num_blocks=70)
    np.testing.assert_array_equal(whole[130:150], order(130, 150, num_blocks=70))


def test_neighbours_in_the_text_are_far_apart_in_the_order() -> None:
    blocks = order(0, 10_000, num_blocks=10_000)
    correlation = np.corrcoef(np.arange(10_000), blocks)[0, 1]
    assert abs(correlation) < 0.04
    assert np.mean(np.abs(np.diff(blocks)) < 100) < 0.03


def test_example_numbers_may_be_far_beyond_32_bits() -> None:
    num_blocks, start = 3_000_000_019, 10**13
    epochs, blocks = epochs_and_blocks(
        tf.range(start, start + 1000, dtype=tf.int64), num_blocks=num_blocks, seed=2**31 - 1
    )
    assert set(epochs.numpy().tolist()) == {start // num_blocks}
    assert len(set(blocks.numpy().tolist())) == 1000
    assert 0 <= blocks.numpy().min() and blocks.numpy().max() < num_blocks
