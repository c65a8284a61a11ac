"""Predictions as a table: id, prediction, probability, and a mark of the text that they are of.

In: predictions. Out: text, and back.
"""

import hashlib
from collections.abc import Sequence

from spanbert_jax.errors import UserError
from spanbert_jax.tasks.classification.answers import (
    Answer,
    answer_text,
    check_among,
    labels_of,
    read_id,
)
from spanbert_jax.tasks.classification.examples import TextExample
from spanbert_jax.tasks.classification.kinds import Kind, Prediction
from spanbert_jax.tasks.records import read_table, require_column

_TEXT = "text_sha256"


def predictions_table(
    examples: Sequence[TextExample],
    predictions: Sequence[Prediction],
    *,
    labels: Sequence[str],
    separator: str,
) -> str:
    """A line for each example; of a score there is no probability.

    "id\\tprediction\\tprobability\\ttext_sha256\\n0\\tpositive\\t0.912345\\td14a58bae804a2b8\\n"
    """
    numbers = {label: number for number, label in enumerate(labels)}
    names = ("id", "prediction", *(("probability",) if labels else ()), _TEXT)
    lines = ["\t".join(names)]
    for example, prediction in zip(examples, predictions, strict=True):
        fields = [example.id, answer_text(prediction.answer, separator=separator)]
        if labels:
            chosen = (numbers[label] for label in labels_of(prediction.answer))
            fields.append(separator.join(f"{prediction.probabilities[i]:.6f}" for i in chosen))
        lines.append("\t".join([*fields, text_mark(example)]))
    return "\n".join(lines) + "\n"


def text_mark(example: TextExample) -> str:
    """The first half of the sha256 of a text, its second text behind a line feed: of two files
    whose examples are only numbered, the numbers are the same.

    text_mark(TextExample("fine", None)) -> "d14a58bae804a2b8"
    """
    texts = (example.text, example.text_pair)
    joined = "\n".join(text for text in texts if text is not None)
    return hashlib.sha256(joined.encode()).hexdigest()[:16]


def read_predictions_table(
    path: str, examples: Sequence[TextExample], *, kind: Kind, labels: Sequence[str]
) -> list[Answer]:
    """The predicted answers of `examples`, in their order.

    labels: the only ones there may be; empty allows any.

    A table without the marks of texts, which somebody else may have written, goes by ids alone.

    Raises:
        UserError: no such table, or one for other examples or of other labels.
    """
    table = read_table(path, file_format="tsv")
    for column in ("id", "prediction"):
        require_column(table, column, place=path, flag="")
    marks = {example.id: text_mark(example) for example in examples}
    found: dict[str, Answer] = {}
    for where, values in table.records:
        name = read_id(values["id"], where=where)
        answer = kind.read(values["prediction"], where=where)
        check_among(answer, labels, where=where)
        if answer is None or name in found:
            raise UserError(
                f"{where}: must predict one answer for {name!r}, found "
                f"{'none' if answer is None else 'a second one'}; write the file anew"
            )
        if name in marks and values.get(_TEXT, marks[name]) != marks[name]:
            raise UserError(
                f"{where}: must be of the text of example {name}, found the mark of another text "
                f"({values[_TEXT]}, not {marks[name]}); score it beside the file it was made for"
            )
        found[name] = answer
    _check_same(path, found, examples)
    return [found[example.id] for example in examples]


def _check_same(path: str, found: dict[str, Answer], examples: Sequence[TextExample]) -> None:
    asked = {example.id for example in examples}
    missing, unknown = asked - found.keys(), found.keys() - asked
    if missing or unknown:
        raise UserError(
            f"{path}: must hold a prediction for each of the {len(asked)} examples and no other, "
            f"found {len(found)}{_some('without', missing)}{_some('for unknown', unknown)}; score "
            "it beside the file it was made for"
        )


def _some(word: str, ids: set[str]) -> str:
    """_some("without", {"7", "3"}) -> ", without 3, 7"."""
    named = ", ".join(sorted(ids)[:3])
    return f", {word} {named}{', ...' if len(ids) > 3 else ''}" if ids else ""
