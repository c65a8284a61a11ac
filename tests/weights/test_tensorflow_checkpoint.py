"""BERT as Google released it is read by its names, without what the optimizer kept."""

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from spanbert_jax.data.host_tensorflow import tf
from spanbert_jax.errors import UserError
from spanbert_jax.weights.tensors import open_tensors

ARRAYS = {
    "bert/embeddings/word_embeddings": np.arange(12, dtype=np.float32).reshape(4, 3),
    "bert/pooler/dense/bias": np.array([0.5, -1.0], np.float32),
    "cls/predictions/output_bias": np.array([1.5, -3.0], ml_dtypes.bfloat16),
}
OPTIMIZER = {
    "bert/embeddings/word_embeddings/adam_m": np.zeros((4, 3), np.float32),
    "bert/embeddings/word_embeddings/adam_v": np.zeros((4, 3), np.float32),
    "global_step": np.array(1_000_000, np.int64),
}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """bert_model.ckpt.index and bert_model.ckpt.data-00000-of-00001."""
    prefix = tmp_path / "bert_model.ckpt"
    tensors = ARRAYS | OPTIMIZER
    tf.raw_ops.SaveV2(
        prefix=str(prefix),
        tensor_names=list(tensors),
        shape_and_slices=[""] * len(tensors),
        tensors=[tf.constant(array) for array in tensors.values()],
    )
    return prefix


@pytest.mark.parametrize("name", ["", "bert_model.ckpt", "bert_model.ckpt.index"])
def test_weights_are_read_from_folder_prefix_or_index(checkpoint, name):
    with open_tensors(checkpoint.parent / name) as tensors:
        assert tensors.names() == list(ARRAYS)
        for name, array in ARRAYS.items():
            assert tensors.info(name).shape == array.shape
            assert tensors.info(name).dtype == tensors[name].dtype == array.dtype
            np.testing.assert_array_equal(tensors[name], array)


def test_several_checkpoints_in_a_folder_are_not_chosen_among(checkpoint):
    (checkpoint.parent / "model.ckpt-20.index").touch()
    with pytest.raises(UserError, match=r"must hold one \*.ckpt\*.index, found bert_model.ckpt.in"):
        open_tensors(checkpoint.parent)


def test_a_checkpoint_without_its_data_is_refused(checkpoint):
    Path(f"{checkpoint}.data-00000-of-00001").unlink()
    with pytest.raises(UserError, match=r"bert_model.ckpt: must be a whole checkpoint"):
        with open_tensors(checkpoint) as tensors:
            tensors["bert/pooler/dense/bias"]


def test_a_truncated_checkpoint_is_refused(checkpoint):
    for suffix, kept in ((".data-00000-of-00001", 20), (".index", 30)):
        path = Path(f"{checkpoint}{suffix}")
        path.write_bytes(path.read_bytes()[:kept])
        with pytest.raises(UserError, match=r"bert_model.ckpt: must be a whole checkpoint"):
            with open_tensors(checkpoint) as tensors:
                tensors["bert/embeddings/word_embeddings"]
