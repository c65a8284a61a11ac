"""SplitMix64 in TensorFlow: known values, and uniform numbers that depend on seed and counter."""

import numpy as np

from spanbert_jax.data.host_tensorflow import tf
from spanbert_jax.data.random_bits import fold_in, host_random_bits, random_bits, uniform


def test_bits_are_those_of_the_published_generator() -> None:
    bits = random_bits(
        tf.constant([1234567], tf.uint64), counters=tf.constant([0, 1, 2], tf.uint64)
    )
    # First numbers of seed 1234567, as in the generator's published test vectors.
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    assert bits.numpy().tolist() == expected


def test_bits_are_the_same_outside_of_tensorflow() -> None:
    seeds, counters = (
        np.random.default_rng(i).integers(0, 2**64 - 1, 1_000, np.uint64) for i in range(2)
    )
    bits = random_bits(tf.constant(seeds), counters=tf.constant(counters)).numpy()
    np.testing.assert_array_equal(host_random_bits(seeds, counters=counters), bits)


def test_uniform_numbers_fill_the_unit_interval_evenly() -> None:
    numbers = uniform(tf.constant(5, tf.uint64), stream=1, counters=tf.range(100_000)).numpy()
    assert numbers.min() >= 0.0 and numbers.max() < 1.0
    counts = np.histogram(numbers, bins=20, range=(0, 1))[0]
    assert np.max(np.abs(counts - 5_000)) < 5 * np.sqrt(5_000)


def test_streams_and_seeds_are_independent() -> None:
    seeds = fold_in(tf.constant(0, tf.uint64), tf.range(2))
    counters = tf.range(10_000)
    draws = [
        uniform(seeds[i], stream=stream, counters=counters).numpy()
        for i in range(2)
        for stream in range(2)
    ]
    correlation = np.corrcoef(draws) - np.eye(4)
    assert np.max(np.abs(correlation)) < 0.05
