"""TensorFlow as the data layer uses it: on the host's processors only.

In: nothing. Out: `tf`. Every module of this layer takes TensorFlow from here, so that the input
pipeline never claims an accelerator: JAX needs its memory.
"""

import os

# TensorFlow says at every start which CPU instructions it uses; warnings and errors still come.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
# Nothing here multiplies matrices, and the library for it announces itself below any log level.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import tensorflow as tf  # noqa: E402

tf.config.set_visible_devices([], "GPU")

__all__ = ["tf"]
