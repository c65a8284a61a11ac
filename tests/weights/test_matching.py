"""Tensors of a checkpoint and parameters of ours: what fits, what is left over, what is refused."""

import dataclasses
import os
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from spanbert_jax.config import ModelConfig
from spanbert_jax.errors import UserError
from spanbert_jax.weights.matching import match, params_from, tensors_from
from spanbert_jax.weights.names import BERT, FAIRSEQ, FAMILIES, GOOGLE, ROBERTA
from spanbert_jax.weights.parameters import flatten
from spanbert_jax.weights.tensors import Arrays


def tensors_of(params, names, model) -> dict[str, np.ndarray]:
    return dict(tensors_from(params, names=names, model=model))


@pytest.mark.parametrize("names", FAMILIES, ids=lambda names: names.family)
@pytest.mark.parametrize("num_segments", [2, 0])
def test_parameters_come_back_from_every_family_bit_for_bit(
    model, random_params, names, num_segments, same
):
    model = dataclasses.replace(model, num_segments=num_segments, position_offset=2)
    params = random_params(model)
    assert same(params_from(tensors_of(params, names, model), names=names, model=model), params)


@pytest.mark.parametrize(
    "names, expected",
    [
        (BERT, {
            "bert.embeddings.LayerNorm.weight": (16,),
            "bert.encoder.layer.1.attention.self.key.weight": (16, 16),
            "bert.encoder.layer.1.output.dense.weight": (16, 32),
            "bert.pooler.dense.bias": (16,),
            "cls.predictions.transform.LayerNorm.bias": (16,),
            "cls.predictions.bias": (40,),
            "cls.seq_relationship.weight": (2, 16),
            "cls.pair_target_predictions.mlp_layer_norm.linear1.weight": (16, 38),
        }),
        (FAIRSEQ, {
            "bert.embeddings.LayerNorm.gamma": (16,),
            "cls.predictions.transform.LayerNorm.beta": (16,),
            "cls.pair_target_predictions.position_embeddings.weight": (4, 6),
            "cls.pair_target_predictions.mlp_layer_norm.layer_norm2.gamma": (16,),
        }),
        (ROBERTA, {
            "roberta.embeddings.token_type_embeddings.weight": (2, 16),
            "roberta.encoder.layer.0.attention.output.LayerNorm.weight": (16,),
            "lm_head.dense.weight": (16, 16),
            "lm_head.layer_norm.weight": (16,),
            "lm_head.bias": (40,),
        }),
        (GOOGLE, {
            "bert/embeddings/word_embeddings": (40, 16),
            "bert/embeddings/token_type_embeddings": (2, 16),
            "bert/encoder/layer_0/attention/self/query/kernel": (16, 16),
            "bert/encoder/layer_0/attention/output/LayerNorm/gamma": (16,),
            "bert/encoder/layer_0/output/dense/kernel": (32, 16),
            "bert/pooler/dense/kernel": (16, 16),
            "cls/predictions/transform/LayerNorm/beta": (16,),
            "cls/predictions/output_bias": (40,),
            "cls/seq_relationship/output_weights": (2, 16),
            "cls/seq_relationship/output_bias": (2,),
        }),
    ],
    ids=lambda value: getattr(value, "family", ""),
)  # fmt: skip
def test_a_family_has_its_own_names_and_shapes(model, random_params, names, expected):
    model = dataclasses.replace(model, pooler=True, next_sentence_head=True)
    tensors = tensors_of(random_params(model), names, model)
    assert {name: tensors[name].shape for name in expected} == expected


def test_the_original_span_bert_matches_to_the_last_tensor(golden_weights):
    weights, model = golden_weights
    matching = match(Arrays(weights), names=FAIRSEQ, model=model)
    assert (matching.unused, matching.missing) == ((), ())
    assert len(matching.copies) == 2
    assert matching.num_used == len(weights) - 2
    back = tensors_of(params_from(weights, names=FAIRSEQ, model=model), FAIRSEQ, model)
    assert back.keys() == weights.keys() - matching.copies.keys()
    assert all(np.array_equal(back[name], weights[name]) for name in back)


@pytest.fixture(params=["no_nsp", "nsp"])
def golden_weights(request) -> tuple[dict[str, np.ndarray], ModelConfig]:
    """Weights of the original code: continuous integration names their folder."""
    reference = os.environ.get("SPANBERT_REFERENCE")
    if not reference:
        reference = request.getfixturevalue("shared") / "reference"
    pairs = request.param == "nsp"
    model = ModelConfig(
        vocab_size=211, hidden_size=32, num_layers=3, num_heads=4, mlp_size=64, max_positions=64,
        pooler=pairs, next_sentence_head=pairs,
    )  # fmt: skip
    file = Path(reference) / "pretrain_forward" / request.param / "weights.npz"
    with np.load(file) as weights:
        return dict(weights), model


@pytest.mark.parametrize("prefix", ["", "decoder.", "module.", "model.decoder."])
def test_names_may_lack_their_prefix_or_have_others(model, random_params, prefix, same):
    params = random_params(model)
    tensors = {
        prefix + name.removeprefix("bert."): array
        for name, array in tensors_of(params, FAIRSEQ, model).items()
    }
    assert same(params_from(tensors, names=BERT, model=model), params)


def test_half_precision_is_read_as_float32(model, random_params):
    tensors = tensors_of(random_params(model), BERT, model)
    halves = {name: array.astype(np.float16) for name, array in tensors.items()}
    params = params_from(halves, names=BERT, model=model)
    assert {leaf.dtype for _, leaf in flatten(params)} == {np.dtype(np.float32)}


def without(tensors, prefix: str) -> dict[str, np.ndarray]:
    return {name: array for name, array in tensors.items() if not name.startswith(prefix)}


def test_a_head_that_is_missing_as_a_whole_is_left_to_be_initialised(model, random_params):
    tensors = without(tensors_of(random_params(model), BERT, model), "cls.pair_target")
    matching = match(Arrays(tensors), names=BERT, model=model)
    assert matching.initialised == {"span_boundary_head": 10}
    assert matching.summary() == ("weights: 42 of 42 matched; initialised: span_boundary_head (10)")
    assert "span_boundary_head" not in params_from(tensors, names=BERT, model=model)


def test_what_is_no_parameter_or_unknown_is_counted(model, random_params):
    tensors = tensors_of(random_params(model), BERT, model)
    tensors["bert.embeddings.position_ids"] = np.arange(12)
    tensors["classifier.weight"] = np.zeros((2, 16))
    tensors["cls.predictions.decoder.weight"] = tensors["bert.embeddings.word_embeddings.weight"]
    assert match(Arrays(tensors), names=BERT, model=model).summary() == (
        "weights: 52 of 53 matched; equal to another: 1; no parameters: 1; unused: "
        "classifier.weight"
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
def test_a_copy_that_is_not_finite_is_equal_to_its_original(model, random_params, dtype):
    tensors = {
        name: array.astype(dtype)
        for name, array in tensors_of(random_params(model), BERT, model).items()
    }
    embedding = tensors["bert.embeddings.word_embeddings.weight"].copy()
    embedding[3, 2] = np.nan
    tensors["bert.embeddings.word_embeddings.weight"] = embedding
    tensors["cls.predictions.decoder.weight"] = embedding.copy()
    params = params_from(tensors, names=BERT, model=model)
    assert np.isnan(params["encoder"]["embeddings"]["token_embedding"]).sum() == 1


def test_copies_are_spelled_as_their_family():
    assert ROBERTA.copies["lm_head.decoder.weight"] == "roberta.embeddings.word_embeddings.weight"
    assert ROBERTA.copies["lm_head.decoder.bias"] == "lm_head.bias"
    assert BERT.copies == FAIRSEQ.copies
    assert BERT.copies["cls.predictions.decoder.bias"] == "cls.predictions.bias"


def test_a_bias_that_stands_only_under_its_second_name_is_found(model, random_params, same):
    params = random_params(model)
    tensors = tensors_of(params, BERT, model)
    tensors["cls.predictions.decoder.bias"] = tensors.pop("cls.predictions.bias")
    assert same(params_from(tensors, names=BERT, model=model), params)


@pytest.mark.parametrize(
    "change, parts",
    [
        (lambda t: t.pop("bert.encoder.layer.1.output.dense.bias"),
         ["tensor bert.encoder.layer.1.output.dense.bias", "layer_1/feed_forward/outer/bias"]),
        (lambda t: t.update({"bert.embeddings.LayerNorn.bias":
                             t.pop("bert.embeddings.LayerNorm.bias")}),
         ["bert.embeddings.LayerNorm.bias", "nearest unused one is bert.embeddings.LayerNorn"]),
        (lambda t: t.pop("cls.pair_target_predictions.bias"),
         ["tensor cls.pair_target_predictions.bias", "must hold"]),
        (lambda t: t.update({"bert.embeddings.position_embeddings.weight": np.zeros((9, 16))}),
         ["bert.embeddings.position_embeddings.weight", "shape (12, 16)", "found (9, 16)"]),
        (lambda t: t.update({"cls.predictions.decoder.weight": np.zeros((40, 16), np.float32)}),
         ["cls.predictions.decoder.weight must be equal to bert.embeddings.word_embeddings"]),
        (lambda t: t.update({"cls.predictions.decoder.weight": np.zeros((39, 16), np.float32)}),
         ["decoder.weight must be of the shape of bert.embeddings.word_embeddings.weight",
          "(40, 16), found (39, 16)"]),
        (lambda t: t.update({"bert.encoder.layer.0.output.dense.weight": np.ones((16, 32), "i1")}),
         ["layer.0.output.dense.weight", "must be of floating-point numbers, found int8"]),
        (lambda t: t.update({"cls.predictions.bias": np.ones(40, np.int64)}),
         ["cls.predictions.bias", "must be of floating-point numbers, found int64"]),
        (lambda t: t.update({"embeddings.LayerNorm.gamma": np.zeros(16)}),
         ["must hold bert.embeddings.LayerNorm.weight once", "embeddings.LayerNorm.gamma"]),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_by_name(model, random_params, change, parts):
    tensors = tensors_of(random_params(model), BERT, model)
    change(tensors)
    with pytest.raises(UserError) as refused:
        params_from(tensors, names=BERT, model=model)
    for part in parts:
        assert part in str(refused.value)
