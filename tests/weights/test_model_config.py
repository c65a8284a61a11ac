"""What others state of a model, and what our model has no place for."""

import dataclasses

import numpy as np
import pytest

from spanbert_jax.config import ModelConfig
from spanbert_jax.errors import UserError
from spanbert_jax.weights.matching import tensors_from
from spanbert_jax.weights.model_config import (
    export_config,
    exported_names,
    family_of,
    model_from_config,
    model_from_shapes,
    with_heads,
)
from spanbert_jax.weights.names import BERT, FAIRSEQ, FAMILIES, GOOGLE, ROBERTA
from spanbert_jax.weights.tensors import Arrays

BERT_BASE = {
    "hidden_act": "gelu", "hidden_size": 768, "intermediate_size": 3072,
    "max_position_embeddings": 512, "num_attention_heads": 12, "num_hidden_layers": 12,
    "type_vocab_size": 2, "vocab_size": 28996,
}  # fmt: skip


def test_a_config_of_bert_states_the_sizes_of_ours():
    assert model_from_config(BERT_BASE, names=BERT, where="config.json") == ModelConfig(
        vocab_size=28996, span_boundary_head=False
    )


def test_a_config_of_roberta_counts_the_rows_before_its_first_position():
    config = BERT_BASE | {
        "vocab_size": 50265, "max_position_embeddings": 514, "type_vocab_size": 1,
        "pad_token_id": 1, "layer_norm_eps": 1e-5,
    }  # fmt: skip
    assert model_from_config(config, names=ROBERTA, where="config.json") == ModelConfig(
        vocab_size=50265, num_segments=0, position_offset=2, layer_norm_epsilon=1e-5,
        span_boundary_head=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"hidden_act": "relu"}, "c.json: hidden_act must be 'gelu', found 'relu'"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type must be 'absolute'"),
        ({"is_decoder": True}, "is_decoder must be False, found True"),
        ({"tie_word_embeddings": False}, "tie_word_embeddings must be True"),
        ({"num_hidden_layers": None}, "num_hidden_layers must be a whole number.* found nothing"),
        ({"hidden_size": "768"}, "hidden_size must be a whole number of at least 1, found '768'"),
        ({"type_vocab_size": 0}, "type_vocab_size must be a whole number of at least 1, found 0"),
        ({"type_vocab_size": 2.0}, "type_vocab_size must be a whole number .*, found 2.0"),
        ({"hidden_size": 768.0}, "hidden_size must be a whole number of at least 1, found 768.0"),
        ({"layer_norm_eps": True}, "layer_norm_eps must be a number, found True"),
        ({"layer_norm_eps": "1e-5"}, "layer_norm_eps must be a number, found '1e-5'"),
        ({"hidden_dropout_prob": None}, "hidden_dropout_prob must be a number, found None"),
        ({"attention_probs_dropout_prob": [0.1]}, "dropout_prob must be a number, found \\[0.1"),
        ({"initializer_range": {}}, "initializer_range must be a number, found {}"),
        ({"layer_norm_eps": float("nan")}, "its values must fit a model"),
        ({"num_attention_heads": 7}, r"c.json: .* \(--model.hidden-size 768: must be div"),
    ],
)
def test_a_model_of_another_kind_is_refused_by_field_value_and_rule(changed, message):
    with pytest.raises(UserError, match=message):
        model_from_config(BERT_BASE | changed, names=BERT, where="c.json")


@pytest.mark.parametrize("padding", ["1", 1.0, True, -1, [1]])
def test_the_padding_of_roberta_must_be_an_id(padding):
    config = BERT_BASE | {"max_position_embeddings": 514, "pad_token_id": padding}
    with pytest.raises(UserError, match="c.json: pad_token_id must be a whole number of at least"):
        model_from_config(config, names=ROBERTA, where="c.json")


@pytest.mark.parametrize("names", FAMILIES, ids=lambda names: names.family)
def test_the_names_tell_the_family(model, random_params, names):
    tensors = Arrays(dict(tensors_from(random_params(model), names=names, model=model)))
    assert family_of(tensors, None, where="here") is names


@pytest.mark.parametrize(
    "names, prefix, without, expected",
    [
        (BERT, "decoder.", "pair_target", FAIRSEQ),
        (FAIRSEQ, "model.decoder.", "pair_target", FAIRSEQ),
        (FAIRSEQ, "", "pair_target", BERT),
        (BERT, "", "nothing", BERT),
    ],
)
def test_what_its_training_left_is_known_by_head_or_wrapper(
    model, random_params, names, prefix, without, expected
):
    tensors = {
        prefix + name: array
        for name, array in tensors_from(random_params(model), names=names, model=model).items()
        if without not in name
    }
    assert family_of(Arrays(tensors), {"model_type": "bert"}, where="here") is expected


def test_names_without_a_prefix_are_of_the_family_that_the_config_states(model, random_params):
    tensors = {
        name.removeprefix("roberta."): array
        for name, array in tensors_from(random_params(model), names=ROBERTA, model=model).items()
    }
    assert family_of(Arrays(tensors), {"model_type": "roberta"}, where="here") is ROBERTA


@pytest.mark.parametrize(
    "config, message",
    [
        ({"model_type": "albert"}, "here: model_type must be bert or roberta, found albert"),
        (None, "must hold the tensors of a BERT model, found none .* but a ..."),
    ],
)
def test_an_unknown_family_is_refused(config, message):
    with pytest.raises(UserError, match=message):
        family_of(Arrays({"a": np.zeros(1)}), config, where="here")


@pytest.mark.parametrize("names", [BERT, FAIRSEQ, GOOGLE], ids=lambda names: names.family)
def test_without_a_config_shapes_tell_the_sizes(model, random_params, names):
    model = dataclasses.replace(model, pooler=True, next_sentence_head=True)
    tensors = Arrays(dict(tensors_from(random_params(model), names=names, model=model)))
    found = model_from_shapes(tensors, names=names, num_heads=4)
    found = with_heads(found, tensors, names, pooler=True, span_boundary_head=True)
    assert found == model


def test_heads_are_of_64_where_nobody_says(random_params):
    model = ModelConfig(
        vocab_size=9, hidden_size=128, num_layers=1, num_heads=2, mlp_size=8, max_positions=8
    )
    tensors = Arrays(dict(tensors_from(random_params(model), names=BERT, model=model)))
    assert model_from_shapes(tensors, names=BERT, num_heads=None).num_heads == 2


def test_roberta_needs_its_config(roberta, random_params):
    tensors = Arrays(dict(tensors_from(random_params(roberta), names=ROBERTA, model=roberta)))
    with pytest.raises(UserError, match="RoBERTa, .* needs its config.json, found none"):
        model_from_shapes(tensors, names=ROBERTA, num_heads=4)


@pytest.mark.parametrize("segments, refused", [(1, True), (2, False)])
def test_without_prefix_and_config_one_segment_may_be_roberta(
    roberta, random_params, segments, refused
):
    model = dataclasses.replace(roberta, num_segments=0 if segments == 1 else 2)
    tensors = Arrays({
        name.removeprefix("roberta."): array
        for name, array in tensors_from(random_params(model), names=ROBERTA, model=model).items()
        if name.startswith("roberta.")
    })  # fmt: skip
    assert family_of(tensors, None, where="here") is BERT
    if refused:
        with pytest.raises(UserError, match="one segment .* needs its config.json, found none"):
            model_from_shapes(tensors, names=BERT, num_heads=4)
    else:
        assert model_from_shapes(tensors, names=BERT, num_heads=4).num_segments == 2


def test_bert_of_one_segment_needs_no_config_where_its_names_tell(model, random_params):
    model = dataclasses.replace(model, num_segments=0)
    tensors = Arrays(dict(tensors_from(random_params(model), names=BERT, model=model)))
    assert model_from_shapes(tensors, names=BERT, num_heads=4).num_segments == 0


def test_an_exported_config_is_read_back(model, roberta):
    for each in (model, roberta):
        config = export_config(each, pad_id=1, cls_id=0, sep_id=2)
        names = exported_names(each)
        found = model_from_config(config, names=names, where="config.json")
        assert found == dataclasses.replace(
            each, pooler=False, span_boundary_head=False,
            boundary_offset_size=200, max_boundary_offsets=15,
        )  # fmt: skip


def test_positions_that_transformers_cannot_have_are_refused(roberta):
    with pytest.raises(UserError, match="--model.position-offset 2: .* at 1; a model with other"):
        export_config(roberta, pad_id=0, cls_id=2, sep_id=3)
