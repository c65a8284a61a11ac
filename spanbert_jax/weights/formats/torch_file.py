"""Files of `torch.save`, without PyTorch. In: a path. Out: `Tensors`, of the state dict alone.

Since PyTorch 1.6 such a file is a zip archive: data.pkl, and an uncompressed record for each
storage. Before, as with all that was released in 2019, it is five pickles in a row (a magic number,
a version, the machine, the object, the keys of the storages), then the storages in that order, each
behind its number of elements.
"""

import os
import struct
import zipfile
import zlib
from contextlib import ExitStack
from typing import BinaryIO, NamedTuple

import numpy as np

from spanbert_jax.errors import UserError
from spanbert_jax.weights.formats.interface import TensorInfo, Tensors
from spanbert_jax.weights.formats.torch_pickle import (
    Storage,
    StoredTensor,
    TorchUnpickler,
    damaged,
    shown,
    state_dict,
)

ARCHIVE_START = b"PK\x03\x04"
PICKLE_START = b"\x80"
_MAGIC_NUMBER = 0x1950A86A20F9469CFC6C


class Record(NamedTuple):
    """Where the bytes of a storage lie in the file."""

    start: int
    num_bytes: int
    checksum: int | None
    """CRC-32, which only archives have."""


class TorchFile(Tensors):
    """One file of either kind; an array is read from its part of the file."""

    def __init__(self, path: os.PathLike[str], *, where: str) -> None:
        with ExitStack() as opened:
            self._file = opened.enter_context(open(path, "rb"))
            self._tensors, self._records = _contents(self._file, where)
            size = os.stat(path).st_size
            for name, tensor in self._tensors.items():
                record = self._records.get(tensor.storage.key)
                if record is None or not _holds(record, tensor, size):
                    raise damaged(
                        where, f"what is stored of tensor {shown(name)} is missing or cut off"
                    )
            infos = {name: TensorInfo(t.shape, t.dtype) for name, t in self._tensors.items()}
            super().__init__(where, infos)
            opened.pop_all()

    def _read(self, name: str) -> np.ndarray:
        tensor = self._tensors[name]
        record = self._records[tensor.storage.key]
        content = np.empty(tensor.num_bytes, np.uint8)
        self._file.seek(record.start + tensor.first_byte)
        if self._file.readinto(content.data) != tensor.num_bytes:
            raise damaged(self.where, f"the file ends within tensor {shown(name)}")
        if tensor.num_bytes == record.num_bytes and record.checksum is not None:
            if zlib.crc32(content.data) != record.checksum:
                raise damaged(self.where, f"the checksum of tensor {shown(name)} is another")
        return _arranged(content.view(tensor.dtype), tensor)

    def close(self) -> None:
        self._file.close()


def _holds(record: Record, tensor: StoredTensor, file_size: int) -> bool:
    inside = tensor.first_byte + tensor.num_bytes <= record.num_bytes
    return inside and record.start + record.num_bytes <= file_size


def _arranged(elements: np.ndarray, tensor: StoredTensor) -> np.ndarray:
    """The elements in the tensor's shape; those that lie between its own are let go.

    elements = [0, 1, 2, 3], shape = (2, 2), strides = (1, 2) -> [[0, 2], [1, 3]]
    """
    steps = [step * tensor.dtype.itemsize for step in tensor.strides]
    view = np.lib.stride_tricks.as_strided(elements, tensor.shape, steps)
    return view if view.size == elements.size else view.copy()


def _contents(file: BinaryIO, where: str) -> tuple[dict[str, StoredTensor], dict[str, Record]]:
    """The tensors of the state dict, and the records by key."""
    is_archive = file.read(len(ARCHIVE_START)) == ARCHIVE_START
    file.seek(0)
    try:
        content, records = (_read_archive if is_archive else _read_pickles)(file, where)
        return state_dict(content, where=where), records
    except UserError:
        raise
    # pickle and zipfile raise anything over damaged bytes, MemoryError and struct.error among it.
    except Exception as error:
        raise damaged(where, f"{type(error).__name__}: {error}") from error


def _read_archive(file: BinaryIO, where: str) -> tuple[object, dict[str, Record]]:
    """Of a zip archive."""
    with zipfile.ZipFile(file) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        folder = _folder_of_pickle(entries, where)
        for name, entry in entries.items():
            if name.startswith(folder):
                _check_stored(entry, where)
        byte_order = f"{folder}byteorder"
        if byte_order in entries and archive.read(byte_order) != b"little":
            raise UserError(
                f"{where}: must be of a little-endian machine, found big-endian numbers; load "
                "it with PyTorch and save it with safetensors.torch.save_file"
            )
        with archive.open(f"{folder}data.pkl") as pickled:
            content = TorchUnpickler(pickled, where=where).load()
    prefix = f"{folder}data/"
    records = {
        name.removeprefix(prefix): _record(file, entry)
        for name, entry in entries.items()
        if name.startswith(prefix)
    }
    return content, records


def _folder_of_pickle(entries: dict[str, zipfile.ZipInfo], where: str) -> str:
    """{"archive/data.pkl": ..., "archive/data/0": ...} -> "archive/\""""
    for name in entries:
        if name.endswith("/data.pkl") and name.count("/") == 1:
            return name.removesuffix("data.pkl")
    found = ", ".join(map(shown, list(entries)[:3])) or "nothing"
    raise UserError(
        f"{where}: must be an archive of torch.save, which holds data.pkl, found {found} in it; "
        "name the file of weights itself"
    )


def _check_stored(entry: zipfile.ZipInfo, where: str) -> None:
    """Raise `UserError` for a compressed entry, which may take any memory to unpack."""
    if entry.compress_type != zipfile.ZIP_STORED:
        raise UserError(
            f"{where}: must be an archive without compression, as torch.save writes it, found "
            f"{shown(entry.filename)} compressed; download it again, or unpack and pack it without"
        )


def _record(file: BinaryIO, entry: zipfile.ZipInfo) -> Record:
    """Where the content of an entry begins: behind a header with its name and its padding."""
    file.seek(entry.header_offset + 26)
    name_length, extra_length = struct.unpack("<HH", file.read(4))
    start = entry.header_offset + 30 + name_length + extra_length
    return Record(start, entry.file_size, entry.CRC)


def _read_pickles(file: BinaryIO, where: str) -> tuple[object, dict[str, Record]]:
    """Of a file from before PyTorch 1.6."""
    if TorchUnpickler(file, where=where).load() != _MAGIC_NUMBER:
        raise UserError(
            f"{where}: must be a file of torch.save, found a pickle of another program; save the "
            "state dict with torch.save or safetensors"
        )
    for _ in ("version", "machine"):
        TorchUnpickler(file, where=where).load()
    unpickler = TorchUnpickler(file, where=where)
    content = unpickler.load()
    keys = TorchUnpickler(file, where=where).load()
    return content, _storages_in_a_row(file, keys, unpickler.storages, where)


def _storages_in_a_row(
    file: BinaryIO, keys: list[str], storages: dict[str, Storage], where: str
) -> dict[str, Record]:
    start, end = file.tell(), file.seek(0, os.SEEK_END)
    records = {}
    for key in keys:
        file.seek(start)
        header = file.read(8)
        if not isinstance(key, str) or key not in storages or len(header) < 8:
            raise damaged(where, "the file ends before a storage, or nothing refers to it")
        num_bytes = struct.unpack("<q", header)[0] * storages[key].dtype.itemsize
        records[key] = Record(start + 8, num_bytes, None)
        start += 8 + num_bytes
        if num_bytes < 0 or start > end:
            raise damaged(where, f"the file ends within storage {shown(key)}")
    return records
