"""Tagging by words and by spans: rows, loss, decoding, files, and one sentence."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from spanbert_jax.config import ModelConfig
from spanbert_jax.config.tasks import TaggingConfig
from spanbert_jax.data.task_batches import Chosen, make_batch
from spanbert_jax.errors import UserError
from spanbert_jax.tasks.tagging.entities import Entity
from spanbert_jax.tasks.tagging.method import Found
from spanbert_jax.tasks.tagging.spans import without_overlaps
from spanbert_jax.tasks.task import load_task

MODEL = ModelConfig(vocab_size=30, hidden_size=16, num_layers=1, num_heads=2, mlp_size=32)
METHODS = ["bio", "spans"]


@pytest.fixture
def task_of():
    return lambda method, **options: load_task(TaggingConfig(method=method, **options))


def rows_of(task, path, tokenizer, *, training=True, tables=None):
    examples = task.read(path, training=training).examples
    tables = tables or task.tables(examples, tokenizer)
    rows = task.rows(examples, tokenizer=tokenizer, tables=tables, training=training)
    return examples, tables, list(rows)


def batch_of(rows, task, *, batch_size=4, length=16):
    chosen = Chosen(np.arange(len(rows)), length)
    batch = make_batch(rows, chosen, batch_size=batch_size, per_token=task.per_token, pad_id=0)
    return jax.tree.map(jnp.asarray, batch)


def perfect(row, tables):
    """Outputs that say what the labels of a row say."""
    if "label_ids" in row.fields:
        num_tags = 1 + 2 * len(tables["types"])
        return {"logits": np.eye(num_tags, dtype=np.float32)[row.fields["label_ids"]] * 9}
    num_classes = 1 + len(tables["types"])
    return {"span_logits": np.eye(num_classes, dtype=np.float32)[row.fields["span_labels"]] * 9}


def test_bio_labels_stand_at_the_first_piece_of_each_word(write, tokenizer, task_of):
    _, tables, rows = rows_of(task_of("bio"), write(), tokenizer)
    assert tables == {"types": ["LOC", "PER"]}
    # [CLS] ada love ##lace went [SEP]
    assert rows[0].fields["label_ids"].tolist() == [0, 3, 4, 0, 0, 0]
    assert rows[0].fields["label_weights"].tolist() == [0, 1, 1, 0, 1, 0]


def test_span_labels_stand_at_the_first_word_and_the_width(write, tokenizer, task_of):
    _, _, rows = rows_of(task_of("spans", max_span_words=2), write(), tokenizer)
    assert rows[0].fields["span_labels"][:3].tolist() == [[0, 2], [0, 0], [0, 0]]
    assert rows[0].fields["span_weights"].tolist() == [[1, 1], [1, 1], [1, 0], *[[0, 0]] * 3]
    assert rows[0].fields["first_pieces"].tolist() == [1, 2, 4, 0, 0, 0]
    assert rows[0].fields["last_pieces"].tolist() == [1, 3, 4, 0, 0, 0]


@pytest.mark.parametrize("method", METHODS)
def test_what_the_labels_say_is_decoded_and_scored(method, write, tokenizer, task_of):
    task = task_of(method)
    examples, tables, rows = rows_of(task, write(), tokenizer)
    outputs = [perfect(row, tables) for row in rows]
    verdict = task.judge(examples, rows, outputs, tables=tables)
    assert verdict.scores[task.metric] == 100.0 and verdict.scores["LOC_f1"] == 100.0
    files = task.prediction_files(examples, verdict, tables=tables)
    assert files["predictions.conll"].split("\n")[:4] == [
        "Ada B-PER B-PER", "Lovelace I-PER I-PER", "went O O", "",
    ]  # fmt: skip
    described = task.described(examples, verdict, tables=tables)[0]
    assert described["entities"][0]["text"] == "Ada Lovelace"
    assert (described["entities"][0]["start"], described["entities"][0]["end"]) == (0, 2)
    assert described["entities"][0]["probability"] > 0.9
    assert described["tags"] == ["B-PER", "I-PER", "O"]


@pytest.mark.parametrize("method", METHODS)
def test_a_sentence_longer_than_a_row_is_read_whole(method, write, tokenizer, task_of):
    lines = [
        f"{word} {tag}" for word, tag in zip("abcdef" * 5, 10 * ["B-X", "I-X", "O"], strict=True)
    ]
    path = write("\n".join(lines) + "\n")
    task = task_of(method, max_length=12, window_overlap=5)
    examples, tables, rows = rows_of(task, path, tokenizer)
    assert len(rows) > 3 and all(len(row.token_ids) <= 12 for row in rows)
    verdict = task.judge(examples, rows, [perfect(r, tables) for r in rows], tables=tables)
    assert verdict.scores["f1"] == 100.0 and len(verdict.predictions[0].tags) == 30
    assert task.remarks(rows, tables=tables) == (
        "1 sentences are longer than --task.max-length 12, and read in windows",
    )
    batch = batch_of(rows, task, batch_size=len(rows))
    assert float(task.weight(batch)) == 30.0


@pytest.mark.parametrize("method", METHODS)
def test_head_and_loss_learn_and_padding_counts_nothing(method, write, tokenizer, task_of):
    task = task_of(method, max_span_words=3)
    _, tables, rows = rows_of(task, write(), tokenizer)
    head = task.head(MODEL, tables, jnp.float32)
    small, large = batch_of(rows, task, batch_size=2, length=8), batch_of(rows, task)
    hidden = jax.random.normal(jax.random.key(0), (4, 16, 16))

    def outputs(params, batch):
        size = batch.token_ids.shape
        return head.apply(
            params, hidden[: size[0], : size[1]], pooled=None, fields=batch.fields,
            mask=jnp.asarray(batch.document_ids > 0), seed=None,
        )  # fmt: skip

    params = head.init(
        jax.random.key(1), hidden, pooled=None, fields=large.fields,
        mask=jnp.asarray(large.document_ids > 0), seed=None,
    )  # fmt: skip

    def mean_loss(params, batch):
        sums = task.loss(outputs(params, batch), batch, tables)
        return sums.loss / sums.weight

    @jax.jit
    def step(params):
        loss, grads = jax.value_and_grad(mean_loss)(params, large)
        return loss, jax.tree.map(lambda p, g: p - 0.5 * g, params, grads)

    assert float(mean_loss(params, small)) == pytest.approx(float(mean_loss(params, large)))
    for _ in range(60):
        loss, params = step(params)
    assert float(loss) < 0.1
    sums = task.loss(outputs(params, large), large, tables)
    assert float(sums.weight) == float(task.weight(large)) == float(sums.correct) == 5.0


def test_the_span_head_scores_a_span_by_its_ends_and_its_width(write, tokenizer, task_of):
    task = task_of("spans", max_span_words=3)
    _, tables, rows = rows_of(task, write(), tokenizer)
    batch = batch_of(rows, task, batch_size=2, length=8)
    head = task.head(dataclasses.replace(MODEL, initializer_std=0.5), tables, jnp.float32)
    hidden = jax.random.normal(jax.random.key(0), (2, 8, 16))
    arguments = {"pooled": None, "fields": batch.fields, "mask": jnp.ones((2, 8), bool)}
    variables = head.init(jax.random.key(1), hidden, **arguments, seed=None)
    logits = head.apply(variables, hidden, **arguments, seed=None)["span_logits"]
    assert logits.shape == (2, 8, 3, 3)
    params = {name: value.unbox() for name, value in variables["params"].items()}
    # "Lovelace went": pieces 2 to 4 of the first row, two words.
    inner = (
        hidden[0, 2] @ params["start_kernel"] + hidden[0, 4] @ params["end_kernel"]
        + params["width_embedding"][1] @ params["width_kernel"] + params["bias"]
    )  # fmt: skip
    expected = jax.nn.gelu(inner, approximate=False) @ params["scores_kernel"]
    np.testing.assert_allclose(logits[0, 1, 1], expected + params["scores_bias"], atol=1e-5)


def test_of_spans_that_overlap_the_most_probable_stays():
    candidates = [
        Found(Entity("LOC", 3, 4), 0.6), Found(Entity("LOC", 1, 2), 0.8),
        Found(Entity("PER", 0, 2), 0.9),
    ]  # fmt: skip
    kept = without_overlaps(candidates, num_words=4)
    assert [each.entity for each in kept] == [("PER", 0, 2), ("LOC", 3, 4)]


def test_a_type_unseen_in_training_is_refused(write, tokenizer, task_of):
    task = task_of("bio")
    _, tables, _ = rows_of(task, write(), tokenizer)
    dev = write("in O\n\nRome B-GPE\n", "dev.conll")
    with pytest.raises(UserError, match="dev.conll:3: the tag GPE of 'Rome' is unseen in training"):
        rows_of(task, dev, tokenizer, training=False, tables=tables)


def test_training_data_without_entities_are_refused(write, tokenizer, task_of):
    with pytest.raises(UserError, match="sentences with entities, found none in 1 sentences"):
        rows_of(task_of("bio"), write("went O\n"), tokenizer)


@pytest.mark.parametrize("method", METHODS)
def test_sentences_without_tags_are_predicted_without_scores(method, write, tokenizer, task_of):
    task = task_of(method)
    _, tables, trained = rows_of(task, write(), tokenizer)
    path = write("Ada\nLovelace\nwent\n", "test.conll")
    examples, _, rows = rows_of(task, path, tokenizer, training=False, tables=tables)
    verdict = task.judge(examples, rows, [perfect(trained[0], tables)], tables=tables)
    assert verdict.scores == {} and verdict.predictions[0].tags == ["B-PER", "I-PER", "O"]
    files = task.prediction_files(examples, verdict, tables=tables)
    assert files["predictions.conll"].startswith("Ada B-PER\nLovelace I-PER\n")


def test_predictions_are_read_back_and_those_of_another_data_set_refused(write, task_of):
    task = task_of("bio")
    examples = task.read(write(), training=False).examples
    path = write("Ada O B-PER\nLovelace O I-PER\nwent O O\n\nin O O\nRome O I-LOC\n", "p.conll")
    verdict = task.read_predictions(path, examples)
    assert [each.tags for each in verdict.predictions] == [["B-PER", "I-PER", "O"], ["O", "B-LOC"]]
    assert verdict.scores["f1"] == 100.0
    other = write("Ada O B-PER\nByron O I-PER\nwent O O\n\nin O O\nRome O O\n", "p.conll")
    with pytest.raises(UserError, match="p.conll:2: must predict a tag for the word 'Lovelace'"):
        task.read_predictions(other, examples)
    with pytest.raises(UserError, match="each of 5 words, found 1 lines"):
        task.read_predictions(write("Ada O\n", "p.conll"), examples)


def test_types_and_words_with_spaces_are_one_column_each_and_are_read_back(
    write, tokenizer, task_of
):
    task = task_of("bio")
    sentence = {"tokens": ["New York", "went"], "tags": ["B-creative work", "O"]}
    path = write(json.dumps(sentence) + "\n", "train.jsonl")
    examples, tables, rows = rows_of(task, path, tokenizer)
    verdict = task.judge(examples, rows, [perfect(row, tables) for row in rows], tables=tables)
    (file,) = task.prediction_files(examples, verdict, tables=tables).values()
    assert file == "New_York B-creative_work B-creative_work\nwent O O\n\n"
    predictions = write(file, "p.conll")
    read = task.read_predictions(predictions, examples)
    assert read.predictions[0].tags == ["B-creative work", "O"]
    assert read.scores == verdict.scores and read.scores["f1"] == 100.0
    # Of sentences without tags, the checkpoint knows the types.
    untagged = [each._replace(tags=None) for each in examples]
    read = task.read_predictions(predictions, untagged, tables=tables)
    assert read.predictions[0].found[0].entity.type == "creative work"


def test_text_is_cut_into_words_whose_entities_are_named_by_characters(tokenizer, task_of):
    task = task_of("bio")
    sentence = task.example({"text": "It's in New York."})
    assert sentence.words == ("It", "'", "s", "in", "New", "York", ".")
    tables = {"types": ["LOC"]}
    rows = list(task.rows([sentence], tokenizer=tokenizer, tables=tables, training=False))
    logits = np.zeros((len(rows[0].token_ids), 3), np.float32)
    logits[5, 1] = logits[6, 2] = 9.0
    verdict = task.judge([sentence], rows, [{"logits": logits}], tables=tables)
    (entity,) = task.described([sentence], verdict, tables=tables)[0]["entities"]
    assert {name: entity[name] for name in ("type", "text", "start", "end")} == {
        "type": "LOC", "text": "New York", "start": 8, "end": 16,
    }  # fmt: skip


def test_chinese_characters_are_words_of_their_own(task_of):
    assert task_of("bio").example({"text": "在Rome吗"}).words == ("在", "Rome", "吗")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "must have one field, tokens or text, found none"),
        ({"text": "a", "tokens": ["a"]}, "found text, tokens"),
        ({"words": ["a"]}, "found words"),
        ({"tokens": []}, "tokens must be a list of words"),
        ({"text": "  "}, "text must hold a word"),
        ({"text": 3}, "text must be text, found 3"),
    ],
)
def test_a_question_that_is_none_is_refused(fields, message, task_of):
    with pytest.raises(UserError, match=message):
        task_of("bio").example(fields)


def test_an_untrained_span_head_takes_nearly_all_spans_for_none(write, tokenizer, task_of):
    task = task_of("spans", max_span_words=2)
    _, tables, rows = rows_of(task, write(), tokenizer)
    batch = batch_of(rows, task, batch_size=2, length=8)
    head = task.head(MODEL, tables, jnp.float32)
    arguments = {"pooled": None, "fields": batch.fields, "mask": jnp.ones((2, 8), bool)}
    outputs, _ = head.init_with_output(
        jax.random.key(1), jnp.zeros((2, 8, 16)), **arguments, seed=None
    )
    others = 1.0 - jax.nn.softmax(outputs["span_logits"])[..., 0]
    assert float(others.mean()) == pytest.approx(0.01, abs=0.005)
