"""Units: what consecutive documents came to, a file each, so that a killed run goes on behind them.

A unit is about 64 MB of text, or 100,000 documents where they are short. Its rows are sorted by
key, so that those of one shard lie together: shards are gathered from all units without holding
more than one shard in memory.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, Any, NamedTuple

import numpy as np
from etils import epath

from spanbert_jax.corpus.files import write_file

UNIT_BYTES = 64_000_000
# A document takes some 3 kB while its unit is put together, however short it is.
UNIT_DOCUMENTS = 100_000
FOLDER = "in_progress"


@dataclass(frozen=True)
class Unit:
    """A unit on disk: a line of JSON, padded, then its arrays one after the other."""

    path: epath.Path
    begin: int
    """Place from which it was read: where the one before it ends."""
    end: int
    """Place behind its last document."""
    final: bool
    """Nothing follows."""
    counts: dict[str, int]
    """Documents and bytes that were read for it, and what was left out of it."""
    about: dict[str, Any]
    """What it depends on beside the text."""
    offsets: dict[str, int]
    dtypes: dict[str, np.dtype]
    shapes: dict[str, tuple[int, ...]]
    reasons: tuple[str, ...] = field(default=())

    def read(self, array: str) -> np.ndarray:
        """One of its arrays."""
        with self.open() as unit:
            return unit.read(array)

    @contextmanager
    def open(self) -> Iterator["OpenUnit"]:
        """For reading several pieces of it: opening a file is slow on distant disks."""
        with self.path.open("rb") as file:
            yield OpenUnit(self, file)


class OpenUnit(NamedTuple):
    """A unit with its file open."""

    unit: Unit
    file: IO[bytes]

    def read(self, array: str, begin: int = 0, end: int | None = None) -> np.ndarray:
        """Rows [begin, end) of one of its arrays."""
        rows, *rest = self.unit.shapes[array]
        dtype = self.unit.dtypes[array]
        end = rows if end is None else end
        width = dtype.itemsize * int(np.prod(rest, dtype=np.int64))
        self.file.seek(self.unit.offsets[array] + begin * width)
        content = self.file.read((end - begin) * width)
        return np.frombuffer(content, dtype).reshape(end - begin, *rest)


def write_unit(path: epath.Path, arrays: Mapping[str, np.ndarray], **header: Any) -> None:
    """Write a unit; see `Unit` for what its header holds."""
    described = {
        name: (np.lib.format.dtype_to_descr(array.dtype), array.shape)
        for name, array in arrays.items()
    }
    line = json.dumps(header | {"arrays": described})
    pieces = [array.tobytes() for array in arrays.values()]
    write_file(path, b"".join([f"{line}\n".encode(), *pieces]))


def read_unit(path: epath.Path) -> Unit | None:
    """A unit's header; None where it is damaged or cut off."""
    try:
        with path.open("rb") as file:
            line = file.readline()
        header = json.loads(line)
        arrays = header.pop("arrays")
        offset, offsets, dtypes, shapes = len(line), {}, {}, {}
        for name, (described, shape) in arrays.items():
            dtype = described if isinstance(described, str) else [tuple(it) for it in described]
            dtypes[name], shapes[name], offsets[name] = np.dtype(dtype), tuple(shape), offset
            offset += dtypes[name].itemsize * int(np.prod(shape, dtype=np.int64))
        if path.stat().length != offset:
            return None
        reasons = tuple(header.pop("reasons"))
        return Unit(path, **header, offsets=offsets, dtypes=dtypes, shapes=shapes, reasons=reasons)
    except (ValueError, TypeError, KeyError):
        return None


def find_units(folder: epath.Path, kind: str) -> dict[int, Unit]:
    """Complete units by number."""
    found = {}
    for path in folder.glob(f"{kind}-*.unit"):
        if (unit := read_unit(path)) is not None:
            found[int(path.name.removesuffix(".unit").rpartition("-")[2])] = unit
    return found
