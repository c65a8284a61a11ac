"""Reads the form of MRQA 2019: JSON lines, compressed or not. In: a path. Out: questions.

{"header": {"dataset": "NewsQA", "split": "dev"}}
{"context": "...", "qas": [{"qid": "q1", "question": "...", "answers": ["Ada"],
"detected_answers": [{"text": "Ada", "char_spans": [[3, 5]]}]}]}

The first line may be missing. The ends of `char_spans` are inclusive.
"""

import unicodedata
from collections.abc import Iterator
from typing import Any, NamedTuple

from spanbert_jax.errors import UserError
from spanbert_jax.tasks.question_answering.locating import Counts, Located, locate
from spanbert_jax.tasks.question_answering.question import Question
from spanbert_jax.tasks.question_answering.records import (
    Ids,
    field_of,
    id_of,
    json_lines,
)
from spanbert_jax.tasks.question_answering.squad_file import (
    NO_CONTEXT,
    NO_CONTEXT_DEV,
    NOT_FOUND,
    PARTLY_FOUND,
    REPAIRED,
)
from spanbert_jax.tasks.task import Dataset
from spanbert_jax.tasks.text_files import read_text

NONE_DETECTED = "none of their answers was detected in their context; not trained on"


class _Record(NamedTuple):
    id: str
    question: str
    context: str
    answers: tuple[str, ...]
    detected: list[tuple[str, int, int]]
    """Text, first and last character."""


def read_mrqa(path: str, *, training: bool) -> Dataset[Question]:
    """Questions of a file, and notes of what was repaired or left out.

    training: point at the earliest of all detected answers, as the released code; leave out what
        cannot be trained on. Else keep every question, with all of its answers.

    Raises:
        UserError: a line is malformed, or an id stands twice.
    """
    counts = Counts()
    make = _trained if training else _scored
    records = list(_records(path))
    if not records:
        raise UserError(f"{path}: must hold questions, found none; name a file in MRQA's form")
    made = [make(record, counts) for record in records]
    return Dataset([each for each in made if each is not None], counts.notes())


def _records(path: str) -> Iterator[_Record]:
    ids = Ids()
    for number, (where, paragraph) in enumerate(json_lines(read_text(path), path)):
        if number == 0 and isinstance(paragraph, dict) and "header" in paragraph:
            continue
        context = field_of(paragraph, "context", str, where)
        for i, record in enumerate(field_of(paragraph, "qas", list, where)):
            place = f"{where}: qas[{i}]"
            name = "qid" if isinstance(record, dict) and "qid" in record else "id"
            question_id = id_of(record, name, place)
            ids.add(question_id, place)
            yield _Record(
                question_id,
                field_of(record, "question", str, place),
                context,
                tuple(_texts(record, place)),
                list(_detected(record, place)),
            )


def _texts(record: Any, where: str) -> Iterator[str]:
    no_answers: list[Any] = []
    for number, text in enumerate(field_of(record, "answers", list, where, no_answers)):
        if not isinstance(text, str):
            raise UserError(f"{where}.answers[{number}]: must be text, found {text!r:.60}; mend it")
        yield text


def _detected(record: Any, where: str) -> Iterator[tuple[str, int, int]]:
    none_detected: list[Any] = []
    found = field_of(record, "detected_answers", list, where, none_detected)
    for number, answer in enumerate(found):
        place = f"{where}.detected_answers[{number}]"
        text = field_of(answer, "text", str, place)
        for span in field_of(answer, "char_spans", list, place):
            match span:
                case [int(first), int(last)]:
                    yield text, first, last
                case _:
                    raise UserError(
                        f"{place}.char_spans: must be pairs of whole numbers, the first and the "
                        f"last character of an answer, found {span!r:.60}; mend the record"
                    )


def _scored(record: _Record, counts: Counts) -> Question:
    if not record.context.strip():
        counts.add(NO_CONTEXT_DEV, record.id)
    return Question(*record[:4], known=bool(record.answers))


def _trained(record: _Record, counts: Counts) -> Question | None:
    places = [
        _located(record.context, *each)
        for each in sorted(record.detected, key=lambda each: each[1:])
    ]
    # The earliest, as the released code.
    located = next((each for each in places if each is not None), None)
    if located is None:
        where = record.context.strip() and (NOT_FOUND if record.detected else NONE_DETECTED)
        counts.add(where or NO_CONTEXT, record.id)
        return None
    if None in places:
        counts.add(PARTLY_FOUND, record.id)
    if located.repaired:
        counts.add(REPAIRED, record.id)
    return Question(*record[:4], span=located.span, known=True)


def _located(context: str, text: str, first: int, last: int) -> Located | None:
    """A detected answer where the file says, from its first to its last character, or near it."""
    if 0 <= first <= last < len(context):
        said = context[first : last + 1]
        # Nearly all are the very text: letters are compared of the others alone, which is slow.
        if said == text or _letters(said) == _letters(text):
            return Located((first, last + 1), repaired=False)
    located = locate(context, text, first)
    return located and located._replace(repaired=True)


def _letters(text: str) -> str:
    """Letters and digits alone: answers were detected with another case, accents or spacing.

    _letters("U. S.") == _letters("us") -> True
    """
    plain = unicodedata.normalize("NFKD", text).casefold()
    return "".join(letter for letter in plain if letter.isalnum()) or text.strip()
