"""JSON of questions, read with errors that name the file, the place and the reason.

In: their text. Out: JSON values, checked to be what they should.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar, overload

from spanbert_jax.errors import UserError

Kind = TypeVar("Kind")
_KINDS = {str: "text", list: "a list", dict: "an object", int: "a whole number", bool: "a boolean"}


def parse_json(text: str, where: str) -> Any:
    """The value of a whole file.

    Raises:
        UserError: it is no JSON; names line and column.
    """
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(
            f"{where}:{error.lineno}: must be JSON, found {error.msg} at column {error.colno}; "
            "mend the file, or download it again"
        ) from error
    except (RecursionError, ValueError) as error:
        raise UserError(f"{where}: must be JSON of questions, found {_too_much(error)}") from error
    refuse_half_characters(value, text, where)
    return value


def json_lines(text: str, where: str) -> Iterator[tuple[str, Any]]:
    """Where each line stands, and its value; blank lines are passed over.

    Raises:
        UserError: a line is no JSON; names it.
    """
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            place = f"{where}:{number}"
            try:
                value = json.loads(line)
            except json.JSONDecodeError as error:
                raise UserError(
                    f"{place}: must be one JSON object a line, found {error.msg} at column "
                    f"{error.colno}; mend the line"
                ) from error
            except (RecursionError, ValueError) as error:
                raise UserError(f"{place}: must be JSON, found {_too_much(error)}") from error
            refuse_half_characters(value, line, place)
            yield place, value


def _too_much(error: Exception) -> str:
    """What of well-formed JSON Python does not read."""
    if isinstance(error, RecursionError):
        return "it nested too deep"
    return "a number of thousands of digits"


def refuse_half_characters(value: Any, text: str, where: str) -> None:
    """Raise `UserError` where an escape of `text` makes no character (half a surrogate pair)."""
    if "\\ud" not in text.lower():
        return
    for each in _strings_in(value):
        if any("\ud800" <= letter <= "\udfff" for letter in each):
            raise UserError(
                f"{where}: text must be of whole characters, found half of a surrogate pair (an "
                f"escape \\ud800 to \\udfff) in {each[:40]!a}; write it anew as UTF-8"
            )


def _strings_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        children: Iterable[Any] = value if isinstance(value, list) else value.values()
        for child in children:
            yield from _strings_in(child)


@overload
def field_of(record: Any, name: str, kind: type[Kind], where: str) -> Kind: ...
@overload
def field_of(record: Any, name: str, kind: type[Kind], where: str, default: Kind) -> Kind: ...
def field_of(record: Any, name: str, kind: Any, where: str, default: Any = None) -> Any:
    """A field of a record, of the kind that it must be.

    field_of({"id": 3}, "id", int, "a.json: data[0]") -> 3
    field_of({}, "id", int, "a.json: data[0]")
    -> UserError "a.json: data[0]: must have the field 'id', found none; ..."
    """
    if not isinstance(record, dict):
        raise UserError(
            f"{where}: must be an object, found {type(record).__name__}; mend the record"
        )
    if name not in record or (record[name] is None and default is not None):
        if default is not None:
            return default
        raise UserError(
            f"{where}: must have the field {name!r}, found {', '.join(map(repr, record)) or 'none'}"
            "; mend the record, or name a file of the task's form"
        )
    value = record[name]
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise UserError(
            f"{where}.{name}: must be {_KINDS[kind]}, found {value!r:.60}; mend the record"
        )
    return value


def id_of(record: Any, name: str, where: str) -> str:
    """The id of a question; COVID-QA numbers them, and the official scorer knows them as text."""
    if isinstance(record, dict) and type(record.get(name)) is int:
        return str(record[name])
    return field_of(record, name, str, where)


class Ids:
    """Ids of a file; each may stand once, since predictions are told apart by them."""

    def __init__(self) -> None:
        self._places: dict[str, str] = {}

    def add(self, question_id: str, where: str) -> None:
        """Raise `UserError` where the id was added before."""
        if question_id in self._places:
            raise UserError(
                f"{where}: the id of a question must stand once in a file, found "
                f"{question_id!r} also at {self._places[question_id].rpartition(' ')[2]}; give "
                "each question an id of its own"
            )
        self._places[question_id] = where
