"""Opens released weights in whatever form they lie on disk, and writes safetensors.

In: a file or folder, local or gs://. Out: `Tensors`, arrays by the names that their makers gave.
Nothing of PyTorch is needed, and no code that a file may carry is ever run.
"""

import os
import tempfile
from pathlib import Path

from etils import epath

from spanbert_jax.corpus.files import as_path
from spanbert_jax.errors import UserError
from spanbert_jax.weights.formats.interface import TensorInfo, Tensors
from spanbert_jax.weights.formats.safetensors_file import SafetensorsFile, write_safetensors
from spanbert_jax.weights.formats.sharded import ShardedTensors

__all__ = ["TensorInfo", "Tensors", "open_tensors", "write_safetensors"]

# What a folder may hold, in the order of preference.
_IN_A_FOLDER = (
    "model.safetensors",
    "model.safetensors.index.json",
)


def open_tensors(path: epath.PathLike) -> Tensors:
    """Open a model for reading; its form is chosen by what `path` is.

    Args:
        path: A file of weights, or a folder that holds one.

    Raises:
        UserError: There is none, or it is damaged.
    """
    path = as_path(path)
    if path.is_dir():
        return _open_file(_file_in(path))
    if path.exists():
        return _open_file(path)
    raise UserError(
        f"{path}: must be a file of weights or a folder that holds one, found nothing there; "
        "check the path"
    )


def _file_in(folder: epath.Path) -> epath.Path:
    """The first of the files that a folder may hold."""
    for name in _IN_A_FOLDER:
        if (folder / name).exists():
            return folder / name
    raise UserError(
        f"{folder}: must hold a model, found none of {', '.join(_IN_A_FOLDER)}; name the folder "
        "or file that holds the weights"
    )


def _open_file(path: epath.Path) -> Tensors:
    if path.name.endswith(".index.json"):
        return ShardedTensors(path, _open_file)
    if "://" not in os.fspath(path):
        return _open_local(path, where=str(path))
    # Copied to this machine; an open file outlives its name there.
    with tempfile.TemporaryDirectory() as folder:
        local = path.copy(Path(folder) / path.name)
        return _open_local(local, where=str(path))


def _open_local(path: epath.Path, *, where: str) -> Tensors:
    return SafetensorsFile(path, where=where)
