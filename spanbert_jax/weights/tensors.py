"""Opens released weights in whatever form they lie on disk, and writes safetensors.

In: a file or folder, local or gs://. Out: `Tensors`, arrays by the names that their makers gave.
Nothing of PyTorch is needed, and no code that a file may carry is ever run.
"""

import fnmatch
import tempfile
from pathlib import Path

from etils import epath

from spanbert_jax.config.addresses import is_address
from spanbert_jax.corpus.files import as_path
from spanbert_jax.errors import UserError
from spanbert_jax.weights.formats.interface import Arrays, TensorInfo, Tensors
from spanbert_jax.weights.formats.safetensors_file import SafetensorsFile, write_safetensors
from spanbert_jax.weights.formats.sharded import ShardedTensors
from spanbert_jax.weights.formats.tensorflow_checkpoint import TensorFlowCheckpoint
from spanbert_jax.weights.formats.torch_file import ARCHIVE_START, PICKLE_START, TorchFile

__all__ = ["WEIGHTS_FILE", "Arrays", "TensorInfo", "Tensors", "open_tensors", "write_safetensors"]

WEIGHTS_FILE = "model.safetensors"
"""As Transformers names it."""
# What a folder may hold, in the order of preference; one file each.
_IN_A_FOLDER = (
    WEIGHTS_FILE,
    f"{WEIGHTS_FILE}.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "*.pt",
    "*.ckpt*.index",
)
# Stands where a clone without large files has left one out.
_GIT_LFS = b"version https://git-lfs"
_OF_A_CHECKPOINT = (".index", ".meta", ".data-00000-of-00001")


def open_tensors(path: epath.PathLike) -> Tensors:
    """Open a model for reading; its form is chosen by what `path` is.

    Args:
        path: A file of safetensors or of `torch.save`, the index of several, a TensorFlow
            checkpoint (bert_model.ckpt), or a folder that holds one of these.

    Raises:
        UserError: There is no model, or it is damaged, or holds more than weights.
    """
    path = as_path(path)
    try:
        return _open_model(_model_in(path) if path.is_dir() else path)
    except OSError as error:
        raise UserError(
            f"{path}: must be files that can be read ({error}); check them and their permissions"
        ) from error


def _open_model(path: epath.Path) -> Tensors:
    prefix = _checkpoint_prefix(path)
    if (prefix.parent / f"{prefix.name}.index").exists():
        return TensorFlowCheckpoint(prefix)
    if not path.exists():
        raise UserError(
            f"{path}: must be a file of weights, the prefix of a TensorFlow checkpoint, or a "
            "folder that holds one of these, found nothing there; check the path"
        )
    if path.name.endswith(".index.json"):
        return ShardedTensors(path, _open_file)
    return _open_file(path)


def _model_in(folder: epath.Path) -> epath.Path:
    """The first of the files that a folder may hold."""
    names = sorted(path.name for path in folder.iterdir())
    for pattern in _IN_A_FOLDER:
        found = fnmatch.filter(names, pattern)
        if len(found) > 1:
            raise UserError(
                f"{folder}: must hold one {pattern}, found {', '.join(found[:5])}"
                f"{' ...' * (len(found) > 5)}; name the file that you mean"
            )
        if found:
            return folder / found[0]
    raise UserError(
        f"{folder}: must hold a model, found none of {', '.join(_IN_A_FOLDER)}; name the folder "
        "or file that holds the weights"
    )


def _checkpoint_prefix(path: epath.Path) -> epath.Path:
    """bert_model.ckpt.index -> bert_model.ckpt; other names stay."""
    for suffix in _OF_A_CHECKPOINT:
        if path.name.endswith(suffix):
            return path.parent / path.name.removesuffix(suffix)
    return path


def _open_file(path: epath.Path) -> Tensors:
    """Open one file of arrays, wherever it lies."""
    if not is_address(path):
        return _open_local(path, where=str(path))
    # Copied to this machine; an open file outlives its name there.
    with tempfile.TemporaryDirectory() as folder:
        local = path.copy(Path(folder) / path.name)
        return _open_local(local, where=str(path))


def _open_local(path: epath.Path, *, where: str) -> Tensors:
    """Open one file by how it begins: whoever renames files keeps that."""
    with path.open("rb") as file:
        start = file.read(64)
    if start[8:9] == b"{" or path.suffix == ".safetensors" and not start.startswith(_GIT_LFS):
        return SafetensorsFile(path, where=where)
    if start.startswith((ARCHIVE_START, PICKLE_START)):
        return TorchFile(path, where=where)
    remedy = "run git lfs pull" if start.startswith(_GIT_LFS) else "name the file of weights"
    raise UserError(
        f"{where}: must be a file of safetensors or of torch.save, found one that begins with "
        f"{start[:24]!r}; {remedy}"
    )
