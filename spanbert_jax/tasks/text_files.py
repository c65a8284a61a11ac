"""Reads whole files of examples, local or gs://. In: a path. Out: its text or its lines."""

from collections.abc import Iterator

from spanbert_jax.corpus.files import as_path
from spanbert_jax.errors import UserError


def read_text(path: str) -> str:
    """The text of a UTF-8 file.

    Raises:
        UserError: there is no such file, or it is no UTF-8 text.
    """
    file = as_path(path)
    if not file.exists() or file.is_dir():
        found = "a folder" if file.exists() else "no such file"
        raise UserError(f"{path}: must be a file of examples, found {found}; check the path")
    content = file.read_bytes()
    try:
        # A mark of byte order is no part of the first word.
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UserError(
            f"{path}:{line}: must be UTF-8 text ({error.reason}, byte {error.start}); "
            "convert the file with iconv"
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
