"""Weights on gs:// are read and written as those on a disk are."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from etils.epath import backend

from spanbert_jax.data.host_tensorflow import tf
from spanbert_jax.errors import UserError
from spanbert_jax.weights.tensors import open_tensors, write_safetensors

FILES = Path(__file__).parent / "files"


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that stands in for gs://bucket: the files of TensorFlow, under another name."""

    class Elsewhere:
        def __getattr__(self, name: str):
            function = getattr(tf.io.gfile, name)

            def elsewhere(*paths: str, **options: bool):
                return function(*(p.replace("gs:/", str(tmp_path)) for p in paths), **options)

            return elsewhere

    monkeypatch.setattr(type(backend.tf_backend), "gfile", Elsewhere())
    (tmp_path / "bucket").mkdir()
    return tmp_path / "bucket"


def test_what_is_written_to_an_address_is_read_from_there(bucket):
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    write_safetensors("gs://bucket/model.safetensors", {"weight": array}, {"format": "pt"})
    assert [path.name for path in bucket.iterdir()] == ["model.safetensors"]
    with open_tensors("gs://bucket") as tensors:
        assert tensors.where == "gs://bucket/model.safetensors"
        np.testing.assert_array_equal(tensors["weight"], array)


@pytest.mark.parametrize("file", ["archive.bin", "pickles.bin"])
def test_files_of_torch_are_read_from_an_address(bucket, file):
    shutil.copy(FILES / file, bucket)
    with open_tensors(f"gs://bucket/{file}") as tensors:
        np.testing.assert_array_equal(tensors["half"], np.array([0.5, -2.0], np.float16))


def test_an_error_names_the_address(bucket):
    (bucket / "model.safetensors").write_bytes(bytes(20))
    with pytest.raises(UserError, match=r"^gs://bucket/model.safetensors: must be a whole"):
        open_tensors("gs://bucket")
