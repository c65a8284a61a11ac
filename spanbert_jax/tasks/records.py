"""Reads tables with named columns. In: CSV, TSV, JSON lines, TensorFlow Datasets. Out: records."""

import csv
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from etils import epath

from spanbert_jax.config.files import nearest
from spanbert_jax.corpus.documents import Reading
from spanbert_jax.corpus.json_lines import parse_object
from spanbert_jax.corpus.paths import find_files, read_lines
from spanbert_jax.corpus.tfds import TfdsSource, default_data_dir
from spanbert_jax.errors import UserError, reworded

TFDS = "tfds:"
_FORMATS = {
    ".csv": "csv", ".tsv": "tsv", ".tab": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl",
    ".json": "jsonl",
}  # fmt: skip
_COMPRESSED = (".gz", ".bz2")


class Record(NamedTuple):
    """One record of a table."""

    where: str
    """file:line, or dataset@split:number."""
    values: dict[str, Any]
    """By column; text where the format has no other types."""


class Table(NamedTuple):
    """A file, or several of the same columns."""

    columns: tuple[str, ...]
    """In their order; of JSON lines all that occur."""
    records: list[Record]
    ragged: tuple[str, ...] = ()
    """Where lines of another number of fields were left out."""


def read_table(
    place: str,
    *,
    file_format: str = "auto",
    columns: Sequence[str] = (),
    leave_out_ragged: bool = False,
) -> Table:
    """Read all records of a file, of a glob of files, or of tfds:NAME/CONFIG@SPLIT.

    columns: names of the columns of a CSV or TSV file whose first line does not name them.
    leave_out_ragged: leave lines with too few or too many fields out, and say where they were.

    Raises:
        UserError: no such file, or a line that is no record; names file, line and reason.
    """
    ragged: list[str] = [] if leave_out_ragged else None  # type: ignore[assignment]
    if place.startswith(TFDS):
        records = list(_tfds_records(place))
    else:
        records = []
        for file in files_of(place):
            records += _file_records(file, file_format, tuple(columns), ragged)
    if not records:
        raise UserError(f"{place}: must hold at least one record, found none; name another file")
    names = dict.fromkeys(name for record in records for name in record.values)
    return Table(tuple(names), records, tuple(ragged or ()))


def files_of(place: str) -> tuple[epath.Path, ...]:
    """The files that a path or a glob names."""
    with reworded(_without_flag):
        return find_files(place, spec=place)


def require_column(table: Table, column: str, *, place: str, flag: str) -> None:
    """Raise `UserError` where there is no such column, naming those that there are."""
    if column not in table.columns:
        close = nearest(column, list(table.columns))
        remedy = f"the nearest one is {close!r}" if close else "name one of them"
        raise UserError(
            f"{place}: has no column {column!r}, only {', '.join(map(repr, table.columns))}; "
            f"{remedy}{f', with {flag}' if flag else ''}"
        )


def _without_flag(message: str) -> str:
    return message.removeprefix("--source ")


def _file_records(
    file: epath.Path, file_format: str, columns: tuple[str, ...], ragged: list[str] | None
) -> Iterator[Record]:
    match _format_of(file) if file_format == "auto" else file_format:
        case "jsonl":
            return _json_records(file)
        case "csv":
            return _delimited_records(file, _csv_lines(file), columns, ragged)
        case _:
            return _delimited_records(file, _tsv_lines(file), columns, ragged)


def _format_of(file: epath.Path) -> str:
    """data.csv.gz -> csv"""
    suffixes = [suffix.lower() for suffix in file.suffixes if suffix.lower() not in _COMPRESSED]
    if not suffixes or suffixes[-1] not in _FORMATS:
        raise UserError(
            f"{file}: the name must end in one of {', '.join(_FORMATS)} (.gz or .bz2 behind it), "
            "so that its format is known; rename it, or use --task.file-format"
        )
    return _FORMATS[suffixes[-1]]


def _json_records(file: epath.Path) -> Iterator[Record]:
    for number, line in read_lines(file, Reading()):
        if line and not line.isspace():
            where = f"{file}:{number}"
            yield Record(
                where, parse_object(line, where=where, remedy="mend the line, or the file's format")
            )


def _tsv_lines(file: epath.Path) -> Iterator[tuple[int, list[str]]]:
    """Fields of every line; a quote is a letter like any other."""
    for number, line in read_lines(file, Reading()):
        yield number, line.split("\t") if line else []


def _csv_lines(file: epath.Path) -> Iterator[tuple[int, list[str]]]:
    """Fields of every record, which a quoted field may spread over several lines."""
    # The library's limit of 131,072 characters is shorter than some texts.
    csv.field_size_limit(1 << 30)
    lines = csv.reader((line + "\n" for _, line in read_lines(file, Reading())), strict=True)
    number = 1
    try:
        for fields in lines:
            yield number, fields
            number = lines.line_num + 1
    except csv.Error as error:
        raise UserError(
            f"{file}:{number}: must be CSV ({error}); double the quotes inside a quoted field, or "
            "use --task.file-format tsv where fields are divided by tabs"
        ) from error


def _delimited_records(
    file: epath.Path,
    lines: Iterator[tuple[int, list[str]]],
    columns: tuple[str, ...],
    ragged: list[str] | None,
) -> Iterator[Record]:
    names = list(columns)
    for number, fields in lines:
        if not fields:
            continue
        if columns and fields == names:
            raise UserError(
                f"{file}:{number}: must be a record, found the names of the columns; leave out "
                "--task.columns, since the file has them"
            )
        if not names:
            names = _header(fields, where=f"{file}:{number}")
        elif len(fields) == len(names):
            yield Record(f"{file}:{number}", dict(zip(names, fields, strict=True)))
        elif ragged is not None:
            ragged.append(f"{file}:{number}")
        else:
            raise UserError(
                f"{file}:{number}: must have {len(names)} fields ({', '.join(names)}), found "
                f"{len(fields)}; mend the line{_about_columns(columns)}"
            )


def _about_columns(columns: tuple[str, ...]) -> str:
    return ", or name all columns with --task.columns" if columns else ""


def _header(fields: list[str], *, where: str) -> list[str]:
    twice = next((name for name in fields if fields.count(name) > 1), None)
    if twice is not None:
        raise UserError(
            f"{where}: must name every column once, found {twice!r} several times; rename one, or "
            "name the columns with --task.columns where the first line is a record"
        )
    return fields


def _tfds_records(place: str) -> Iterator[Record]:
    # What prepare writes behind @ may here stand behind # too: no column is named in it.
    name, _, split = place.removeprefix(TFDS).replace("#", "@").partition("@")
    if not split:
        raise UserError(
            f"{place}: must name a split of the dataset; write it after @, as in "
            "tfds:glue/sst2@validation"
        )
    with reworded(_without_flag):
        source = TfdsSource(place, name, split, data_dir=default_data_dir())
        yield from (Record(where, values) for where, values in source.records())
