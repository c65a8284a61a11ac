"""Asking a fine-tuned model in Python: its verbs, batches, thresholds, and what it is not asked."""

import math
import random
from typing import Any

import pytest

import spanbert_jax
from spanbert_jax.errors import UserError
from spanbert_jax.inference.fine_tuned_model import FineTunedModel, shortened
from spanbert_jax.inference.verbs import examples_of

SENTENCES = "ada was born in london . the first program was bad ! who wrote the film in paris ?"


@pytest.fixture(scope="module")
def reader(answering) -> FineTunedModel:
    return spanbert_jax.load(answering)


@pytest.fixture(scope="module")
def critic(classifying) -> FineTunedModel:
    return spanbert_jax.load(classifying)


def close(left: Any, right: Any) -> bool:
    """Whether two predictions are equal, numbers but for rounding."""
    if isinstance(left, float) and isinstance(right, float):
        return math.isclose(left, right, rel_tol=1e-4, abs_tol=1e-6)
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(close(left[key], right[key]) for key in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(close, left, right))
    return left == right


def test_an_answer_is_the_text_of_the_context_at_its_place(reader):
    context = "Ada Lovelace was born in LONDON."
    found = reader.answer("Where was Ada born?", context)
    candidates = [each for each in found["n_best"] if each["text"]]
    assert len(candidates) > 3
    for each in candidates:
        assert context[each["start"] : each["end"]] == each["text"]
    assert sum(each["probability"] for each in found["n_best"]) == pytest.approx(1.0)


def test_a_context_of_many_windows_is_read_to_its_end(reader):
    context = " ".join(random.Random(0).choices(SENTENCES.split(), k=600))
    found = reader.answer("who ?", context)
    candidates = [each for each in found["n_best"] if each["text"]]
    places = [each["start"] for each in candidates]
    assert min(places) < len(context) / 3 and max(places) > len(context) * 2 / 3
    assert all(context[each["start"] :].startswith(each["text"]) for each in candidates)


def test_an_empty_context_has_no_answer(reader):
    found = reader.answer("who ?", "")
    assert (found["answer"], found["start"], found["end"]) == ("", None, None)


def test_a_question_longer_than_the_window_is_cut_and_answered(reader):
    found = reader.answer("who wrote " * 40 + "?", "ada lovelace")
    assert found["null_probability"] < 1.0


def test_the_threshold_of_the_checkpoint_decides_about_no_answer(answering):
    def answers(threshold: float) -> set[str]:
        model = spanbert_jax.load(answering)
        model.settings["null_threshold"] = threshold
        return {each["answer"] for each in model.answer(["where ?", "who ?"], SENTENCES)}

    assert spanbert_jax.load(answering).settings == {"null_threshold": -3.5}
    assert answers(-100.0) == {""}
    assert "" not in answers(100.0)


def test_many_examples_are_answered_as_one_by_one(reader, critic):
    words = SENTENCES.split()
    contexts = [" ".join(words[: 2 + 3 * i] * (1 + i)) for i in range(4)]
    together = reader.answer("who wrote the film ?", contexts)
    for context, found in zip(contexts, together, strict=True):
        assert close(found, reader.answer("who wrote the film ?", context))
    labels = critic.classify(contexts)
    assert [each["text"] for each in labels] == contexts
    assert all(close(each, critic.classify(each["text"])) for each in labels)


def test_small_batches_say_the_same_as_large_ones(classifying):
    texts = [" ".join(SENTENCES.split()[:length]) for length in range(1, 18)]
    small = FineTunedModel(**{**vars(spanbert_jax.load(classifying)), "batch_tokens": 32})
    assert close(small.classify(texts), spanbert_jax.load(classifying).classify(texts))


def test_a_label_comes_with_the_probabilities_of_all(critic):
    found = critic.classify("a good film")
    assert set(found["probabilities"]) == {"good", "bad", "none"}
    assert sum(found["probabilities"].values()) == pytest.approx(1.0)
    assert found["probability"] == max(found["probabilities"].values())


def test_a_relation_is_asked_of_text_or_of_words(relating):
    model = spanbert_jax.load(relating)
    entities = {"subject_type": "PERSON", "object_type": "CITY"}
    of_text = model.relation("ada was born in london", subject=(0, 3), object=(16, 22), **entities)
    words = {"tokens": "ada was born in london".split(), "subject": [0, 0], "object": [4, 4]}
    (of_words,) = model.relation([words | entities])
    assert of_text["relation"] in ("no_relation", "born_in")
    assert close(of_text, of_words)


def test_entities_are_found_in_texts_and_in_lists_of_words(tagging):
    model = spanbert_jax.load(tagging)
    text = "Ada was born in London."
    one, other = model.tag([text, ["ada", "was", "born"]])
    assert close(one, model.tag(text))
    assert len(one["tags"]) == 6 and len(other["tags"]) == 3
    for entity in one["entities"]:
        assert text[entity["start"] : entity["end"]] == entity["text"]


def test_a_file_is_judged_as_its_examples_are_predicted(critic, classifying):
    split = critic.read(str(classifying.parent / "train.jsonl"))
    seen = []
    verdict = critic.judge(split, watch=lambda begun, total: seen.append((begun, total)))
    labels = [each["label"] for each in critic.classify([each.text for each in split.examples])]
    assert [each.answer for each in verdict.predictions] == labels
    right = sum(label == name for label, name in zip(labels, ("good", "bad", "none"), strict=True))
    assert verdict.scores["accuracy"] == pytest.approx(100 * right / 3)
    assert seen[-1] == (3, 3)


def test_its_encoder_gives_hidden_states(critic, reader):
    encoded = critic.encode(["a good film", "ada"])
    assert encoded.hidden_states.shape == (2, 5, 16)
    assert encoded.pooled.shape == (2, 16)
    # A head of spans has no pooler.
    assert reader.encode("ada").pooled is None


def test_no_examples_have_no_predictions(critic):
    assert critic.predict([]) == []
    assert critic.classify([]) == []


def test_a_verb_of_another_task_says_which_head_there_is(critic):
    with pytest.raises(UserError) as error:
        critic.answer("who ?", "ada")
    assert "needs a model with a head of question answering" in str(error.value)
    assert "task text_classification, which is asked with classify" in str(error.value)


def test_an_unknown_field_names_the_nearest_and_its_example(reader):
    asked = {"question": "who ?", "context": "ada"}
    with pytest.raises(UserError, match="example 1: field 'contxt' is none of .* is context"):
        reader.predict([asked, {"question": "who ?", "contxt": "ada"}])


def test_an_example_that_cannot_be_a_row_is_named(relating):
    model = spanbert_jax.load(relating)
    untyped = {"text": "ada was born", "subject": [0, 3], "object": [8, 12], "object_type": "CITY"}
    typed = untyped | {"subject_type": "PERSON"}
    for number in range(4):
        asked = [typed] * number + [untyped] + [typed, untyped]
        message = f"^example {number}: relation: subject_type is missing"
        with pytest.raises(UserError, match=message):
            model.predict(asked)
        with pytest.raises(UserError, match=message):
            model.relation(asked)
    with pytest.raises(UserError, match="^relation: subject_type is missing"):
        model.relation(untyped)


def test_lists_of_different_lengths_are_refused():
    with pytest.raises(UserError, match="found 2 of question, 3 of context"):
        examples_of(question=["a", "b"], context=["c", "d", "e"])


def test_one_text_goes_with_each_of_a_list():
    assert examples_of(question=["a?", "b?"], context="c") == [
        {"question": "a?", "context": "c"}, {"question": "b?", "context": "c"}
    ]  # fmt: skip


def test_the_best_candidates_are_kept():
    described = {"label": "a", "probabilities": {"a": 0.5, "b": 0.2, "c": 0.3}, "n_best": [3, 2, 1]}
    assert shortened(described, 2) == {
        "label": "a", "probabilities": {"a": 0.5, "c": 0.3}, "n_best": [3, 2]
    }  # fmt: skip


def test_a_head_that_does_not_fit_its_parameters_is_refused(classifying):
    model = spanbert_jax.load(classifying)
    model.tables["labels"].append("another")
    with pytest.raises(UserError, match="must have the parameters of the checkpoint"):
        model.classify("a good film")
