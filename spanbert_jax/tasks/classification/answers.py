"""What an answer of each kind is, as files hold it. In: a value of a table. Out: a label, a set of
labels, or a number; and its text again.
"""

import math
from collections.abc import Sequence
from typing import Any

from spanbert_jax.corpus.json_lines import characters
from spanbert_jax.errors import UserError

Answer = str | tuple[str, ...] | float
"""A label, the labels of a set in their order, or a score."""


def read_label(value: Any, *, where: str) -> str | None:
    """The label of a cell; None where it is empty or missing.

    " positive " -> "positive"; 4.0 -> "4"; True -> "true"
    """
    if value is None:
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, str | int | float):
        raise UserError(
            f"{where}: a label must be text or a number, found {type(value).__name__}; name "
            "another --task.label-column, or use --task.kind multi_label for lists of labels"
        )
    return _checked(str(value).strip(), where=where) or None


def read_label_set(value: Any, *, where: str, separator: str) -> tuple[str, ...] | None:
    """The labels of a cell or of a JSON list, sorted; None where they are not known.

    "b, a" -> ("a", "b"); ["b"] -> ("b",); "" -> (), since a text may have no label
    """
    if value is None:
        return None
    if isinstance(value, str):
        value = value.split(separator)
    parts = value if isinstance(value, list | tuple) else [value]
    labels = {read_label(part, where=where) for part in parts} - {None}
    for label in labels:
        if separator in str(label):
            raise UserError(
                f"{where}: label {label!r} must not hold the {separator!r} that stands between "
                "labels; choose another --task.label-separator"
            )
    return tuple(sorted(map(str, labels)))


def read_score(value: Any, *, where: str) -> float | None:
    """The number of a cell; None where it is empty or missing. "3.800" -> 3.8"""
    if value is None or value == "":
        return None
    try:
        score = float(value)
    except (TypeError, ValueError):
        score = math.nan
    if not math.isfinite(score) or isinstance(value, bool):
        raise UserError(
            f"{where}: a score must be a number, found {value!r}; mend it, or name another "
            "--task.label-column"
        )
    return score


def read_id(value: Any, *, where: str) -> str:
    """The name of an example, which stands in one field of a file of predictions."""
    if not isinstance(value, str | int) or value == "":
        raise UserError(
            f"{where}: an id must be text or a whole number, found {value!r}; name another "
            "--task.id-column, or none to number the examples"
        )
    return _checked(str(value), where=where)


def read_text(value: Any, *, column: str, where: str) -> str:
    """The text of a cell."""
    if not isinstance(value, str):
        raise UserError(
            f"{where}: {column!r} must be text, found {type(value).__name__}; mend the record, or "
            "name another column"
        )
    return characters(value, what=repr(column), where=where)


def answer_text(answer: Answer, *, separator: str) -> str:
    """As a file of predictions holds it: "positive", "a,b" or "3.79999995"."""
    if isinstance(answer, str):
        return answer
    if isinstance(answer, tuple):
        return separator.join(answer)
    # Nine digits name a float32.
    return f"{answer:.9g}"


def labels_of(answer: Answer) -> Sequence[str]:
    """ "a" -> ("a",); ("a", "b") as it is; 3.8 -> ()"""
    if isinstance(answer, str):
        return (answer,)
    return answer if isinstance(answer, tuple) else ()


def check_among(answer: Answer | None, labels: Sequence[str], *, where: str) -> None:
    """Raise `UserError` where a label is none of `labels`, if there are any."""
    for label in labels_of(answer) if labels and answer is not None else ():
        if label not in labels:
            raise UserError(
                f"{where}: label {label!r} must be one of {listed(labels)}; mend the line, or "
                "name the column that holds labels"
            )


def listed(labels: Sequence[str]) -> str:
    """The first twenty labels, and how many more there are."""
    more = f" and {len(labels) - 20} more" if len(labels) > 20 else ""
    return ", ".join(map(repr, labels[:20])) + more


def _checked(text: str, *, where: str) -> str:
    if any(letter in text for letter in "\t\n\r"):
        raise UserError(
            f"{where}: {text[:40]!r} must be one line without tabs, as it stands in a file of "
            "predictions; name another column for labels or ids"
        )
    return characters(text, what="a label or an id", where=where)
