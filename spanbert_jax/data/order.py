"""The order of the data: which block, of which epoch, is global example number g.

In: numbers of examples. Out: epochs and blocks. A computation, not a state: example 10^11 costs
what example 0 costs, and every host finds its own rows without the others.
"""

from jaxtyping import Int64

from spanbert_jax.data.host_tensorflow import tf
from spanbert_jax.data.random_bits import fold_in

# The op's own 4 rounds, keyed with (seed, epoch) as they are, put a tenth of 1,000 blocks in the
# same place in two epochs, and correlate epochs of 100,000. With 12 and mixed keys neither is seen.
_CIPHER_ROUNDS = 12


def epochs_and_blocks(
    examples: Int64[tf.Tensor, " n"], *, num_blocks: int, seed: int
) -> tuple[Int64[tf.Tensor, " n"], Int64[tf.Tensor, " n"]]:
    """Epoch and block of each example.

    An epoch visits every block once, in an order that depends on (seed, epoch) alone; the example
    after its last is the first of the next epoch.

    num_blocks = 3, examples = [0, 1, 2, 3] -> epochs = [0, 0, 0, 1],
    blocks = a permutation of 0, 1, 2, then the first of another
    """
    epochs = examples // num_blocks
    epoch_seeds = fold_in(tf.constant(seed, tf.uint64), epochs)
    keys = tf.cast(fold_in(epoch_seeds[:, None], tf.range(3)), tf.uint32)
    blocks = tf.raw_ops.RandomIndexShuffle(
        index=examples - epochs * num_blocks,
        seed=keys,
        max_index=tf.constant(num_blocks - 1, tf.int64),
        rounds=_CIPHER_ROUNDS,
    )
    return epochs, blocks
