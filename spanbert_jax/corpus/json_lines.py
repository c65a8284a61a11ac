"""JSON lines: an object a line, its text in a named field."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from etils import epath

from spanbert_jax.corpus.documents import Input, Part, RawDocument, Reading
from spanbert_jax.corpus.paths import file_inputs, read_lines
from spanbert_jax.errors import UserError


@dataclass(frozen=True)
class JsonLinesSource:
    """A line is a document; line breaks inside its text end paragraphs."""

    spec: str
    files: tuple[epath.Path, ...]
    field: str = "text"

    @cached_property
    def inputs(self) -> list[Input]:
        return file_inputs(self.files)

    @property
    def parts(self) -> list[Part]:
        return [Part(index) for index in range(len(self.files))]

    def read_part(self, part: Part, reading: Reading) -> Iterator[RawDocument]:
        path = self.files[part.input]
        for number, line in read_lines(path, reading):
            if line and not line.isspace():
                where = f"{path}:{number}"
                yield RawDocument(self._text_of(line, where), where, "plain")

    def _text_of(self, line: str, where: str) -> str:
        record = parse_object(
            line,
            where=where,
            remedy="mend the line, or name the kind of source that the file is",
            example=f'{{"{self.field}": "..."}}',
        )
        if self.field not in record:
            raise UserError(
                f"{where}: has no field {self.field!r}, only {', '.join(map(repr, record))}; "
                "name the field that holds the text after #, as in jsonl:data.jsonl#body"
            )
        if not isinstance(record[self.field], str):
            raise UserError(
                f"{where}: field {self.field!r} must be text, "
                f"found {type(record[self.field]).__name__}; name another field after #"
            )
        return characters(record[self.field], what=f"field {self.field!r}", where=where)


def characters(text: str, *, what: str, where: str) -> str:
    """The text, which an escape of JSON may have given what no file can hold.

    Raises:
        UserError: it holds half of a surrogate pair.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UserError(
            f"{where}: {what} holds half of a surrogate pair (an escape \\ud800 to \\udfff), "
            "which is no character; write it anew as UTF-8"
        ) from error
    return text


def parse_object(
    line: str, *, where: str, remedy: str, example: str = '{"text": "..."}'
) -> dict[str, Any]:
    """The JSON object that a line holds.

    Raises:
        UserError: no JSON, or no object; with the remedy, or how a line should look.
    """
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: must be one JSON object a line ({error}); {remedy}") from error
    if not isinstance(record, dict):
        raise UserError(
            f"{where}: must be a JSON object, found {type(record).__name__}; write every document "
            f"as {example}"
        )
    return record
