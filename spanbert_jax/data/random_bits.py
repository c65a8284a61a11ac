"""Random numbers without state: number `counter` of the generator that starts at `seed`.

In: seeds and counters. Out: bits, or uniform numbers in [0, 1). What a row draws depends on its own
seed alone, so neither the batch it stands in, nor its host, nor where a run resumed changes it.
Generator: SplitMix64 (Steele, Lea & Flood, "Fast splittable pseudorandom number generators", 2014).
"""

import numpy as np
from jaxtyping import Float64, Int, UInt64

from spanbert_jax.data.host_tensorflow import tf

_GOLDEN_GAMMA = 0x9E3779B97F4A7C15
_MULTIPLIERS = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
_COUNTERS_PER_STREAM_LOG2 = 32


def random_bits(
    seeds: UInt64[tf.Tensor, "..."], *, counters: UInt64[tf.Tensor, "..."]
) -> UInt64[tf.Tensor, "..."]:
    """64 random bits for every pair of seed and counter; the two are broadcast.

    random_bits([1234567], counters=[0, 1, 2])
    -> [6457827717110365317, 3203168211198807973, 9817491932198370423]
    """
    bits = seeds + (counters + 1) * tf.constant(_GOLDEN_GAMMA, tf.uint64)
    bits = (bits ^ _shifted(bits, 30)) * tf.constant(_MULTIPLIERS[0], tf.uint64)
    bits = (bits ^ _shifted(bits, 27)) * tf.constant(_MULTIPLIERS[1], tf.uint64)
    return bits ^ _shifted(bits, 31)


def host_random_bits(
    seeds: UInt64[np.ndarray, " *seeds"], *, counters: UInt64[np.ndarray, " *counters"]
) -> UInt64[np.ndarray, " *both"]:
    """`random_bits` outside of tf.data; arrays of at least one axis, broadcast."""
    bits = seeds + (counters + np.uint64(1)) * np.uint64(_GOLDEN_GAMMA)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(_MULTIPLIERS[0])
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(_MULTIPLIERS[1])
    return bits ^ (bits >> np.uint64(31))


def fold_in(
    seeds: UInt64[tf.Tensor, "..."], numbers: Int[tf.Tensor, "..."]
) -> UInt64[tf.Tensor, "..."]:
    """A seed for each number: fold_in(fold_in(run_seed, epoch), block) is the seed of a mask."""
    return random_bits(seeds, counters=tf.cast(numbers, tf.uint64))


def uniform(
    seeds: UInt64[tf.Tensor, "..."], *, stream: int, counters: Int[tf.Tensor, "..."]
) -> Float64[tf.Tensor, "..."]:
    """Uniform numbers in [0, 1) with 53 random bits; below 1 even after `n * uniform` is rounded.

    `stream` separates the purposes one seed serves; counters must be below 2^32.
    """
    bits = stream_bits(seeds, stream=stream, counters=counters)
    return tf.cast(_shifted(bits, 11), tf.float64) * 2**-53


def stream_bits(
    seeds: UInt64[tf.Tensor, "..."], *, stream: int, counters: Int[tf.Tensor, "..."]
) -> UInt64[tf.Tensor, "..."]:
    """The 64 random bits that `uniform` makes its numbers of."""
    first = tf.constant(stream << _COUNTERS_PER_STREAM_LOG2, tf.uint64)
    return random_bits(seeds, counters=tf.cast(counters, tf.uint64) + first)


def _shifted(bits: UInt64[tf.Tensor, "..."], by: int) -> UInt64[tf.Tensor, "..."]:
    return tf.bitwise.right_shift(bits, tf.constant(by, tf.uint64))
