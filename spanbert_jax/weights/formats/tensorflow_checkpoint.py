"""Checkpoints of TensorFlow, as Google released BERT. In: their prefix. Out: `Tensors`.

The prefix bert_model.ckpt stands for bert_model.ckpt.index and bert_model.ckpt.data-*.
"""

import re

import numpy as np
from etils import epath

from spanbert_jax.errors import UserError, storage_error
from spanbert_jax.weights.formats.interface import TensorInfo, Tensors

# What the optimizer keeps of each variable, and what Keras writes about its objects.
_NO_WEIGHT = re.compile(
    r"(?:^|/)(?:global_step|adam_[mv]|Adam(?:_\d+)?)$|\.OPTIMIZER_SLOT|^_CHECKPOINTABLE_OBJECT_GRAPH$"
)


class TensorFlowCheckpoint(Tensors):
    """One checkpoint, without the optimizer's variables."""

    def __init__(self, prefix: epath.Path) -> None:
        # Takes seconds to import, and few models lie in this form.
        from spanbert_jax.data.host_tensorflow import tf

        try:
            self._reader = tf.train.load_checkpoint(str(prefix))
            shapes = self._reader.get_variable_to_shape_map()
            dtypes = self._reader.get_variable_to_dtype_map()
        except (tf.errors.OpError, ValueError, RuntimeError) as error:
            raise storage_error(error) or _damaged(str(prefix), error) from error
        infos = {
            name: TensorInfo(tuple(shapes[name]), np.dtype(dtypes[name].as_numpy_dtype))
            for name in sorted(shapes)
            if not _NO_WEIGHT.search(name)
        }
        super().__init__(str(prefix), infos)

    def _read(self, name: str) -> np.ndarray:
        from spanbert_jax.data.host_tensorflow import tf

        try:
            return np.asarray(self._reader.get_tensor(name))
        except (tf.errors.OpError, ValueError, RuntimeError) as error:
            raise storage_error(error) or _damaged(self.where, error) from error

    def close(self) -> None:
        del self._reader


def _damaged(where: str, error: Exception) -> UserError:
    cause = " ".join(str(error).split())
    return UserError(
        f"{where}: must be a whole checkpoint of TensorFlow, its .index and all .data files beside "
        f"one another, found otherwise ({cause}); download these files again"
    )
