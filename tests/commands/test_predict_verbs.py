"""`spanbert predict` of fine-tuned models: where examples come from, and what is printed."""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import spanbert_jax
from spanbert_jax.__main__ import main
from spanbert_jax.commands.answer_tables import shown_of
from spanbert_jax.commands.asked_lines import chunks
from spanbert_jax.commands.remarks import Remarks
from spanbert_jax.config.files import load_module
from spanbert_jax.config.tasks import (
    SquadConfig,
    TacredConfig,
    TaggingConfig,
    TextClassificationConfig,
)
from spanbert_jax.errors import UserError
from spanbert_jax.inference.fine_tuned_model import FineTunedModel

CONTEXT = "Ada Lovelace was born in London."
RELATED = {
    "text": "Ada was born in London.", "subject": [0, 3], "object": [16, 22],
    "subject_type": "PERSON", "object_type": "CITY",
}  # fmt: skip
ODD_WORD = Path(__file__).parents[1] / "tasks" / "files" / "odd_word.py"


@pytest.fixture(scope="module")
def runs(tmp_path_factory, save_fine_tuned) -> Path:
    """A folder with runs of squad, reviews, tags and relations."""
    folder = tmp_path_factory.mktemp("runs")
    qas = [{"id": "q", "question": "who ?", "answers": [{"text": "Ada", "answer_start": 0}]}]
    content = {"data": [{"paragraphs": [{"context": CONTEXT, "qas": qas}]}]}
    (folder / "squad.json").write_text(json.dumps(content))
    records = [{"text": "a good film", "label": "good"}, {"text": "a bad film", "label": "bad"}]
    (folder / "reviews.jsonl").write_text("".join(json.dumps(each) + "\n" for each in records))
    (folder / "tags.conll").write_text("ada B-PER\nwas O\n")
    sentence = {
        "token": "ada was born in london .".split(), "subj_start": 0, "subj_end": 0, "obj_start": 4,
        "obj_end": 4, "subj_type": "PERSON", "obj_type": "CITY",
    }  # fmt: skip
    related = [sentence | {"id": each, "relation": each} for each in ("no_relation", "born_in")]
    (folder / "relations.json").write_text(json.dumps(related))

    def files(name: str) -> dict[str, str]:
        return {"train": str(folder / name), "dev": str(folder / name)}

    save_fine_tuned(
        folder / "squad", SquadConfig(**files("squad.json"), max_length=32, max_query_length=8)
    )
    save_fine_tuned(
        folder / "reviews", TextClassificationConfig(**files("reviews.jsonl"), max_length=32)
    )
    save_fine_tuned(folder / "tags", TaggingConfig(**files("tags.conll"), max_length=32))
    save_fine_tuned(folder / "relations", TacredConfig(**files("relations.json"), max_length=32))
    return folder


@pytest.fixture
def ask(runs, capsys, monkeypatch):
    """ask("answer", "squad", ..., stdin=""): exit code, output and errors of the program."""

    def run(verb: str, name: str, *arguments: str, stdin: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        code = main(["predict", verb, "--checkpoint", str(runs / name), *arguments])
        return code, *capsys.readouterr()

    return run


def lines(printed: str) -> list[dict]:
    return [json.loads(line) for line in printed.splitlines()]


def test_one_question_is_answered_in_columns(ask, runs):
    code, printed, _ = ask("answer", "squad", "Who was born?", "--context", CONTEXT, "--top", "3")
    best = spanbert_jax.load(runs / "squad").answer("Who was born?", CONTEXT)["n_best"]
    assert code == 0
    answer, heading, *rows = printed.splitlines()
    assert answer == best[0]["text"]
    assert heading.split() == ["probability", "characters", "answer"]
    assert [row.split(maxsplit=2)[2].strip() for row in rows] == [each["text"] for each in best[:3]]


def test_one_question_is_answered_as_json_where_asked_for(ask, tmp_path):
    (tmp_path / "ada.txt").write_text(CONTEXT)
    arguments = ("Who was born?", "--context-file", str(tmp_path / "ada.txt"), "--json")
    (found,) = lines(ask("answer", "squad", *arguments)[1])
    assert CONTEXT[found["start"] : found["end"]] == found["answer"]
    assert len(found["n_best"]) == 5


@pytest.mark.parametrize(
    "content, message",
    [
        (b" \n", "ada.txt: must hold text, found none; name another file"),
        (b"Ada\n\xe9", "ada.txt:2: text must be UTF-8, found byte 0xe9"),
    ],
)
def test_a_context_file_without_text_is_refused_by_its_flag(ask, tmp_path, content, message):
    (tmp_path / "ada.txt").write_bytes(content)
    file = str(tmp_path / "ada.txt")
    code, printed, said = ask("answer", "squad", "Who?", "--context-file", file)
    assert (code, printed) == (2, "")
    assert f"--context-file {tmp_path}/{message}" in said


def test_texts_are_classified_and_tagged(ask):
    _, printed, _ = ask("classify", "reviews", "a good film")
    assert printed.splitlines()[0] in ("good", "bad")
    assert printed.splitlines()[1].split() == ["probability", "label"]
    _, printed, _ = ask("tag", "tags", "Ada was born.")
    assert "entit" in printed.splitlines()[0]


def test_a_relation_is_found_behind_the_flags_and_on_standard_input(ask, runs):
    expected = spanbert_jax.load(runs / "relations").relation(RELATED)
    code, printed, _ = ask("relation", "relations", json.dumps(RELATED))
    assert code == 0
    relation, heading, *rows = printed.splitlines()
    assert relation == expected["relation"]
    assert heading.split() == ["probability", "relation"]
    assert [row.split()[1] for row in rows] == list(expected["probabilities"])
    assert set(expected["probabilities"]) == {"no_relation", "born_in"}

    words = {"tokens": "Ada was born in London .".split(), "subject": [0, 0], "object": [4, 4]}
    asked = [RELATED, RELATED | {"object": [8, 12]}, {"id": "w", **words}]
    asked[2] |= {"subject_type": "PERSON", "object_type": "CITY"}
    code, printed, _ = ask("relation", "relations", stdin="\n".join(map(json.dumps, asked)))
    assert code == 0
    of_text, of_others, of_words = lines(printed)
    # In a batch of three, but for rounding.
    close = pytest.approx(expected["probabilities"], rel=1e-4)
    assert of_text["probabilities"] == of_words["probabilities"] == close
    assert of_others["probabilities"] != close
    assert "id" not in of_text and of_words["id"] == "w"


def test_json_lines_of_standard_input_are_answered_in_order(ask, runs):
    asked = [{"id": str(i), "question": "Who?", "context": CONTEXT * (i + 1)} for i in range(5)]
    stdin = "\n\n".join(json.dumps(each, ensure_ascii=False) for each in asked)
    code, printed, _ = ask("answer", "squad", "--at-once", "2", stdin=stdin)
    assert code == 0
    assert [each["id"] for each in lines(printed)] == ["0", "1", "2", "3", "4"]


def test_json_lines_of_a_file_are_answered_as_those_of_standard_input(ask, tmp_path):
    content = "".join(json.dumps({"text": text}) + "\n" for text in ("a good film", "the river"))
    (tmp_path / "texts.jsonl").write_text(content)
    from_file = ask("classify", "reviews", "--file", str(tmp_path / "texts.jsonl"))
    assert from_file == ask("classify", "reviews", stdin=content)
    assert [each["text"] for each in lines(from_file[1])] == ["a good film", "the river"]


def test_lines_are_answered_before_the_last_one_is_read(runs, monkeypatch, capsys):
    """However many lines there are, only those of a chunk are held."""
    seen: list[tuple[int, int]] = []
    answered = 0

    class Endless(io.StringIO):
        def __iter__(self) -> Iterator[str]:
            for number in range(9):
                seen.append((number, answered))
                yield '{"text": "a good film"}\n'

    described = FineTunedModel.described

    def counted(model, examples, **options):
        nonlocal answered
        answered += len(examples)
        return described(model, examples, **options)

    monkeypatch.setattr("sys.stdin", Endless())
    monkeypatch.setattr(FineTunedModel, "described", counted)
    run = str(runs / "reviews")
    assert main(["predict", "classify", "--checkpoint", run, "--at-once", "4"]) == 0
    assert seen == [(n, n // 4 * 4) for n in range(9)]
    assert len(capsys.readouterr().out.splitlines()) == 9


@pytest.mark.parametrize(
    "line, parts",
    [
        ('{"text": "a', ["line 3: must be one JSON object a line", "Invalid control character"]),
        ("[1]", ["line 3: must be a JSON object, found list"]),
        ('{"txet": "a"}', ["line 3: field 'txet' is none of", "the nearest one is text"]),
        ('{"text": 1}', ["line 3", "must be text"]),
        ('{"text": "\\ud800"}', ["line 3: holds half of a surrogate pair"]),
    ],
)
def test_a_malformed_line_is_named_after_those_before_it_are_answered(ask, line, parts):
    stdin = f'{{"text": "a good film"}}\n\n{line}\n{{"text": "b"}}\n'
    code, printed, message = ask("classify", "reviews", stdin=stdin)
    assert code == 2
    assert [each["text"] for each in lines(printed)] == ["a good film"]
    for part in parts:
        assert part in message


def test_a_line_of_a_file_is_named_with_the_file(ask, tmp_path):
    (tmp_path / "texts.jsonl").write_text("{}\n")
    code, _, message = ask("classify", "reviews", "--file", str(tmp_path / "texts.jsonl"))
    assert code == 2
    assert f"{tmp_path}/texts.jsonl:1: an example must have text" in message


def test_a_line_that_cannot_be_a_row_is_named_after_those_before_it_are_answered(ask, tmp_path):
    untyped = {name: value for name, value in RELATED.items() if name != "subject_type"}
    asked = [{"id": str(i)} | (untyped if i in (5, 7) else RELATED) for i in range(9)]
    (tmp_path / "asked.jsonl").write_text("".join(json.dumps(each) + "\n" for each in asked))
    for at_once in ("4", "256"):
        code, printed, message = ask(
            "relation", "relations", "--file", str(tmp_path / "asked.jsonl"), "--at-once", at_once
        )
        assert code == 2
        assert [each["id"] for each in lines(printed)] == ["0", "1", "2", "3", "4"]
        assert f"{tmp_path}/asked.jsonl:6: relation 5: subject_type is missing" in message
    code, _, message = ask("relation", "relations", json.dumps(untyped))
    assert code == 2 and "predict relation: relation: subject_type is missing" in message


def test_what_befell_rows_is_counted_over_all_chunks_and_said_once(ask):
    far = {"text": "Ada" + " was" * 40 + " London", "subject": [0, 3], "object": [164, 170]}
    typed = {"subject_type": "PERSON", "object_type": "CITY"}
    asked = [RELATED, far | typed, RELATED | {"subject_type": "PRESON"}, far | typed, RELATED]
    stdin = "".join(json.dumps(each) + "\n" for each in asked)
    code, printed, message = ask("relation", "relations", "--at-once", "2", stdin=stdin)
    assert (code, len(lines(printed))) == (0, 5)
    assert message.splitlines() == [
        "standard input: of its rows",
        "  2 rows lost an entity, cut at --task.max-length 32",
        "  1 rows show a type unseen in training (SUBJ=PRESON) as the most frequent one",
    ]
    question = "Who was born in London? " * 4
    _, _, message = ask("answer", "squad", question, "--context", CONTEXT)
    assert message.splitlines() == [
        "the example: of its rows",
        "  1 of the questions: longer than 8 tokens; the rest is cut off",
    ]
    assert ask("relation", "relations", json.dumps(RELATED))[2] == ""


def test_remarks_without_a_number_are_said_once():
    remarks = Remarks()
    for chunk in (("1,200 rows cut", "slow"), (), ("3 rows cut", "slow"), ("4 words cut",)):
        remarks.add(chunk)
    assert remarks.said == ("1,203 rows cut", "slow", "4 words cut")


def test_a_terminal_without_an_example_is_told_what_to_type(runs, monkeypatch, capsys):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stdin", Terminal())
    assert main(["predict", "tag", "--checkpoint", str(runs / "tags")]) == 2
    assert "there is nothing to tag; write it behind the flags" in capsys.readouterr().err


@pytest.mark.parametrize(
    "verb, name, arguments, parts",
    [
        ("answer", "reviews", ("Who?", "--context", "a"),
         ["reviews: answer needs a model with a head of question answering",
          "task text_classification, which is asked with classify"]),
        ("answer", "squad", ("Who?",), ["--context '': must hold the answer"]),
        ("answer", "squad", ("--context", "a"), ["QUESTION '': must stand before a context"]),
        ("answer", "squad", ("Who?", "--context", "a", "--context-file", "b"),
         ["--context-file b: cannot stand beside --context"]),
        ("answer", "squad", ("Who?", "--context-file", "nowhere.txt"),
         ["--context-file nowhere.txt: must be a file of text, found no such file"]),
        ("classify", "reviews", ("a", "b"), ["must have text", "found text, text_pair"]),
        ("classify", "reviews", ("a", "--file", "b"), ["--file b: cannot stand beside"]),
        ("classify", "reviews", ("--file", "nowhere.jsonl"), ["there is no such file"]),
        ("classify", "reviews", ("a", "--top", "0"), ["--top 0: must be greater than 0"]),
        ("relation", "reviews", ("{",), ["head of relation extraction"]),
        ("relation", "relations", ("{",),
         ["spanbert predict relation: SENTENCE: must be a JSON object (", "; quote it"]),
        ("relation", "relations", ("[1]",), ["SENTENCE: must be a JSON object, found list"]),
        ("relation", "relations", (json.dumps(RELATED | {"object": [16, 99]}),),
         ["object must be characters [start, end)", "found 16 and 99"]),
        ("tag", "nowhere", ("a",), ["nowhere"]),
    ],
)  # fmt: skip
def test_mistakes_are_said(ask, verb, name, arguments, parts):
    code, printed, message = ask(verb, name, *arguments)
    assert (code, printed) == (2, "")
    for part in parts:
        assert part in message


@pytest.mark.parametrize("verb", ["answer", "classify", "relation", "tag"])
def test_a_pretrained_run_says_which_heads_it_has(verb, pretrained, capsys):
    assert main(["predict", verb, "--checkpoint", str(pretrained), "--file", __file__]) == 2
    message = capsys.readouterr().err
    assert f"--checkpoint {pretrained}: {verb} needs a model with a head of" in message
    assert "found heads of pretraining alone (masked language model, span boundary);" in message


def test_a_task_of_ones_own_is_asked_by_its_file(tmp_path, save_fine_tuned, monkeypatch, capsys):
    data = tmp_path / "dev.jsonl"
    data.write_text(json.dumps({"words": ["ada", "was", "river"], "odd": 2}) + "\n")
    task = load_module(ODD_WORD).OddWordConfig(train=str(data), dev=str(data), max_length=32)
    run = save_fine_tuned(tmp_path / "run", task)
    monkeypatch.setattr("sys.stdin", io.StringIO('{"words": ["ada", "was", "river"]}'))
    flags = ["--checkpoint", str(run), "--task-file", str(ODD_WORD)]
    assert main(["predict", "classify", *flags]) == 0
    (found,) = lines(capsys.readouterr().out)
    assert found["prediction"] in (0, 1, 2)


def test_an_example_that_a_task_of_ones_own_refuses_among_others_is_named(
    tmp_path, save_fine_tuned, monkeypatch, capsys
):
    data = tmp_path / "dev.jsonl"
    data.write_text(json.dumps({"words": ["ada", "was", "river"], "odd": 2}) + "\n")
    module = load_module(ODD_WORD)
    task = module.OddWordConfig(train=str(data), dev=str(data), max_length=32)
    run = save_fine_tuned(tmp_path / "run", task)
    own_rows = module.OddWord.rows

    def rows(task, examples, **options):
        if not all(each["words"] for each in examples):
            raise UserError("there must be words, found none; write some")
        return own_rows(task, examples, **options)

    monkeypatch.setattr(module.OddWord, "rows", rows)
    asked = ['{"words": ["ada"]}', '{"words": ["ada", "was"]}', '{"words": []}', '{"words": []}']
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(asked)))
    assert main(["predict", "classify", "--checkpoint", str(run)]) == 2
    printed, message = capsys.readouterr()
    assert len(lines(printed)) == 2
    assert "standard input, line 3: there must be words, found none" in message


@pytest.mark.parametrize(
    "described, headline, rows",
    [
        ({"label": "a", "probabilities": {"a": 0.75, "b": 0.25}}, "a",
         [("75%", "a"), ("25%", "b")]),
        ({"labels": [], "probabilities": {"a": 0.25}}, "(no label)", [("25%", "a")]),
        ({"score": 3.799999}, "3.8", []),
        ({"relation": "born_in", "probabilities": {"born_in": 1.0}}, "born_in",
         [("100%", "born_in")]),
        ({"answer": "", "n_best": [{"text": "", "start": None, "end": None, "probability": 0.5}]},
         "(no answer)", [("50%", "-", "(no answer)")]),
        ({"entities": [{"type": "PER", "text": "[Ada]", "start": 0, "end": 5, "probability": 0.5}]},
         "1 entity", [("PER", "0-5", "50%", "[Ada]")]),
        ({"prediction": 3}, "3", []),
    ],
)  # fmt: skip
def test_each_kind_of_prediction_has_its_table(described, headline, rows):
    shown = shown_of(described)
    assert (shown.headline, list(shown.rows)) == (headline, rows)


def test_chunks_give_what_came_before_an_error():
    def items() -> Iterator[int]:
        yield from (1, 2, 3)
        raise UserError("bad line")

    given = chunks(items(), size=2)
    assert [next(given), next(given)] == [[1, 2], [3]]
    with pytest.raises(UserError, match="bad line"):
        next(given)
