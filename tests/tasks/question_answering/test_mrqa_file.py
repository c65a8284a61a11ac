"""What is read of MRQA's form, and our halves of it."""

import gzip
import json
import re

import pytest

from spanbert_jax.config.tasks import MrqaConfig
from spanbert_jax.errors import UserError
from spanbert_jax.tasks.question_answering.halves import fingerprint, half_ids, half_of
from spanbert_jax.tasks.question_answering.mrqa_file import read_mrqa
from spanbert_jax.tasks.task import load_task

HEADER = {"header": {"dataset": "Test", "split": "dev"}}
CONTEXT = "by Ada in 1843 by Ada"


def detected(text: str, *spans: list[int]) -> dict:
    return {"text": text, "char_spans": list(spans)}


def paragraph(*answers: dict, qid: str = "q1", context: str = CONTEXT) -> dict:
    texts = [each["text"] for each in answers]
    record = {
        "qid": qid, "question": "Who?", "answers": texts, "detected_answers": list(answers)
    }  # fmt: skip
    return {"context": context, "qas": [record]}


@pytest.fixture
def write_lines(tmp_path):
    def write(*records: object, name: str = "mrqa.jsonl") -> str:
        content = "".join(json.dumps(record) + "\n" for record in records).encode()
        (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
        return str(tmp_path / name)

    return write


@pytest.mark.parametrize("name", ["mrqa.jsonl", "mrqa.jsonl.gz"])
@pytest.mark.parametrize("header", [[HEADER], []])
def test_the_earliest_detected_answer_is_trained_on(write_lines, name, header):
    record = paragraph(detected("1843", [10, 13]), detected("Ada", [18, 20], [3, 5]))
    (question,), notes = read_mrqa(write_lines(*header, record, name=name), training=True)
    assert question.context[slice(*question.span)] == "Ada" and question.span[0] == 3
    assert notes == ()


def test_all_answers_count_as_right_on_dev(write_lines):
    path = write_lines(HEADER, paragraph(detected("1843", [10, 13]), detected("Ada", [3, 5])))
    (question,), _ = read_mrqa(path, training=False)
    assert question.answers == ("1843", "Ada") and question.known


def test_detected_answers_may_differ_in_case_accents_and_spaces(write_lines):
    path = write_lines(paragraph(detected("adà", [3, 5])))
    (question,), notes = read_mrqa(path, training=True)
    assert question.span == (3, 6) and notes == ()


def test_answers_a_few_characters_off_are_repaired_and_others_left_out(write_lines):
    path = write_lines(
        paragraph(detected("Ada", [4, 6]), qid="off"), paragraph(detected("Bob", [3, 5]), qid="no"),
        paragraph(detected("Ada", [3, 99]), qid="beyond"), paragraph(qid="none"),
        paragraph(detected("Ada", [3, 5]), qid="empty", context=" "),
    )  # fmt: skip
    examples, notes = read_mrqa(path, training=True)
    assert [(each.id, each.span) for each in examples] == [("off", (3, 6)), ("beyond", (3, 6))]
    assert [note.rpartition(" (")[2] for note in notes] == [
        "off, beyond)",
        "no)",
        "none)",
        "empty)",
    ]


@pytest.mark.parametrize("place", [[0, 2], [18, 20]])
def test_an_answer_that_is_nowhere_is_counted_and_shown_beside_one_that_is_found(
    write_lines, place
):
    path = write_lines(paragraph(detected("Bob", place), detected("Ada", [3, 5])))
    (question,), notes = read_mrqa(path, training=True)
    assert question.span == (3, 6)
    assert notes == (
        "1 question: some of their answers are not in their context where the file says; trained "
        "on with another one (q1)",
    )


def test_questions_without_answers_are_of_a_test_file(write_lines):
    path = write_lines({"context": "a", "qas": [{"qid": "q1", "question": "Who?"}]})
    (question,), _ = read_mrqa(path, training=False)
    assert not question.known


def refused(path: str, message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        read_mrqa(path, training=True)


def test_a_malformed_line_is_refused_with_its_number_and_the_reason(write_lines, tmp_path):
    path = write_lines(HEADER, paragraph())
    with open(path, "a", encoding="utf-8") as file:
        file.write('{"context": }\n')
    refused(path, f"{path}:3: must be one JSON object a line, found Expecting value at column 13")


def test_malformed_records_are_refused_with_their_path(write_lines):
    refused(write_lines(HEADER, {"qas": []}), "mrqa.jsonl:2: must have the field 'context'")
    refused(write_lines(paragraph(detected("Ada", [3]))), "qas[0].detected_answers[0].char_spans")
    twice = paragraph(detected("Ada", [3, 5]))
    refused(write_lines(twice, twice), "mrqa.jsonl:2: qas[0]: the id of a question must stand once")
    refused(write_lines(HEADER), "must hold questions, found none")


def test_the_halves_are_a_rule_that_anybody_can_compute():
    assert half_of("q1", seed=42) == "dev"
    ids = [f"q{i}" for i in range(1000)]
    dev, test = half_ids(ids, half="dev"), half_ids(ids, half="test")
    assert sorted(dev + test) == sorted(ids) and half_ids(ids, half="all") == ids
    assert 450 < len(dev) < 550
    assert half_ids(ids, half="dev", seed=7) != dev
    assert fingerprint(dev) == fingerprint(reversed(dev)) != fingerprint(test)


def test_a_half_of_dev_is_read_and_all_of_train(write_lines):
    records = [paragraph(detected("Ada", [3, 5]), qid=f"q{i}") for i in range(20)]
    path = write_lines(HEADER, *records)
    ids = [f"q{i}" for i in range(20)]
    for half in ("dev", "test"):
        examples, notes = load_task(MrqaConfig(half=half)).read(path, training=False)
        chosen = half_ids(ids, half=half)
        assert [each.id for each in examples] == chosen
        assert notes == (
            f"{len(chosen)} of 20 questions are in the half '{half}' of seed 42; sha256 of their "
            f"ids {fingerprint(chosen)}",
        )
        assert len(load_task(MrqaConfig(half=half)).read(path, training=True).examples) == 20


def test_an_empty_half_is_refused(write_lines):
    path = write_lines(paragraph(detected("Ada", [3, 5]), qid="q1"))
    with pytest.raises(UserError, match="--task.half test: must hold questions"):
        load_task(MrqaConfig(half="test")).read(path, training=False)


@pytest.mark.parametrize(
    "name, questions, in_test",
    [
        ("NaturalQuestionsQED.dev.jsonl.gz", 186, 105),
        ("WikiShifts.train.jsonl.gz", 6_114, 3_062),
        ("newsqa_sample.jsonl", 17, 9),
    ],
)
def test_real_files_are_read_whole_and_halved(shared, name, questions, in_test):
    path = str(shared / "data/qa/mrqa" / name)
    found, notes = read_mrqa(path, training=True)
    assert len(found) == questions and notes == ()
    for question in found:
        text = question.context[slice(*question.span)].casefold()
        assert text in {answer.casefold() for answer in question.answers}
    ids = [question.id for question in found]
    halves = {half: half_ids(ids, half=half) for half in ("dev", "test")}
    assert sorted(halves["dev"] + halves["test"]) == sorted(ids)
    assert len(halves["test"]) == in_test
