"""Files of safetensors, by its own library. In: a path. Out: `Tensors`; and the way back."""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import ml_dtypes
import numpy as np
from etils import epath
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from spanbert_jax.corpus.files import as_path, temporary_suffix
from spanbert_jax.errors import UserError
from spanbert_jax.weights.formats.interface import TensorInfo, Tensors

_DTYPES = {
    "F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16,
    "I64": np.int64, "I32": np.int32, "I16": np.int16, "I8": np.int8,
    "U64": np.uint64, "U32": np.uint32, "U16": np.uint16, "U8": np.uint8, "BOOL": np.bool_,
}  # fmt: skip


class SafetensorsFile(Tensors):
    """One file, mapped into memory; an array is a copy of its part of it."""

    def __init__(self, path: os.PathLike[str], *, where: str) -> None:
        try:
            self._file = safe_open(path, framework="numpy")
        except SafetensorError as error:
            raise UserError(
                f"{where}: must be a whole safetensors file, found a truncated or altered one "
                f"({error}; {os.stat(path).st_size:,} bytes); download or save it again"
            ) from error
        super().__init__(where, {name: self._info_of(name, where) for name in self._file.keys()})

    def _info_of(self, name: str, where: str) -> TensorInfo:
        header = self._file.get_slice(name)
        stored = header.get_dtype()
        if stored not in _DTYPES:
            raise UserError(
                f"{where}: tensor {name} must be of one of the dtypes {', '.join(_DTYPES)}, found "
                f"{stored}; save the model in float32"
            )
        return TensorInfo(tuple(header.get_shape()), np.dtype(_DTYPES[stored]))

    def _read(self, name: str) -> np.ndarray:
        return self._file.get_tensor(name)

    def close(self) -> None:
        self._file.__exit__(None, None, None)


def write_safetensors(
    path: epath.PathLike, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]
) -> None:
    """Write arrays and metadata as one safetensors file: whole, or not at all.

    Args:
        path: A file in a folder that exists, local or gs://; one that is there is replaced.
        metadata: Strings for the header, such as {"format": "pt"}, which Transformers asks for.

    Raises:
        UserError: The file cannot be written.
    """
    path = as_path(path)
    # The library writes what lies in memory, whatever the strides say. Scalars stay scalars.
    in_order = {name: np.asarray(array, order="C") for name, array in tensors.items()}
    temporary = path.parent / (path.name + temporary_suffix())
    try:
        _save(temporary, in_order, dict(metadata))
        temporary.replace(path)
    except (OSError, SafetensorError) as error:
        temporary.unlink(missing_ok=True)
        raise UserError(
            f"{path}: must be a file that can be written ({error}); choose another place, or make "
            "room there"
        ) from error


def _save(path: epath.Path, tensors: dict[str, np.ndarray], metadata: dict[str, str]) -> None:
    if "://" not in os.fspath(path):
        save_file(tensors, path, metadata)
        return
    # The library knows local files alone.
    with tempfile.TemporaryDirectory() as folder:
        local = Path(folder) / path.name
        save_file(tensors, local, metadata)
        epath.Path(local).copy(path)
