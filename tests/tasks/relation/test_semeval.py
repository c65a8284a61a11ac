"""SemEval-2010 Task 8: the official form, the official score, and bad input."""

import numpy as np
import pytest

from spanbert_jax.config.tasks import SemEvalConfig
from spanbert_jax.errors import UserError
from spanbert_jax.tasks.relation.scores import semeval_scores
from spanbert_jax.tasks.relation.semeval import SemEval

TRAIN = """1\t"The <e1>mayor</e1> of <e2>Wells</e2> married."
Component-Whole(e2,e1)
Comment: not a person

2\t"The <e1>city</e1>, the <e2>mayor</e2>."
Other
Comment:

"""
TASK = SemEval(SemEvalConfig())


@pytest.fixture
def read(tmp_path):
    def read_text(text, *, training=False):
        (tmp_path / "train.txt").write_text(text)
        return TASK.read(str(tmp_path / "train.txt"), training=training).examples

    return read_text


def test_the_official_form_is_read(read):
    first, second = read(TRAIN, training=True)
    assert first.text == "The mayor of Wells married."
    assert first.text[slice(*first.subject)] == "mayor"
    assert first.text[slice(*first.object)] == "Wells"
    assert [first.relation, second.relation] == ["Component-Whole(e2,e1)", "Other"]
    assert [first.id, second.id] == ["1", "2"]


def test_the_test_form_has_no_relations(read):
    lines = [line for line in TRAIN.split("\n") if line[:1].isdigit()]
    examples = read("\n".join(lines))
    assert [example.relation for example in examples] == [None, None]


def test_rows_keep_the_words_between_markers_and_classes_are_the_official_19(read, tokenizer):
    examples = read(TRAIN, training=True)
    tables = TASK.tables(examples, tokenizer)
    assert len(tables["labels"]) == 19 and tables["labels"][0] == "Other"
    assert list(tables["markers"]) == ["SUBJ_START", "SUBJ_END", "OBJ_START", "OBJ_END"]
    rows = list(TASK.rows(examples, tokenizer=tokenizer, tables=tables, training=True))
    pieces = [tokenizer.id_to_piece(token_id) for token_id in rows[1].token_ids]
    assert " ".join(pieces) == (
        "[CLS] the [unused1] city [unused2] , the [unused3] mayor [unused4] . [SEP]"
    )
    assert [int(row.fields["label"]) for row in rows] == [
        tables["labels"].index("Component-Whole(e2,e1)"), 0,
    ]  # fmt: skip


def test_other_modes_show_markers_of_the_role_alone(read, tokenizer):
    task = SemEval(SemEvalConfig(mode="ner"))
    examples = read(TRAIN, training=True)
    tables = task.tables(examples, tokenizer)
    assert tables["markers"] == {"OBJ=": [1], "SUBJ=": [2]}
    row = next(iter(task.rows(examples, tokenizer=tokenizer, tables=tables, training=True)))
    pieces = [tokenizer.id_to_piece(token_id) for token_id in row.token_ids]
    assert " ".join(pieces) == "[CLS] the [unused2] of [unused1] married . [SEP]"


def test_a_relation_in_the_wrong_direction_is_a_mistake_that_counts_as_predicted():
    gold = ["Cause-Effect(e1,e2)", "Cause-Effect(e2,e1)", "Other"]
    predicted = ["Cause-Effect(e1,e2)"] * 3
    scores = semeval_scores(gold, predicted)
    assert scores == pytest.approx(
        {"macro_f1": 0.4, "macro_precision": 1 / 3, "macro_recall": 0.5, "accuracy": 1 / 3}
    )


def test_the_macro_score_averages_the_f1_of_relations_and_leaves_other_out():
    gold = ["Cause-Effect(e1,e2)"] * 3 + ["Message-Topic(e2,e1)", "Other", "Other"]
    predicted = ["Cause-Effect(e1,e2)", "Cause-Effect(e1,e2)", "Other", "Message-Topic(e2,e1)",
                 "Message-Topic(e2,e1)", "Entity-Origin(e1,e2)"]  # fmt: skip
    scores = semeval_scores(gold, predicted)
    # Cause-Effect 1, 2/3, 4/5; Message-Topic 1/2, 1, 2/3; Entity-Origin is in no gold label.
    assert scores["macro_f1"] == pytest.approx((4 / 5 + 2 / 3) / 2)
    assert scores["macro_precision"] == pytest.approx(3 / 4)
    assert scores["macro_recall"] == pytest.approx((2 / 3 + 1) / 2)


def test_predictions_are_written_in_the_official_form(read, tokenizer):
    examples = read(TRAIN, training=True)
    tables = TASK.tables(examples, tokenizer)
    logits = np.zeros((2, 19), np.float32)
    logits[0, 4] = logits[1, 0] = 1.0
    verdict = TASK.judge(examples, [], [{"logits": row} for row in logits], tables=tables)
    assert TASK.prediction_files(examples, verdict, tables=tables) == {
        "proposed_answers.txt": "1\tComponent-Whole(e2,e1)\n2\tOther\n"
    }
    assert verdict.scores[TASK.metric] == 100.0


def test_predictions_are_of_the_19_relations(read, tmp_path):
    examples = read(TRAIN)
    file = tmp_path / "proposed_answers.txt"
    file.write_text("1\tCause-Effect(e2,e1)\n2\tOther\n")
    assert TASK.read_predictions(str(file), examples).scores["accuracy"] == 50.0
    file.write_text("1\tCause-Effect(e2, e1)\n2\tOther\n")
    with pytest.raises(UserError, match=r"txt:1: .* the nearest one is Cause-Effect\(e2,e1\)"):
        TASK.read_predictions(str(file), examples)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Other\n" + TRAIN, "train.txt:1: must be a sentence .* found 'Other'"),
        (TRAIN + '3\t"no <e1>tags</e1>"\n', "train.txt:9: .*each once, found <e1> </e1>"),
        (TRAIN + '3\t"<e1></e1> a <e2>b</e2>"\n', "train.txt:9: subject must be characters"),
        (TRAIN.replace("Other", "Cause-Effect(e1, e2)"), "train.txt:6: must be a sentence"),
    ],
)
def test_a_malformed_line_is_named(text, message, read):
    with pytest.raises(UserError, match=message):
        read(text)
