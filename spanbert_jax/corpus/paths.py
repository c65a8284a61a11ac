"""Finds the files that a source names and opens them, compressed or not, local or gs://."""

import bz2
import gzip
import importlib.util
import io
import os
import pathlib
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from etils import epath

from spanbert_jax.config.addresses import is_address
from spanbert_jax.corpus.documents import Input, Reading
from spanbert_jax.corpus.files import as_path
from spanbert_jax.errors import UserError

PACKAGE = "package://"
_WILDCARDS = frozenset("*?[")
# Read at once: little, since progress counts by it.
_READ_BYTES = 1 << 14


def find_files(pattern: str, *, spec: str) -> tuple[epath.Path, ...]:
    """Files that a path or glob names, sorted; `UserError` where there is none.

    package://NAME/FILE is looked for in the folder of the installed package NAME.
    """
    path = _package_file(pattern) if pattern.startswith(PACKAGE) else as_path(pattern)
    if path.exists():
        files = [path]
    else:
        parts = path.parts
        first = next((i for i, part in enumerate(parts) if _WILDCARDS & set(part)), None)
        files = [] if first is None else _glob(parts[:first], parts[first:], spec=spec)
    files = [file for file in files if not file.is_dir()]
    if not files:
        raise UserError(
            f"--source {spec}: must name a file, or a glob that matches some; {path} matches none; "
            "check the path, and quote a glob so that the shell leaves it alone"
        )
    return tuple(sorted(files, key=os.fspath))


def _glob(folder: tuple[str, ...], pattern: tuple[str, ...], *, spec: str) -> list[epath.Path]:
    base = epath.Path(*folder) if folder else epath.Path(".")
    if not base.exists():
        return []
    if not is_address(base):
        return [epath.Path(path) for path in pathlib.Path(base).glob("/".join(pattern))]
    if "**" in pattern:
        raise UserError(
            f"--source {spec}: ** would list every object of the bucket; use * for each folder"
        )
    return list(base.glob("/".join(pattern)))


def _package_file(pattern: str) -> epath.Path:
    package, _, file = pattern.removeprefix(PACKAGE).partition("/")
    # find_spec does not import the package: gensim alone would take seconds.
    found = importlib.util.find_spec(package) if package.isidentifier() else None
    if found is None or not found.submodule_search_locations:
        raise UserError(
            f"--source {pattern}: the package {package} must be installed, and is not; "
            f"run `pip install {package}`"
        )
    return epath.Path(found.submodule_search_locations[0]) / file


def file_inputs(files: tuple[epath.Path, ...]) -> list[Input]:
    return [Input(os.fspath(file), file.stat().length) for file in files]


@contextmanager
def open_file(path: epath.Path, reading: Reading) -> Iterator[IO[bytes]]:
    """Open for reading, decompressing .gz and .bz2; `reading` follows how far it got."""
    try:
        opened = path.open("rb")
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"{path}: cannot be read ({reason}); check its permissions") from error
    # Of gs:// it is no file yet, but what gives one to `with`.
    with opened as file:
        followed = io.BufferedReader(_Followed(file, reading), _READ_BYTES)
        match path.suffix:
            case ".gz":
                yield gzip.GzipFile(fileobj=followed)  # type: ignore[misc]
            case ".bz2":
                yield bz2.BZ2File(followed)
            case _:
                yield followed


class _Followed(io.RawIOBase):
    """A file that tells `reading` how many of its bytes were taken."""

    def __init__(self, file: IO[bytes], reading: Reading) -> None:
        self._file = file
        self._reading = reading

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        content = self._file.read(len(buffer))
        buffer[: len(content)] = content
        self._reading.size_done += len(content)
        return len(content)

    def readable(self) -> bool:
        return True


@contextmanager
def damage_is_an_error(path: epath.Path) -> Iterator[None]:
    """Turn what the decompressors raise into a `UserError` that names the file."""
    try:
        yield
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(
            f"{path}: is damaged or cut off ({error}); copy or download it again"
        ) from error


def read_lines(path: epath.Path, reading: Reading) -> Iterator[tuple[int, str]]:
    """Lines with their numbers (from 1), without line ends; invalid UTF-8 is a `UserError`."""
    number = 0
    with open_file(path, reading) as file:
        lines = iter(file)
        while True:
            try:
                line = next(lines, None)
            except (OSError, EOFError, zlib.error) as error:
                raise UserError(
                    f"{path}:{number + 1}: the file is damaged or cut off ({error}); "
                    "copy or download it again"
                ) from error
            if line is None:
                return
            number += 1
            try:
                text = line.decode() if number > 1 else ""
            except UnicodeDecodeError:
                text = ""
            # What is special, the first line and a mistake, has time.
            yield number, text.rstrip("\r\n") or decode_line(line, path=path, number=number)


def decode_line(line: bytes, *, path: epath.Path, number: int) -> str:
    """Decode one line, without its line end and a byte-order mark at the start of the file."""
    try:
        text = line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        byte = line[error.start]
        raise UserError(
            f"{path}:{number}: text must be UTF-8, found byte 0x{byte:02x} at column "
            f"{error.start + 1}; convert the file, for instance with "
            "`iconv -f latin1 -t utf-8`"
        ) from error
    return text.rstrip("\r\n")
