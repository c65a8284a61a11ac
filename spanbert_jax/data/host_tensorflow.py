"""TensorFlow as the data layer uses it: on the host's processors only.

In: nothing. Out: `tf`. Every module of this layer takes TensorFlow from here, so that the input
pipeline never claims an accelerator: JAX needs its memory.
"""

import tensorflow as tf

tf.config.set_visible_devices([], "GPU")

__all__ = ["tf"]
