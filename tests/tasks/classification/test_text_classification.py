"""Classification of the texts of any table, from its files to files of predictions."""

import json
from pathlib import Path

import numpy as np
import pytest

from spanbert_jax.config.tasks import TextClassificationConfig
from spanbert_jax.errors import ConfigError, UserError
from spanbert_jax.tasks.classification.kinds import Prediction
from spanbert_jax.tasks.classification.prediction_files import text_mark
from spanbert_jax.tasks.classification.task import TextClassification
from spanbert_jax.tasks.task import Verdict, load_task

REVIEWS = [
    ("the film was good", "positive"), ("we liked the plot", "positive"),
    ("a dull long story", "negative"), ("bad acting we hated", "negative"),
]  # fmt: skip


def write(path: Path, lines: list[str]) -> str:
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return str(path)


@pytest.fixture
def reviews(tmp_path: Path) -> str:
    return write(tmp_path / "reviews.csv", ["text,label", *map(",".join, REVIEWS)])


def task_of(**values) -> TextClassification:
    return load_task(TextClassificationConfig(**{"max_length": 32} | values))


def read(path: str, *, training: bool = False, **values):
    return task_of(**values).read(path, training=training)


def test_one_label_is_learnt_and_predicted_with_its_probability(learn, reviews):
    learnt = learn(task_of(), reviews, reviews)
    assert learnt.tables == {"labels": ["negative", "positive"], "class_weights": [1.0, 1.0]}
    assert learnt.losses[0] == pytest.approx(np.log(2), abs=0.1) and learnt.losses[-1] < 0.1
    assert [prediction.answer for prediction in learnt.verdict.predictions] == [
        label for _, label in REVIEWS
    ]
    assert learnt.verdict.scores == {"accuracy": 100.0, "macro_f1": 100.0, "mcc": 100.0}
    for prediction in learnt.verdict.predictions:
        assert sum(prediction.probabilities) == pytest.approx(1.0)
        assert max(prediction.probabilities) > 0.9


def test_several_labels_are_learnt_also_none(learn, tmp_path):
    rows = [
        {"text": "good film", "labels": ["praise", "film"]},
        {"text": "bad film", "labels": ["film"]},
        {"text": "good soup", "labels": ["praise"]}, {"text": "bridge", "labels": []},
    ]  # fmt: skip
    path = write(tmp_path / "a.jsonl", [json.dumps(row) for row in rows])
    task = task_of(kind="multi_label", label_column="labels", class_weighting="balanced")
    learnt = learn(task, path, path, num_steps=200)
    assert learnt.tables == {"labels": ["film", "praise"], "class_weights": [1.0, 1.0]}
    assert [prediction.answer for prediction in learnt.verdict.predictions] == [
        ("film", "praise"), ("film",), ("praise",), (),
    ]  # fmt: skip
    assert learnt.verdict.scores == {"micro_f1": 100.0, "macro_f1": 100.0, "accuracy": 100.0}
    assert task.metric == "micro_f1"


def test_a_score_is_learnt_by_squared_error(learn, tmp_path):
    path = write(tmp_path / "a.tsv", ["text\tlabel", "good good\t2.0", "good bad\t1.0", "bad\t0"])
    task = task_of(kind="regression")
    learnt = learn(task, path, path, num_steps=150)
    assert learnt.tables == {"labels": [], "class_weights": []}
    # As BertForSequenceClassification: the mean of squares, near 5/3 for an output near 0.
    assert learnt.losses[0] == pytest.approx(5 / 3, abs=0.4) and learnt.losses[-1] < 0.1
    scores = [prediction.answer for prediction in learnt.verdict.predictions]
    assert scores[0] > scores[1] > scores[2]
    assert learnt.verdict.scores["pearson_and_spearman"] > 95


def test_balanced_weights_make_rare_labels_count_as_much_as_common_ones(tmp_path):
    path = write(tmp_path / "a.csv", ["text,label", "a,no", "b,no", "c,no", "d,yes"])
    task = task_of(class_weighting="balanced", labels=("no", "yes", "never"))
    tables = task.tables(task.read(path, training=True).examples, None)
    assert tables["class_weights"] == pytest.approx([2 / 3, 2.0, 1.0])
    several = task_of(class_weighting="balanced", kind="multi_label")
    tables = several.tables(several.read(path, training=True).examples, None)
    assert tables == {"labels": ["no", "yes"], "class_weights": pytest.approx([1 / 3, 3.0])}
    given = task_of(labels=("yes", "no"), class_weights=(2.0, 0.5))
    tables = given.tables(given.read(path, training=True).examples, None)
    assert tables == {"labels": ["yes", "no"], "class_weights": [2.0, 0.5]}


def test_stars_of_json_are_labels_whether_they_are_whole_or_not(tmp_path):
    path = write(tmp_path / "a.json", ['{"text": "a", "stars": 4.0}', '{"text": "b", "stars": 5}'])
    answers = [example.answer for example in read(path, label_column="stars").examples]
    assert answers == ["4", "5"]


def test_rows_that_are_cut_at_max_length_are_counted(tokenizer, tmp_path):
    lines = ["text,pair,label", "good,bad,a", f"{'good ' * 9},bad,b", f"good,{'bad ' * 9},a"]
    path = write(tmp_path / "a.csv", lines)
    for options, cut in (({}, 1), ({"text_pair_column": "pair"}, 2)):
        for training in (True, False):
            task = task_of(max_length=8, **options)
            examples = task.read(path, training=training).examples
            tables = task.tables(examples, tokenizer)
            given = {"tokenizer": tokenizer, "tables": tables, "training": training}
            assert task.remarks(list(task.rows(examples, **given)), tables=tables) == (
                f"{cut} rows lost the end of their text, cut at --task.max-length 8",
            )
    task = task_of()
    rows = list(task.rows(examples, tokenizer=tokenizer, tables=tables, training=False))
    assert task.remarks(rows, tables=tables) == ()


def test_pairs_and_ids_are_read_from_the_columns_that_are_named(tmp_path):
    path = write(
        tmp_path / "a.tsv", ["key\tone\ttwo\ty", "k1\tgood\tbad\tno", "k2\tgood\tgood\tyes"]
    )
    examples = read(
        path, text_column="one", text_pair_column="two", label_column="y", id_column="key"
    ).examples
    assert [(e.id, e.text, e.text_pair, e.answer) for e in examples] == [
        ("k1", "good", "bad", "no"), ("k2", "good", "good", "yes"),
    ]  # fmt: skip


def test_a_column_that_is_not_there_names_the_nearest_one(reviews):
    with pytest.raises(UserError) as raised:
        read(reviews, text_column="texts")
    assert str(raised.value) == (
        f"{reviews}: has no column 'texts', only 'text', 'label'; the nearest one is 'text', with "
        "--task.text-column"
    )
    with pytest.raises(UserError, match="has no column 'lable', .* the nearest one is 'label'"):
        read(reviews, training=True, label_column="lable")


def judged(path: str) -> Verdict:
    """What becomes of a file where the head always prefers the second label."""
    task = task_of()
    examples = task.read(path, training=False).examples
    outputs = [{"logits": np.array([-1.0, 1.0], np.float32)} for _ in examples]
    return task.judge(examples, [], outputs, tables={"labels": ["negative", "positive"]})


def test_a_file_without_answers_is_predicted_for_and_that_is_said(tmp_path):
    asked = write(tmp_path / "asked.csv", ["text", "good film", "bad film"])
    assert judged(asked).scores == {}
    assert [prediction.answer for prediction in judged(asked).predictions] == ["positive"] * 2
    assert task_of().read(asked, training=False).notes == (
        "there is no column 'label', only 'text': no answers are known",
    )


def test_empty_texts_are_kept_and_what_has_no_answer_is_left_out_of_training(tmp_path):
    path = write(tmp_path / "a.csv", ["text,label", " ,yes", "b,", "c,no"])
    trained, asked = read(path, training=True), read(path)
    assert [example.answer for example in trained.examples] == ["yes", "no"]
    assert [example.answer for example in asked.examples] == ["yes", None, "no"]
    assert trained.notes == (
        f"1 texts are empty, first {path}:2: kept",
        f"1 examples have no answer, first {path}:3: left out",
    )
    assert asked.notes[1] == f"1 examples have no answer, first {path}:3: predicted for, not scored"


def test_empty_second_texts_are_counted_but_not_those_that_are_missing(tmp_path):
    path = write(tmp_path / "a.jsonl", [
        json.dumps({"text": "a", "other": other, "label": "x"}) for other in ("b", "", None)
    ])  # fmt: skip
    notes = read(path, text_pair_column="other").notes
    assert notes == (f"1 texts are empty, first {path}:2: kept",)


def test_labels_unseen_in_training_are_named_before_anything_is_trained(tmp_path, tokenizer):
    dev = write(tmp_path / "dev.csv", ["text,label", "a,positive", "b,neutral", "c,neutral"])
    task, tables = task_of(), {"labels": ["negative", "positive"]}
    examples = task.read(dev, training=False).examples
    with pytest.raises(UserError) as raised:
        list(task.rows(examples, tokenizer=tokenizer, tables=tables, training=False))
    assert str(raised.value) == (
        "labels must be among those of the training data ('negative', 'positive'), found 'neutral' "
        f"(2, first {dev}:3); correct them, or train with examples of them"
    )


def test_a_label_that_is_none_of_those_given_is_named_with_its_line(reviews):
    with pytest.raises(UserError) as raised:
        read(reviews, labels=("positive", "other"))
    assert str(raised.value) == (
        f"{reviews}:4: label 'negative' must be one of 'positive', 'other'; mend the line, or name "
        "the column that holds labels"
    )


def test_training_data_of_a_single_label_cannot_be_learnt_from(tmp_path):
    path = write(tmp_path / "a.csv", ["text,label", "a,yes", "b,yes"])
    task = task_of(train=path)
    with pytest.raises(UserError, match=f"--task.train {path}: must hold examples of several"):
        task.tables(task.read(path, training=True).examples, None)


@pytest.mark.parametrize(
    "line, options, part",
    [
        ('{"text": 3, "label": "a"}', {}, "'text' must be text, found int"),
        ('{"label": "a"}', {}, "has no 'text', only 'label'"),
        ('{"text": "\\ud800", "label": "a"}', {}, "half of a surrogate pair"),
        ('{"text": "a", "label": "\\ud800"}', {}, "half of a surrogate pair"),
        ('{"text": "a", "label": {"b": 1}}', {"kind": "multi_label"}, "or a number, found dict"),
        ('{"text": "a", "label": ["b"]}', {}, "a label must be text or a number, found list"),
        ('{"text": "a", "label": "a\\tb"}', {}, "must be one line without tabs"),
        ('{"text": "a", "label": ["a,b"]}', {"kind": "multi_label"}, "must not hold the ','"),
        ('{"text": "a", "label": "x"}', {"kind": "regression"}, "must be a number, found 'x'"),
        ('{"text": "a", "label": NaN}', {"kind": "regression"}, "must be a number, found nan"),
        ('{"text": "a", "label": "a", "id": "k"}', {"id_column": "id"}, "id 'k' must be of one"),
        ('{"text": "a", "label": "a", "id": [1]}', {"id_column": "id"}, "an id must be text"),
    ],
)
def test_a_record_that_is_no_example_is_named_with_the_reason(tmp_path, line, options, part):
    good = '{"text": "a", "label": "1", "id": "k"}'
    path = write(tmp_path / "a.jsonl", [good, line])
    with pytest.raises(UserError) as raised:
        read(path, **options)
    assert str(raised.value).startswith(f"{path}:2: ") and part in str(raised.value)


def verdict(*answers, probabilities=()) -> Verdict:
    return Verdict([Prediction(answer, probabilities) for answer in answers], {}, {})


def test_predictions_are_a_table_that_is_read_and_scored_again(reviews, tmp_path):
    task = task_of()
    examples = task.read(reviews, training=False).examples
    tables = {"labels": ["negative", "positive"]}
    answers = verdict("positive", "negative", "negative", "negative", probabilities=(0.75, 0.25))
    (name, table), *rest = task.prediction_files(examples, answers, tables=tables).items()
    assert (name, rest) == ("predictions.tsv", [])
    lines = [line.split("\t") for line in table.splitlines()]
    assert [line[:3] for line in lines[:3]] == [
        ["id", "prediction", "probability"],
        ["0", "positive", "0.250000"], ["1", "negative", "0.750000"],
    ]  # fmt: skip
    assert [line[3] for line in lines] == ["text_sha256", *map(text_mark, examples)]
    path = write(tmp_path / "predictions.tsv", table.splitlines())
    again = task.read_predictions(path, examples)
    assert [each.answer for each in again.predictions] == [
        each.answer for each in answers.predictions
    ]
    assert again.scores["accuracy"] == 75.0 == task.score(
        examples, answers.predictions, tables["labels"]
    )["accuracy"]  # fmt: skip


def test_predictions_for_other_texts_are_refused_though_their_numbers_are_the_same(tmp_path):
    task = task_of()
    lines = ["text,label", "fine,positive", "bad,negative"]
    examples = task.read(write(tmp_path / "a.csv", lines), training=False).examples
    others = write(tmp_path / "b.csv", [lines[0], lines[1], "worse,negative"])
    answers = verdict("positive", "negative", probabilities=(0.5, 0.5))
    tables = {"labels": ["negative", "positive"]}
    table = task.prediction_files(examples, answers, tables=tables)["predictions.tsv"].splitlines()
    assert table[1].endswith("\td14a58bae804a2b8")
    path = write(tmp_path / "predictions.tsv", table)
    with pytest.raises(UserError, match=r"predictions.tsv:3: must be of the text of example 1"):
        task.read_predictions(path, task.read(others, training=False).examples)
    by_ids_alone = [line.rpartition("\t")[0] for line in table]
    path = write(tmp_path / "predictions.tsv", by_ids_alone)
    assert task.read_predictions(path, examples).scores["accuracy"] == 100.0


@pytest.mark.parametrize(
    "options, answers",
    [
        ({"kind": "multi_label"}, [("a", "b"), (), ("a",), ("b",)]),
        ({"kind": "regression"}, [0.1, float(np.float32(1 / 3)), -2.0, 5e-7]),
    ],
)
def test_sets_of_labels_and_scores_survive_a_file_of_predictions(tmp_path, options, answers):
    task = task_of(**options)
    asked = write(tmp_path / "asked.csv", ["text", "a", "b", "c", "d"])
    examples = task.read(asked, training=False).examples
    labels = ["a", "b"] if options["kind"] == "multi_label" else []
    files = task.prediction_files(
        examples, verdict(*answers, probabilities=(0.5, 0.5)), tables={"labels": labels}
    )
    path = write(tmp_path / "p.tsv", files["predictions.tsv"].splitlines())
    again = [each.answer for each in task.read_predictions(path, examples).predictions]
    assert again == pytest.approx(answers) if options["kind"] == "regression" else again == answers


@pytest.mark.parametrize(
    "lines, part",
    [
        (["id\tprediction", "0\tpositive", "1\tpositive", "2\tpositive"],
         "must hold a prediction for each of the 4 examples and no other, found 3, without 3;"),
        (["id\tprediction", *(f"x{i}\tpositive" for i in range(4))],
         "found 4, without 0, 1, 2, ..., for unknown x0, x1, x2, ...; score it beside"),
        (["id\tprediction", "0\tpositive", "0\tnegative"], ":3: must predict one answer for '0'"),
        (["index\tlabel", "0\tpositive"], "has no column 'id', only 'index', 'label'"),
    ],
)  # fmt: skip
def test_predictions_for_another_data_set_are_an_error(reviews, tmp_path, lines, part):
    task = task_of()
    path = write(tmp_path / "predictions.tsv", lines)
    with pytest.raises(UserError) as raised:
        task.read_predictions(path, task.read(reviews, training=False).examples)
    assert str(raised.value).startswith(path) and part in str(raised.value)


@pytest.mark.parametrize("kind", ["single_label", "multi_label"])
def test_predicted_labels_must_be_among_those_that_are_given(reviews, tmp_path, kind):
    task = task_of(labels=("negative", "positive"), kind=kind)
    path = write(tmp_path / "p.tsv", ["id\tprediction", *(f"{i}\tneutral" for i in range(4))])
    with pytest.raises(UserError, match=f"{path}:2: label 'neutral' must be one of 'negative', "):
        task.read_predictions(path, task.read(reviews, training=False).examples)


def test_what_a_user_asks_is_an_example_and_the_answer_a_json_object():
    task = task_of()
    example = task.example({"text": "good film", "id": 7})
    tables = {"labels": ["bad", "good"]}
    described = task.described(
        [example], verdict("good", probabilities=(0.25, 0.75)), tables=tables
    )
    assert described == [
        {
            "id": "7", "text": "good film", "label": "good", "probability": 0.75,
            "probabilities": {"bad": 0.25, "good": 0.75},
        }
    ]  # fmt: skip
    pair = task_of(text_pair_column="other").example({"text": "a", "text_pair": "b"})
    assert task.described([pair], verdict(3.5), tables={"labels": []}) == [
        {"text": "a", "text_pair": "b", "score": 3.5}
    ]
    several = task.described([example], verdict(("bad",), probabilities=(0.8, 0.1)), tables=tables)
    assert several[0]["labels"] == ["bad"] and several[0]["probabilities"]["good"] == 0.1


@pytest.mark.parametrize(
    "fields", [{}, {"txt": "a"}, {"text": "a", "text_pair": "b"}, {"text": "a", "label": "b"}]
)
def test_an_example_of_other_fields_names_those_that_it_must_have(fields):
    with pytest.raises(UserError, match="an example must have text, and may have id; found"):
        task_of().example(fields)
    with pytest.raises(UserError, match="'text' must be text, found int"):
        task_of().example({"text": 3})


@pytest.mark.parametrize(
    "values, message",
    [
        ({"metric": "pearson"}, "--task.metric pearson: is no score of --task.kind single_label"),
        ({"labels": ("a", "a")}, "--task.labels a a: must be different ones"),
        ({"text_column": ""}, "--task.text-column '': must name a column"),
        ({"kind": "regression", "labels": ("1",)}, "--task.labels 1: are none of numbers"),
        ({"kind": "regression", "class_weighting": "balanced"}, "--task.kind regression: has no"),
        ({"class_weights": (1.0, 2.0)}, "--task.class-weights 1.0 2.0: must be one for each of"),
        ({"labels": ("a",), "class_weights": (0.0,)}, "--task.class-weights 0.0: must be greater"),
        (
            {"labels": ("a",), "class_weights": (1.0,), "class_weighting": "balanced"},
            "--task.class-weights 1.0: cannot stand beside --task.class-weighting balanced",
        ),
        ({"max_length": 4}, "--task.max-length 4: must be at least 8"),
    ],
)
def test_values_that_do_not_fit_name_their_flag(values, message):
    with pytest.raises(ConfigError) as raised:
        TextClassificationConfig(**values)
    assert str(raised.value).startswith(message)
