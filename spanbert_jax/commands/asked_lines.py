"""Examples as JSON lines, read as they come. In: a file, or standard input. Out: dicts with their
places, in chunks.
"""

import sys
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, TypeVar

from spanbert_jax.corpus.documents import Reading
from spanbert_jax.corpus.files import as_path
from spanbert_jax.corpus.json_lines import parse_object
from spanbert_jax.corpus.paths import read_lines
from spanbert_jax.errors import UserError

Item = TypeVar("Item")


class Asked(NamedTuple):
    """What one line asks."""

    where: str
    """As errors name it: file:line."""
    fields: dict[str, Any]


def asked_lines(file: str) -> Iterator[Asked]:
    """The objects of the lines of a file, or of standard input where it is ""; none of them is
    kept. Blank lines are none.

    Raises:
        UserError: a line is no JSON object; names it and the reason.
    """
    lines = read_lines(as_path(file), Reading()) if file else _standard_input()
    for number, line in lines:
        where = f"{file}:{number}" if file else f"standard input, line {number}"
        if line.strip():
            yield Asked(where, _object(line, where))


def _standard_input() -> Iterator[tuple[int, str]]:
    number = 0
    try:
        for number, line in enumerate(sys.stdin, start=1):
            yield number, line
    except UnicodeDecodeError as error:
        raise UserError(
            f"standard input, line {number + 1} or later: must be UTF-8 text ({error.reason}); "
            "convert it with iconv"
        ) from error


def _object(line: str, where: str) -> dict[str, Any]:
    fields = parse_object(line, where=where, remedy="mend the line")
    if "\\ud" in line.lower() and any(map(_is_half, _texts(fields))):
        raise UserError(
            f"{where}: holds half of a surrogate pair (an escape \\ud800 to \\udfff), which is no "
            "character; write the line anew as UTF-8"
        )
    return fields


def _texts(value: Any) -> Iterator[str]:
    """All strings of a JSON value, names of fields too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, part in value.items():
            yield name
            yield from _texts(part)
    elif isinstance(value, list):
        for part in value:
            yield from _texts(part)


def _is_half(text: str) -> bool:
    return any("\ud800" <= letter <= "\udfff" for letter in text)


def chunks(items: Iterable[Item], *, size: int) -> Iterator[list[Item]]:
    """Lists of `size` items and a shorter last one; before an error, of what came before it.

    chunks("abcde", size=2) -> ["a", "b"], ["c", "d"], ["e"]
    """
    chunk: list[Item] = []
    try:
        for item in items:
            chunk.append(item)
            if len(chunk) == size:
                yield chunk
                chunk = []
    except UserError:
        if chunk:
            yield chunk
        raise
    if chunk:
        yield chunk
