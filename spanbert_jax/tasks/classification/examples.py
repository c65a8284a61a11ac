"""Examples of classification. In: records of a table. Out: texts with their answers."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from spanbert_jax.errors import UserError
from spanbert_jax.tasks.classification.answers import (
    Answer,
    check_among,
    labels_of,
    listed,
    read_id,
    read_text,
)
from spanbert_jax.tasks.classification.kinds import Kind
from spanbert_jax.tasks.records import Record, Table, require_column
from spanbert_jax.tasks.task import Dataset


class Layout(NamedTuple):
    """Which column holds what; "" where there is none."""

    text: str
    text_pair: str = ""
    answer: str = "label"
    id: str = ""


class TextExample(NamedTuple):
    """A text, or a pair of texts."""

    text: str
    text_pair: str | None = None
    answer: Answer | None = None
    """None where it is not known."""
    id: str = ""
    where: str = ""
    """file:line."""
    part: str = ""
    """Of the data set, where it has several that are scored apart."""


def examples_of(
    table: Table,
    layout: Layout,
    *,
    place: str,
    kind: Kind,
    labels: Sequence[str] = (),
    training: bool,
) -> Dataset[TextExample]:
    """Examples of a table; in training those without an answer are left out, and counted.

    labels: the only ones there may be; empty allows any.

    Raises:
        UserError: a column that does not exist, or a record that is no example.
    """
    for column, flag in zip(layout, _FLAGS, strict=True):
        if column and (training or column != layout.answer):
            require_column(table, column, place=place, flag=flag)
    examples = [
        _example(record, number, layout, kind=kind, labels=labels)
        for number, record in enumerate(table.records)
    ]
    notes = [*_ragged_notes(table), *_empty_notes(examples), *_unanswered_notes(examples, training)]
    if layout.answer not in table.columns:
        names = ", ".join(map(repr, table.columns))
        notes.append(f"there is no column {layout.answer!r}, only {names}: no answers are known")
    if training:
        examples = [example for example in examples if example.answer is not None]
    else:
        _check_ids(examples)
    return Dataset(examples, tuple(notes))


_FLAGS = ("--task.text-column", "--task.text-pair-column", "--task.label-column",
          "--task.id-column")  # fmt: skip


def check_labels(examples: Iterable[TextExample], labels: Sequence[str]) -> None:
    """Raise `UserError` where an answer, if known, is no label that was trained on."""
    known = set(labels)
    unseen: Counter[str] = Counter()
    first: dict[str, str] = {}
    for example in examples:
        for label in labels_of(example.answer) if example.answer is not None else ():
            if label not in known:
                unseen[label] += 1
                first.setdefault(label, example.where)
    if unseen:
        found = ", ".join(f"{label!r} ({count}, first {first[label]})"
                          for label, count in unseen.most_common(5))  # fmt: skip
        raise UserError(
            f"labels must be among those of the training data ({listed(labels)}), found {found}"
            f"{', ...' if len(unseen) > 5 else ''}; correct them, or train with examples of them"
        )


def _example(
    record: Record, number: int, layout: Layout, *, kind: Kind, labels: Sequence[str]
) -> TextExample:
    where, values = record
    answer = kind.read(values.get(layout.answer), where=where)
    check_among(answer, labels, where=where)
    return TextExample(
        text=_text(record, layout.text),
        text_pair=_text_pair(record, layout.text_pair),
        answer=answer,
        id=read_id(values.get(layout.id), where=where) if layout.id else str(number),
        where=where,
    )


def _text(record: Record, column: str) -> str:
    if column not in record.values:
        raise UserError(
            f"{record.where}: has no {column!r}, only {', '.join(map(repr, record.values))}; add "
            "it, or remove the record"
        )
    return read_text(record.values[column], column=column, where=record.where)


def _text_pair(record: Record, column: str) -> str | None:
    """The second text; JSON may say with null that there is none."""
    if not column or (column in record.values and record.values[column] is None):
        return None
    return _text(record, column)


def _ragged_notes(table: Table) -> list[str]:
    if not table.ragged:
        return []
    return [f"{len(table.ragged)} lines have too few or too many fields, first {table.ragged[0]}: "
            "left out"]  # fmt: skip


def _empty_notes(examples: Sequence[TextExample]) -> list[str]:
    empty = [
        example
        for example in examples
        if not all(text.strip() for text in (example.text, example.text_pair) if text is not None)
    ]
    return [f"{len(empty)} texts are empty, first {empty[0].where}: kept"] if empty else []


def _unanswered_notes(examples: Sequence[TextExample], training: bool) -> list[str]:
    unknown = [example for example in examples if example.answer is None]
    if not unknown or (len(unknown) == len(examples) and not training):
        return []
    return [f"{len(unknown)} examples have no answer, first {unknown[0].where}: "
            f"{'left out' if training else 'predicted for, not scored'}"]  # fmt: skip


def _check_ids(examples: Sequence[TextExample]) -> None:
    seen: dict[str, str] = {}
    for example in examples:
        if example.id in seen:
            raise UserError(
                f"{example.where}: id {example.id!r} must be of one example, found it at "
                f"{seen[example.id]} too; mend it, or name another --task.id-column"
            )
        seen[example.id] = example.where
