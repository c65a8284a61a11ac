"""Files of safetensors. In: a path. Out: `Tensors`; and the way back.

A file is the length of its header (8 bytes), a header of JSON, and the numbers of every tensor, one
tensor behind the other; all little-endian. The format's own library says whether a file is whole;
numbers are read and written here, one tensor at a time, since it takes memory for all of them: it
reads by a map of the file, whose pages stay, and `save_file` wants all arrays at once.
"""

import json
import math
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from etils import epath
from safetensors import SafetensorError, safe_open

from spanbert_jax.corpus.files import as_path, temporary_suffix
from spanbert_jax.errors import UserError
from spanbert_jax.weights.formats.interface import Arrays, TensorInfo, Tensors

_DTYPES = {
    "F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16,
    "I64": np.int64, "I32": np.int32, "I16": np.int16, "I8": np.int8,
    "U64": np.uint64, "U32": np.uint32, "U16": np.uint16, "U8": np.uint8, "BOOL": np.bool_,
}  # fmt: skip
_LENGTH = "<Q"
_STORED = {np.dtype(dtype): stored for stored, dtype in _DTYPES.items()}


class SafetensorsFile(Tensors):
    """One file; an array is a copy of its part of it."""

    def __init__(self, path: os.PathLike[str], *, where: str) -> None:
        try:
            # Reads the header, and compares it with the file's length.
            with safe_open(path, framework="numpy"):
                self._file = Path(path).open("rb")
        except SafetensorError as error:
            raise UserError(
                f"{where}: must be a whole safetensors file, found a truncated or altered one "
                f"({error}; {os.stat(path).st_size:,} bytes); download or save it again"
            ) from error
        (length,) = struct.unpack(_LENGTH, self._file.read(struct.calcsize(_LENGTH)))
        header = json.loads(self._file.read(length))
        header.pop("__metadata__", None)
        begin = self._file.tell()
        self._begins = {name: begin + entry["data_offsets"][0] for name, entry in header.items()}
        super().__init__(
            where,
            {name: _info_of(entry, f"{where}: tensor {name}") for name, entry in header.items()},
        )

    def _read(self, name: str) -> np.ndarray:
        info = self.info(name)
        self._file.seek(self._begins[name])
        return np.fromfile(self._file, info.dtype, math.prod(info.shape)).reshape(info.shape)

    def close(self) -> None:
        self._file.close()


def _info_of(entry: dict[str, Any], what: str) -> TensorInfo:
    """{"dtype": "F32", "shape": [2, 3], ...} -> TensorInfo(shape=(2, 3), dtype=float32)"""
    stored = entry["dtype"]
    if stored not in _DTYPES:
        raise UserError(
            f"{what} must be of one of the dtypes {', '.join(_DTYPES)}, found {stored}; save the "
            "model in float32"
        )
    return TensorInfo(tuple(entry["shape"]), np.dtype(_DTYPES[stored]))


def write_safetensors(
    path: epath.PathLike, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]
) -> None:
    """Write arrays and metadata as one safetensors file: whole, or not at all.

    Args:
        path: A file in a folder that exists, local or gs://; one that is there is replaced.
        tensors: Those of a `Tensors` are read one by one, and one is held at a time.
        metadata: Strings for the header, such as {"format": "pt"}, which Transformers asks for.

    Raises:
        UserError: The file cannot be written.
    """
    path = as_path(path)
    source = tensors if isinstance(tensors, Tensors) else Arrays(tensors)
    names = _in_order(source)
    temporary = path.parent / (path.name + temporary_suffix())
    try:
        with temporary.open("wb") as file:
            file.write(_header(source, names, metadata))
            for name in names:
                file.write(_bytes_of(source[name], source.info(name)))
        temporary.replace(path)
    except OSError as error:
        raise UserError(
            f"{path}: must be a file that can be written ({error}); choose another place, or make "
            "room there"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def _in_order(tensors: Tensors) -> list[str]:
    """Names in the order of the library: wide numbers first, so that all lie at their multiples."""
    return sorted(tensors.names(), key=lambda name: (-tensors.info(name).dtype.itemsize, name))


def _header(tensors: Tensors, names: list[str], metadata: Mapping[str, str]) -> bytes:
    """What stands before the numbers; a multiple of 8 bytes long."""
    entries: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    for name in names:
        info = tensors.info(name)
        begin, end = end, end + math.prod(info.shape) * info.dtype.itemsize
        entries[name] = {
            "dtype": _STORED[info.dtype],
            "shape": list(info.shape),
            "data_offsets": [begin, end],
        }
    header = json.dumps(entries, ensure_ascii=False, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return struct.pack(_LENGTH, len(header)) + header


def _bytes_of(array: np.ndarray, info: TensorInfo) -> bytes:
    """The numbers, last axis fastest, whatever the strides of `array` say."""
    assert (array.shape, array.dtype) == info
    return array.tobytes()
