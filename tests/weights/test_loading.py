"""`spanbert_jax.load` reads whatever holds a model, and reads the same model out of all of them."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import spanbert_jax
import spanbert_jax.__main__ as program
from spanbert_jax.errors import UserError
from spanbert_jax.weights.loading import read_pretrained


@pytest.fixture
def bert(model):
    return dataclasses.replace(model, pooler=True, next_sentence_head=True)


def command(*arguments: object) -> None:
    assert program.main([str(argument) for argument in arguments]) == 0


@pytest.fixture
def folders(tmp_path, bert, released) -> dict[str, Path]:
    """One model in every form."""
    hugging_face, imported, exported = released(bert), tmp_path / "imported", tmp_path / "exported"
    command("import", hugging_face, "--out", imported)
    command("export", imported, "--out", exported)
    return {
        "hugging_face": hugging_face, "file": hugging_face / "model.safetensors",
        "imported": imported, "exported": exported,
    }  # fmt: skip


def test_every_form_gives_the_same_model(folders, bert, random_params, same):
    texts = ["The cat sat", "the mat"]
    models = {name: spanbert_jax.load(folder) for name, folder in folders.items()}
    first = models["hugging_face"].encode(texts)
    assert np.abs(first.hidden_states).max() > 0.1
    for name, model in models.items():
        assert model.config == bert, name
        assert same(model.params, random_params(bert)), name
        encoded = model.encode(texts)
        np.testing.assert_array_equal(encoded.hidden_states, first.hidden_states, err_msg=name)
        np.testing.assert_array_equal(encoded.pooled, first.pooled, err_msg=name)
        assert model.tokenizer.decode(encoded.token_ids[0].tolist()) == "The cat sat"


def test_heads_that_an_import_began_at_random_are_known_as_such(tmp_path, bert, released):
    source, imported = released(bert, without="pair_target"), tmp_path / "imported"
    command("import", source, "--out", imported)
    for folder in (source, imported):
        fresh = read_pretrained(folder).fresh
        assert len(fresh) == 10
        assert {path.split("/")[0] for path in fresh} == {"span_boundary_head"}


def test_a_pooler_that_nobody_trained_pools_nothing(tmp_path, bert, released):
    source, imported = released(bert, without="pooler"), tmp_path / "imported"
    command("import", source, "--out", imported)
    for folder in (source, imported):
        model = spanbert_jax.load(folder)
        assert not model.config.pooler and not model.config.next_sentence_head
        assert "pooler" not in model.params and model.encode("The cat").pooled is None


def test_a_checkpoint_can_be_chosen(saved_run: Callable[..., Path], model, random_params, same):
    folder = saved_run(model, step=7)
    assert same(spanbert_jax.load(folder, step=7).params, random_params(model))
    with pytest.raises(UserError, match="--step 8: must be a checkpoint that .* keeps"):
        spanbert_jax.load(folder, step=8)


def test_bfloat16_computes_the_same_but_for_rounding(folders):
    exact = spanbert_jax.load(folders["exported"]).encode("The cat")
    rounded = spanbert_jax.load(folders["exported"], dtype="bfloat16").encode("The cat")
    assert rounded.hidden_states.dtype == np.float32
    difference = np.abs(rounded.hidden_states - exact.hidden_states).max()
    assert 0 < difference < 0.1 * np.abs(exact.hidden_states).max()


@pytest.mark.parametrize("what", ["empty", "missing", "text"])
def test_a_path_that_is_no_model_is_an_error_that_says_what_was_looked_for(tmp_path, what):
    path = tmp_path / what
    if what == "empty":
        path.mkdir()
    if what == "text":
        path.write_text("no weights")
    with pytest.raises(UserError, match=what):
        spanbert_jax.load(path)


def test_another_attribute_of_the_package_is_still_an_error():
    with pytest.raises(AttributeError, match="spanbert_jax.* has no attribute 'loads'"):
        _ = spanbert_jax.loads
