"""TACRED: modes, markers, labels, scores, and bad input."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from spanbert_jax.config.tasks import TacredConfig
from spanbert_jax.data.batch import TaskBatch
from spanbert_jax.errors import ConfigError, UserError
from spanbert_jax.tasks.relation.tacred import Tacred
from spanbert_jax.tasks.task import load_task


def rows_of(task, path, tokenizer, *, tables=None, training=True):
    examples = task.read(path, training=training).examples
    tables = tables or task.tables(examples, tokenizer)
    found = task.rows(examples, tokenizer=tokenizer, tables=tables, training=training)
    return examples, tables, list(found)


def pieces(row, tokenizer):
    return [tokenizer.id_to_piece(token_id) for token_id in row.token_ids]


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("ner", "[CLS] {T} of {C} married ada . [SEP]"),
        ("text", "[CLS] {S} the mayor {/S} of {O} wells {/O} married ada . [SEP]"),
        ("text_ner", "[CLS] {S} the mayor {/S} of {O} wells {/O} married ada . [SEP] {T} [SEP] {C} "
                     "[SEP]"),
        ("ner_text", "[CLS] {T} of {C} married ada . [SEP] the mayor [SEP] wells [SEP]"),
    ],
)  # fmt: skip
def test_each_mode_shows_the_entities_in_its_way(
    mode, expected, write, tokenizer, record, unrelated
):
    task = Tacred(TacredConfig(mode=mode))
    _, tables, rows = rows_of(task, write(record(), unrelated), tokenizer)
    names = {
        "T": "SUBJ=TITLE", "C": "OBJ=CITY", "S": "SUBJ_START", "/S": "SUBJ_END", "O": "OBJ_START",
        "/O": "OBJ_END",
    }  # fmt: skip
    for short, name in names.items():
        if name in tables["markers"]:
            marker = tokenizer.id_to_piece(tables["markers"][name][0])
            expected = expected.replace(f"{{{short}}}", marker)
    assert " ".join(pieces(rows[0], tokenizer)) == expected


def test_markers_do_not_depend_on_the_order_of_examples(write, tokenizer, record, unrelated):
    task = Tacred(TacredConfig())
    one = task.read(write(record(), unrelated), training=True).examples
    other = task.read(write(unrelated, record()), training=True).examples
    markers = task.tables(one, tokenizer)["markers"]
    assert markers == {"OBJ=CITY": [1], "SUBJ=PERSON": [2], "SUBJ=TITLE": [3]}
    assert task.tables(other, tokenizer)["markers"] == markers


def test_a_vocabulary_without_unused_entries_spells_its_markers(
    write, plain_tokenizer, record, unrelated
):
    _, _, rows = rows_of(Tacred(TacredConfig()), write(record(), unrelated), plain_tokenizer)
    expected = "[CLS] @ title @ of # city # married ada . [SEP]"
    assert " ".join(pieces(rows[0], plain_tokenizer)) == expected
    task = Tacred(TacredConfig(markers="unused"))
    with pytest.raises(UserError, match=r"takes 3 entries \[unusedN\].*found 0.*spelled"):
        rows_of(task, write(record(), unrelated), plain_tokenizer)


def test_a_marker_that_the_vocabulary_cannot_spell_is_refused(
    write, plain_tokenizer, record, unrelated
):
    path = write(record(obj_type="ÉTAT"), unrelated)
    with pytest.raises(UserError, match="'# état #', which marks OBJ=ÉTAT"):
        rows_of(Tacred(TacredConfig()), path, plain_tokenizer)


def test_no_relation_is_class_0_and_others_follow_by_frequency(write, tokenizer, record):
    records = [record(relation=name) for name in ("b", "a", "a", "c", "no_relation")]
    _, tables, rows = rows_of(Tacred(TacredConfig()), write(*records), tokenizer)
    assert tables["labels"] == ["no_relation", "a", "b", "c"]
    assert [int(row.fields["label"]) for row in rows] == [2, 1, 1, 3, 0]


def test_a_type_unseen_in_training_shows_as_the_most_frequent_one_and_is_counted(
    write, tokenizer, record, unrelated
):
    task = Tacred(TacredConfig())
    train = write(record(), record(), unrelated)
    _, tables, _ = rows_of(task, train, tokenizer)
    dev = write(record(subj_type="URL"), record(), name="dev.json")
    _, _, rows = rows_of(task, dev, tokenizer, tables=tables, training=False)
    assert rows[0].token_ids.tolist() == rows[1].token_ids.tolist()
    assert task.remarks(rows, tables=tables) == (
        "1 rows show a type unseen in training (SUBJ=URL) as the most frequent one",
    )


def test_a_relation_unseen_in_training_is_refused_or_counted_as_a_mistake(
    write, tokenizer, record, unrelated
):
    _, tables, _ = rows_of(Tacred(TacredConfig()), write(record(), unrelated), tokenizer)
    dev = write(record(id="d7", relation="per:new"), name="dev.json")
    with pytest.raises(
        UserError, match=r"dev.json: record 0 \(id d7\): relation per:new is unseen"
    ):
        rows_of(Tacred(TacredConfig()), dev, tokenizer, tables=tables, training=False)
    task = Tacred(TacredConfig(unseen_relations="count_wrong"))
    examples, _, rows = rows_of(task, dev, tokenizer, tables=tables, training=False)
    assert task.remarks(rows, tables=tables)[0].startswith("1 rows have a relation unseen")
    outputs = [{"logits": np.array([2.0, 0.0], np.float32)}]
    assert task.judge(examples, rows, outputs, tables=tables).scores["recall"] == 0.0


def test_rows_that_lose_an_entity_at_max_length_are_counted(write, tokenizer, record):
    task = Tacred(TacredConfig(mode="text", max_length=8))
    late = record(obj_start=5, obj_end=5)
    _, tables, rows = rows_of(task, write(late, record(relation="x")), tokenizer)
    assert [len(row.token_ids) for row in rows] == [8, 8]
    assert task.remarks(rows, tables=tables) == (
        "2 rows lost an entity, cut at --task.max-length 8",
    )
    longer = Tacred(TacredConfig(mode="text", max_length=32))
    _, _, rows = rows_of(longer, write(late, record(relation="x")), tokenizer)
    assert longer.remarks(rows, tables=tables) == ()


def test_overlapping_entities_share_their_words_with_the_subject_and_are_counted(
    write, tokenizer, record, unrelated
):
    task = Tacred(TacredConfig())
    path = write(record(subj_end=3), unrelated)
    assert task.read(path, training=True).notes == (
        "1 examples have entities that overlap: shared words are the subject's",
    )
    _, tables, rows = rows_of(task, path, tokenizer)
    assert len(rows[0].token_ids) == len("[CLS] SUBJ OBJ married ada . [SEP]".split())


def test_judge_gives_scores_predictions_and_files(write, tokenizer, record, unrelated):
    task = load_task(TacredConfig())
    examples, tables, rows = rows_of(task, write(record(), unrelated), tokenizer)
    outputs = [{"logits": np.array([0.0, 3.0], np.float32)}] * 2
    verdict = task.judge(examples, rows, outputs, tables=tables)
    assert verdict.scores == pytest.approx(
        {"f1": 200 / 3, "precision": 50.0, "recall": 100.0, "accuracy": 50.0}
    )
    assert task.metric in verdict.scores
    assert task.prediction_files(examples, verdict, tables=tables) == {
        "predictions.txt": "title:of\ntitle:of\n",
        "predictions.tsv": "r0\ttitle:of\nr1\ttitle:of\n",
    }
    described = task.described(examples, verdict, tables=tables)[0]
    assert described["relation"] == "title:of"
    assert described["probability"] == pytest.approx(1 / (1 + np.exp(-3)))
    assert list(described["probabilities"]) == ["title:of", "no_relation"]


def test_examples_without_a_relation_are_predicted_but_not_trained_on(
    write, tokenizer, record, unrelated
):
    unknown = {name: value for name, value in record().items() if name != "relation"}
    task = Tacred(TacredConfig())
    dataset = task.read(write(record(), unknown, unrelated), training=True)
    assert len(dataset.examples) == 2
    assert dataset.notes == ("1 examples without a relation are left out",)
    tables = task.tables(dataset.examples, tokenizer)
    path = write(unknown, name="test.json")
    examples, _, rows = rows_of(task, path, tokenizer, tables=tables, training=False)
    verdict = task.judge(examples, rows, [{"logits": np.zeros(2, np.float32)}], tables=tables)
    assert verdict.scores == {} and verdict.predictions[0].relation == "no_relation"


def test_loss_counts_rows_but_not_padding(write, tokenizer):
    task = Tacred(TacredConfig())
    logits = jnp.array([[0.0, 0.0], [5.0, 0.0]])
    batch = TaskBatch(*[None] * 4, jnp.array([1, 0]), None, {"label": jnp.array([1, 1])})
    sums = task.loss({"logits": logits}, batch, {})
    assert float(sums.loss) == pytest.approx(np.log(2))
    assert float(sums.weight) == float(task.weight(batch)) == 1.0


def test_predictions_of_another_data_set_are_refused(write, tmp_path: Path, record, unrelated):
    task = Tacred(TacredConfig())
    examples = task.read(write(record(), unrelated), training=False).examples
    file = tmp_path / "predictions.tsv"
    file.write_text("r0\ttitle:of\nr1\tno_relation\n")
    verdict = task.read_predictions(str(file), examples)
    assert verdict.scores["f1"] == 100.0
    written = task.prediction_files(examples, verdict, tables={})["predictions.tsv"]
    assert written == file.read_text()
    file.write_text("title:of\nno_relation\n")
    assert task.read_predictions(str(file), examples).scores["f1"] == 100.0
    file.write_text("r0\ttitle:of\nr9\tno_relation\n")
    with pytest.raises(UserError, match="predictions.tsv:2: must predict for .* r1, found id r9"):
        task.read_predictions(str(file), examples)
    file.write_text("r0\ttitle:of\n")
    with pytest.raises(UserError, match="each of 2 examples, found 1 lines"):
        task.read_predictions(str(file), examples)


def test_a_predicted_relation_that_there_is_not_is_refused_and_not_counted_as_a_mistake(
    write, tmp_path: Path, record, unrelated
):
    task = Tacred(TacredConfig())
    examples = task.read(write(record(), unrelated), training=False).examples
    file = tmp_path / "predictions.txt"
    file.write_text("titel:of\nno_relation\n")
    with pytest.raises(UserError, match="predictions.txt:1: .*found 'titel:of'; .* is title:of"):
        task.read_predictions(str(file), examples)
    file.write_text("r0\ttitle:of\nr1\txyz\n")
    with pytest.raises(UserError, match="2: .*'xyz'; they are no_relation, title:of"):
        task.read_predictions(str(file), examples)
    # Rare ones may be in the training data alone.
    tables = {"labels": ["no_relation", "xyz"]}
    assert task.read_predictions(str(file), examples, tables=tables).scores["precision"] == 50.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"obj_end": 9}, r"record 0 \(id r0\): object must be first and last word.*found 3 and 9"),
        ({"subj_start": 2}, "subject must be first and last word.*found 2 and 1"),
        ({"subj_start": "0"}, "subj_start must be the index of a word, found '0'"),
        ({"token": "The mayor"}, "token must be a list of words"),
        ({"token": ["The", "mayor", "of", "\ud800"]}, r"\(id r0\): it holds half of a surrogate"),
        ({"relation": 3}, "relation must be a name, found 3"),
        ({"token": ["The", "mayor", "of", " ", "x", "x"]}, "object must be text, found nothing"),
    ],
)
def test_a_malformed_record_is_named(changes, message, write, record):
    with pytest.raises(UserError, match=message):
        Tacred(TacredConfig()).read(write(record(**changes)), training=True)


def test_a_label_for_no_relation_that_no_example_has_is_said(write, record, unrelated):
    task = Tacred(TacredConfig(negative_label="NA"))
    (note,) = task.read(write(record(), unrelated), training=True).notes
    assert note == "no example has --task.negative-label NA: all relations are scored"
    assert Tacred(TacredConfig()).read(write(record(), unrelated), training=True).notes == ()


def test_a_type_or_an_id_that_is_null_is_none(write, record):
    path = write(record(id=None, subj_type=None))
    ((example,), _) = Tacred(TacredConfig()).read(path, training=True)
    assert (example.id, example.subject_type, example.object_type) == ("", "", "CITY")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[{"id": 1,]', "must be JSON, a list of records .*line 1"),
        ('{"a": 1}', "must be a list of records in the form of TACRED, found dict"),
        ("[3]", "record 0: must be an object, found int"),
    ],
)
def test_a_file_that_is_no_list_of_records_is_refused(content, message, tmp_path):
    (tmp_path / "train.json").write_text(content)
    with pytest.raises(UserError, match=message):
        Tacred(TacredConfig()).read(str(tmp_path / "train.json"), training=True)


def test_a_missing_file_and_one_that_is_no_text_are_refused(tmp_path):
    with pytest.raises(UserError, match="must be a file of examples, found no such file"):
        Tacred(TacredConfig()).read(str(tmp_path / "none.json"), training=True)
    (tmp_path / "latin.json").write_bytes(b'[\n"\xe9"]')
    with pytest.raises(UserError, match="latin.json:2: text must be UTF-8, found byte 0xe9"):
        Tacred(TacredConfig()).read(str(tmp_path / "latin.json"), training=True)


def test_training_data_of_one_relation_are_refused(write, tokenizer, unrelated):
    with pytest.raises(UserError, match="two relations or more, found 1 examples of no_relation"):
        rows_of(Tacred(TacredConfig()), write(unrelated), tokenizer)


def test_an_unknown_mode_is_refused():
    with pytest.raises(ConfigError, match="--task.mode words: must be one of ner, text"):
        TacredConfig(mode="words")  # type: ignore[arg-type]
