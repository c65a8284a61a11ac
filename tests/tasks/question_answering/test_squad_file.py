"""What is read of SQuAD JSON, what is repaired or left out, and what is refused."""

import json
import re
from pathlib import Path

import pytest

from spanbert_jax.errors import UserError
from spanbert_jax.tasks.question_answering.locating import locate
from spanbert_jax.tasks.question_answering.squad_file import read_squad

ADA = {"text": "Ada", "answer_start": 3}
YEAR = {"text": "1843", "answer_start": 10}
SOME_MISSING = (
    "1 question: some of their answers are not in their context where the file says; trained on "
    "with another one (q1)"
)


def answered(question_id: str, *answers: dict, **fields: object) -> dict:
    return {"id": question_id, "answers": list(answers), **fields}


def test_training_points_at_the_first_answer_and_keeps_all_texts(write_squad):
    path = write_squad(answered("q1", ADA, YEAR))
    (question,), notes = read_squad(path, training=True, unanswerable=False)
    assert question.context[slice(*question.span)] == "Ada"
    assert question.answers == ("Ada", "1843")
    assert notes == ()


@pytest.mark.parametrize(
    "text, start, expected, repaired",
    [
        ("Ada", 3, (3, 6), False),
        (" Ada", 2, (3, 6), False),
        ("Ada ", 3, (3, 6), False),
        (" Ada", 3, (3, 6), True),
        ("Ada", 4, (3, 6), True),
        ("Ada", 0, (3, 6), True),
        ("1843", -1, None, None),
        ("Ada", 9, None, None),
        ("Bob", 3, None, None),
        (" ", 2, None, None),
        ("", 3, None, None),
    ],
)
def test_an_answer_is_found_where_it_should_be_or_a_few_characters_off(
    text, start, expected, repaired
):
    found = locate("by Ada in 1843", text, start)
    assert (found and found.span, found and found.repaired) == (expected, repaired)


def test_the_nearest_of_two_is_the_one_that_was_meant():
    assert locate("a 1 a 1 a", "1", 5).span == (6, 7)
    assert locate("a 1 a 1 a", "1", 4).span == (2, 3)


def test_a_repaired_answer_is_trained_on_and_counted(write_squad):
    path = write_squad(answered("q1", {"text": " Ada", "answer_start": 3}))
    (question,), notes = read_squad(path, training=True, unanswerable=False)
    assert question.span == (3, 6)
    assert len(notes) == 1 and notes[0].startswith("1 question: ") and "repaired (q1)" in notes[0]


def test_an_answer_that_is_not_in_its_context_is_counted_shown_and_not_trained_on(write_squad):
    wrong = [answered(f"q{i}", {"text": "Bob", "answer_start": 3}) for i in range(4)]
    path = write_squad(*wrong, answered("good", YEAR))
    examples, notes = read_squad(path, training=True, unanswerable=False)
    assert [example.id for example in examples] == ["good"]
    assert notes == (
        "4 questions: their answer is not in their context where the file says; not trained on "
        "(q0, q1, q2, ...)",
    )


def test_an_answer_that_is_not_in_its_context_still_counts_as_right_on_dev(write_squad):
    path = write_squad(answered("q1", {"text": "Bob", "answer_start": 3}))
    (question,), notes = read_squad(path, training=False, unanswerable=False)
    assert question.answers == ("Bob",) and question.known and notes == ()


def test_the_second_answer_is_trained_on_where_the_first_is_nowhere(write_squad):
    path = write_squad(answered("q1", {"text": "Bob", "answer_start": 3}, YEAR))
    (question,), notes = read_squad(path, training=True, unanswerable=False)
    assert question.span == (10, 14)
    assert notes == (SOME_MISSING,)


def test_a_further_answer_that_is_nowhere_is_counted_and_shown(write_squad):
    path = write_squad(answered("q1", YEAR, {"text": "Bob", "answer_start": 3}))
    (question,), notes = read_squad(path, training=True, unanswerable=False)
    assert question.span == (10, 14)
    assert notes == (SOME_MISSING,)


@pytest.mark.parametrize("context", ["", " \n"])
def test_an_empty_context_is_not_trained_on_but_answered_on_dev(write_squad, context):
    path = write_squad(answered("q1", ADA), context=context)
    examples, notes = read_squad(path, training=True, unanswerable=False)
    assert examples == [] and "context is empty; not trained on (q1)" in notes[0]
    examples, notes = read_squad(path, training=False, unanswerable=False)
    assert len(examples) == 1 and "context is empty; answered with nothing (q1)" in notes[0]


def test_impossible_questions_are_trained_on_where_they_may_be_asked(write_squad):
    path = write_squad(
        answered("q1", is_impossible=True, plausible_answers=[ADA]), answered("q2", YEAR)
    )
    examples, notes = read_squad(path, training=True, unanswerable=True)
    assert [(each.id, each.span) for each in examples] == [("q1", None), ("q2", (10, 14))]
    assert notes == ()
    examples, notes = read_squad(path, training=True, unanswerable=False)
    assert [each.id for each in examples] == ["q2"]
    assert "--task.unanswerable True (q1)" in notes[0]


def test_impossible_questions_do_not_count_where_every_question_has_an_answer(write_squad):
    path = write_squad(answered("q1", is_impossible=True), answered("q2", YEAR))
    examples, notes = read_squad(path, training=False, unanswerable=False)
    assert [each.known for each in examples] == [False, True]
    assert "not scored (q1)" in notes[0]


def test_contradictory_questions_are_not_trained_on(write_squad):
    path = write_squad(
        answered("q1", ADA, is_impossible=True), answered("q2", is_impossible=False),
        answered("q3"),
    )  # fmt: skip
    examples, notes = read_squad(path, training=True, unanswerable=True)
    assert examples == []
    assert "said to have none (is_impossible); not trained on (q1)" in notes[0]
    assert "not said to have none; not trained on (q2, q3)" in notes[1]


@pytest.mark.parametrize("fields", [{}, {"answers": []}, {"answers": [], "is_impossible": False}])
@pytest.mark.parametrize("unanswerable", [True, False])
def test_a_file_without_any_answer_is_a_test_file(write_squad, fields, unanswerable):
    path = write_squad({"id": "q1", **fields}, {"id": "q2", **fields})
    examples, notes = read_squad(path, training=False, unanswerable=unanswerable)
    assert [each.known for each in examples] == [False, False] and notes == ()


def test_a_file_of_impossible_questions_alone_is_known(write_squad):
    path = write_squad(answered("q1", is_impossible=True))
    (question,), _ = read_squad(path, training=False, unanswerable=True)
    assert question.known and question.answers == ()


def test_numbers_as_ids_become_text(write_squad):
    (question,), _ = read_squad(write_squad(answered(262, ADA)), training=True, unanswerable=False)
    assert question.id == "262"


def refused(path: object, message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        read_squad(str(path), training=True, unanswerable=False)


def test_malformed_json_is_refused_with_its_line_and_the_reason(write_text):
    path = write_text('{"data": [\n  {"paragraphs": [}\n]}')
    refused(path, f"{path}:2: must be JSON, found Expecting value at column 19")


def test_json_nested_without_end_is_refused(write_text):
    refused(write_text("[" * 100_000), "nested too deep")


def test_a_missing_key_is_refused_with_the_path_of_its_record(write_text):
    path = write_text('{"data": [{"paragraphs": [{"context": "a", "qas": [{"id": "q"}]}]}]}')
    refused(
        path, f"{path}: data[0].paragraphs[0].qas[0]: must have the field 'question', found 'id'"
    )
    refused(write_text('{"data": [{}]}'), "data[0]: must have the field 'paragraphs', found none")
    refused(write_text("[]"), "must be an object, found list")
    refused(write_text('{"version": "1.1", "data": []}'), "must hold questions, found none")


@pytest.mark.parametrize(
    "answer, message",
    [
        ({"text": "Ada"}, "qas[0].answers[0]: must have the field 'answer_start'"),
        ({"text": 3, "answer_start": 3}, "answers[0].text: must be text, found 3"),
        ({"text": "Ada", "answer_start": "3"}, "answer_start: must be a whole number, found '3'"),
        ({"text": "Ada", "answer_start": True}, "answer_start: must be a whole number, found True"),
        ("Ada", "answers[0]: must be an object, found str"),
    ],
)
def test_a_malformed_answer_is_refused_with_its_path(write_squad, answer, message):
    refused(write_squad(answered("q1", answer)), message)


def test_an_id_that_stands_twice_is_refused(write_squad):
    path = write_squad(answered("q1", ADA), answered("q1", YEAR))
    refused(path, "qas[1]: the id of a question must stand once in a file, found 'q1' also at data")


def test_half_a_character_is_refused(write_squad):
    refused(write_squad(answered("q1", ADA), context="by Ada \ud83d"), "half of a surrogate pair")


def test_what_is_not_utf_8_or_not_there_is_refused(tmp_path):
    (tmp_path / "latin.json").write_bytes(b'{"data":\n"caf\xe9"}')
    refused(tmp_path / "latin.json", "latin.json:2: text must be UTF-8, found byte 0xe9")
    (tmp_path / "digits.json").write_text("[" + "9" * 5000 + "]")
    refused(tmp_path / "digits.json", "digits.json: must be JSON of questions, found a number of")
    refused(tmp_path / "none.json", "must be a file of examples, found no such file")
    (tmp_path / "cut.json.gz").write_bytes(b"\x1f\x8b\x08\x00")
    refused(tmp_path / "cut.json.gz", "is damaged, cut off")


def test_a_byte_order_mark_is_no_part_of_the_file(write_squad, write_text):
    content = Path(write_squad(answered("q1", ADA))).read_text(encoding="utf-8")
    path = write_text("\ufeff" + content)
    assert len(read_squad(str(path), training=True, unanswerable=False).examples) == 1


def test_covid_qa_is_repaired_as_its_readme_says(shared):
    path = shared / "data" / "qa" / "covid_qa" / "train.json"
    examples, notes = read_squad(str(path), training=True, unanswerable=False)
    answers = {
        str(qa["id"]): qa["answers"][0]["text"]
        for article in json.loads(path.read_text(encoding="utf-8"))["data"]
        for paragraph in article["paragraphs"]
        for qa in paragraph["qas"]
    }
    assert len(examples) == len(answers) == 911
    for each in examples:
        assert each.context[slice(*each.span)] == answers[each.id].strip()
    assert len(notes) == 1 and notes[0].startswith("164 questions: ")
