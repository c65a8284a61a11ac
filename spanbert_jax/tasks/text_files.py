"""Reads whole files of examples, local or gs://. In: a path. Out: its text or its lines."""

import bz2
import gzip
import zlib
from collections.abc import Iterator

from spanbert_jax.corpus.files import as_path
from spanbert_jax.errors import UserError

_DECOMPRESS = {".gz": gzip.decompress, ".bz2": bz2.decompress}


def read_text(path: str, *, holds: str = "examples") -> str:
    """The text of a UTF-8 file, decompressed where its name ends in .gz or .bz2.

    holds: what should be in it, for errors.

    Raises:
        UserError: there is no such file, or it is damaged, or no UTF-8 text.
    """
    file = as_path(path)
    if not file.exists() or file.is_dir():
        found = "a folder" if file.exists() else "no such file"
        raise UserError(f"{path}: must be a file of {holds}, found {found}; check the path")
    try:
        content = _DECOMPRESS.get(file.suffix, bytes)(file.read_bytes())
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise UserError(
            f"{path}: is damaged, cut off or cannot be read ({error}); copy or download it again"
        ) from error
    try:
        # A mark of byte order is no part of the first word.
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UserError(
            f"{path}:{line}: text must be UTF-8, found byte 0x{content[error.start]:02x}; convert "
            "the file, for instance with `iconv -f latin1 -t utf-8`"
        ) from error


def read_lines(path: str) -> Iterator[tuple[int, str]]:
    """Number, from 1, and content of every line, without its end.

    Only line feeds end a line: text may hold the other characters that Python splits at.
    """
    lines = read_text(path).split("\n")
    if lines[-1] == "":
        lines.pop()
    for number, line in enumerate(lines, start=1):
        yield number, line.removesuffix("\r")
