"""Checkpoints of TensorFlow, as Google released BERT. In: their prefix. Out: `Tensors`.

The prefix bert_model.ckpt stands for bert_model.ckpt.index and bert_model.ckpt.data-*.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from etils import epath

from spanbert_jax.errors import UserError, storage_error
from spanbert_jax.weights.formats.interface import TensorInfo, Tensors

# What the optimizer keeps of each variable, and what Keras writes about its objects.
_NO_WEIGHT = re.compile(
    r"(?:^|/)(?:global_step|beta[12]_power(?:_\d+)?|adam_[mv]|Adam(?:_\d+)?)$"
    r"|\.OPTIMIZER_SLOT|^_CHECKPOINTABLE_OBJECT_GRAPH$"
)


class TensorFlowCheckpoint(Tensors):
    """One checkpoint, without the optimizer's variables."""

    def __init__(self, prefix: epath.Path) -> None:
        # Takes seconds to import, and few models lie in this form.
        from spanbert_jax.data.host_tensorflow import tf

        where = str(prefix)
        with _damage_explained(where):
            self._reader = tf.train.load_checkpoint(where)
            shapes = self._reader.get_variable_to_shape_map()
            dtypes = self._reader.get_variable_to_dtype_map()
        infos = {
            name: TensorInfo(tuple(shapes[name]), np.dtype(dtypes[name].as_numpy_dtype))
            for name in sorted(shapes)
            if not _NO_WEIGHT.search(name)
        }
        super().__init__(where, infos)

    def _read(self, name: str) -> np.ndarray:
        with _damage_explained(self.where):
            return np.asarray(self._reader.get_tensor(name))

    def close(self) -> None:
        self._reader = None


@contextmanager
def _damage_explained(where: str) -> Iterator[None]:
    try:
        yield
    # TensorFlow turns its own errors into these where it raises them for Python.
    except (OSError, ValueError, RuntimeError, IndexError, KeyError) as error:
        raise _damaged(where, error) from error
    except Exception as error:
        if not type(error).__module__.startswith("tensorflow."):
            raise
        raise storage_error(error) or _damaged(where, error) from error


def _damaged(where: str, error: Exception) -> UserError:
    cause = " ".join(str(error).split())
    return UserError(
        f"{where}: must be a whole checkpoint of TensorFlow, its .index and all .data files beside "
        f"one another, found otherwise ({cause}); download these files again"
    )
