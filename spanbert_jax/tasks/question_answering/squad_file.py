"""Reads SQuAD JSON, of version 1.1 and 2.0, with answers or without. In: a path. Out: questions.

{"data": [{"paragraphs": [{"context": "...", "qas": [{"id": "q1", "question": "...",
"answers": [{"text": "Ada", "answer_start": 3}], "is_impossible": false}]}]}]}
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from spanbert_jax.errors import UserError
from spanbert_jax.tasks.question_answering.locating import Counts, Located, locate
from spanbert_jax.tasks.question_answering.question import Question
from spanbert_jax.tasks.question_answering.records import (
    Ids,
    field_of,
    id_of,
    parse_json,
)
from spanbert_jax.tasks.task import Dataset
from spanbert_jax.tasks.text_files import read_text

REPAIRED = (
    "their answer stands some characters from where the file says, or begins or ends with a space "
    "that the context has not; repaired"
)
NOT_FOUND = "their answer is not in their context where the file says; not trained on"
PARTLY_FOUND = (
    "some of their answers are not in their context where the file says; trained on with another "
    "one"
)
NO_CONTEXT = "their context is empty; not trained on"
NO_CONTEXT_DEV = "their context is empty; answered with nothing"
NO_ANSWER = "they have no answer, and are not said to have none; not trained on"
UNANSWERABLE = (
    "they have no answer in their context; not trained on without --task.unanswerable True"
)
UNSCORED = "they have no answer, which counts only with --task.unanswerable True; not scored"
CONTRADICTION = "they have an answer and are said to have none (is_impossible); not trained on"


class _Record(NamedTuple):
    """A question as the file has it."""

    id: str
    question: str
    context: str
    answers: list[tuple[str, int]]
    impossible: bool | None
    """None where the file does not say."""


def read_squad(path: str, *, training: bool, unanswerable: bool) -> Dataset[Question]:
    """Questions of a file, and notes of what was repaired or left out.

    training: leave out what cannot be trained on; else keep every question. All texts of an
        answer count as right, wherever they stand.
    unanswerable: questions without an answer are known to have none (SQuAD 2.0), as long as the
        file has an answer or says of a question that it has none.

    Raises:
        UserError: the file is malformed, or an id stands twice.
    """
    records = list(_records(path))
    if not records:
        raise UserError(f"{path}: must hold questions, found none; name a file in SQuAD's form")
    counts = Counts()
    if not training:
        known = any(record.answers or record.impossible for record in records)
        examples = [_scored(record, known, unanswerable, counts) for record in records]
        return Dataset(examples, counts.notes())
    trained = [_trained(record, unanswerable, counts) for record in records]
    return Dataset([each for each in trained if each is not None], counts.notes())


def _records(path: str) -> Iterator[_Record]:
    ids = Ids()
    for where, paragraph in _paragraphs(path):
        context = field_of(paragraph, "context", str, where)
        for number, record in enumerate(field_of(paragraph, "qas", list, where)):
            place = f"{where}.qas[{number}]"
            question_id = id_of(record, "id", place)
            ids.add(question_id, place)
            yield _Record(
                question_id,
                field_of(record, "question", str, place),
                context,
                list(_answers(record, place)),
                _impossible(record, place),
            )


def _paragraphs(path: str) -> Iterator[tuple[str, Any]]:
    """Where each paragraph stands, as data[0].paragraphs[3], and its record."""
    content = parse_json(read_text(path), path)
    for i, article in enumerate(field_of(content, "data", list, path)):
        where = f"{path}: data[{i}]"
        for j, paragraph in enumerate(field_of(article, "paragraphs", list, where)):
            yield f"{where}.paragraphs[{j}]", paragraph


def _answers(record: Any, where: str) -> Iterator[tuple[str, int]]:
    no_answers: list[Any] = []
    for number, answer in enumerate(field_of(record, "answers", list, where, no_answers)):
        place = f"{where}.answers[{number}]"
        yield (
            field_of(answer, "text", str, place),
            field_of(answer, "answer_start", int, place),
        )


def _impossible(record: Any, where: str) -> bool | None:
    if "is_impossible" not in record:
        return None
    return field_of(record, "is_impossible", bool, where)


def _scored(record: _Record, known: bool, unanswerable: bool, counts: Counts) -> Question:
    if not record.context.strip():
        counts.add(NO_CONTEXT_DEV, record.id)
    if known and not unanswerable and not record.answers:
        counts.add(UNSCORED, record.id)
        known = False
    answers = tuple(text for text, _ in record.answers)
    return Question(record.id, record.question, record.context, answers, None, known)


def _trained(record: _Record, unanswerable: bool, counts: Counts) -> Question | None:
    places = [locate(record.context, text, start) for text, start in record.answers]
    located = next((each for each in places if each is not None), None)
    problem = _problem(record, located, unanswerable)
    if problem:
        counts.add(problem, record.id)
        return None
    answers = tuple(text for text, _ in record.answers)
    question = Question(record.id, record.question, record.context, answers, known=True)
    if located is None:
        return question
    if None in places:
        counts.add(PARTLY_FOUND, record.id)
    if located.repaired:
        counts.add(REPAIRED, record.id)
    return question._replace(span=located.span)


def _problem(record: _Record, located: Located | None, unanswerable: bool) -> str | None:
    """Why a question cannot be trained on; None where it can."""
    if not record.context.strip():
        return NO_CONTEXT
    if record.impossible:
        if record.answers:
            return CONTRADICTION
        return None if unanswerable else UNANSWERABLE
    if not record.answers:
        return NO_ANSWER
    return NOT_FOUND if located is None else None
