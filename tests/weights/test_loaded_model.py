"""A loaded model reads texts of any number and length, and what it says of one is its own."""

import dataclasses
from functools import partial

import jax
import numpy as np
import pytest

from spanbert_jax.config import ComputeConfig, ModelConfig
from spanbert_jax.corpus.tokenizers.word_piece import parse_vocabulary
from spanbert_jax.data.batch import empty_batch
from spanbert_jax.data.task_batches import padded_length
from spanbert_jax.errors import UserError
from spanbert_jax.model.pretraining import SpanBert
from spanbert_jax.training.objective import model_inputs
from spanbert_jax.weights.loaded_model import LoadedModel, _batches
from spanbert_jax.weights.parameters import initial_parameters, nest, parameter_shapes

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"word{i}" for i in range(20)), "##s"]
MODEL = ModelConfig(
    vocab_size=len(PIECES), hidden_size=16, num_layers=2, num_heads=2, mlp_size=32,
    max_positions=80, pooler=True,
)  # fmt: skip
TEXTS = [
    "word1 word2",
    " ".join(f"word{i % 20}" for i in range(70)),
    "word3",
    "",
    "word4s word5 word6 word7",
]


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    tokenizer = parse_vocabulary("\n".join(PIECES), lowercase=False, where="test")
    params = nest(initial_parameters(MODEL, list(parameter_shapes(MODEL)), seed=0))
    # Larger than the initialisation, so that differences show.
    params = jax.tree.map(lambda leaf: leaf * 8 if leaf.ndim > 1 else leaf + 0.1, params)
    return LoadedModel(MODEL, params, tokenizer)


def test_rows_are_the_texts_in_their_order_with_zeros_behind_them(model: LoadedModel) -> None:
    encoded = model.encode(TEXTS)
    assert encoded.mask.sum(axis=1).tolist() == [4, 72, 3, 2, 7]
    assert encoded.token_ids[4, :8].tolist() == [2, 9, 25, 10, 11, 12, 3, 0]
    assert encoded.hidden_states.shape == (5, 72, 16)
    assert not encoded.hidden_states[~encoded.mask].any()
    assert np.abs(encoded.hidden_states[encoded.mask]).max(axis=-1).min() > 0.1


def test_a_text_is_encoded_alone_as_it_is_among_others(model: LoadedModel) -> None:
    together = model.encode(TEXTS, batch_tokens=64)
    for i, text in enumerate(TEXTS):
        alone = model.encode(text)
        length = alone.mask.shape[1]
        np.testing.assert_array_equal(alone.token_ids[0], together.token_ids[i, :length])
        np.testing.assert_allclose(
            alone.hidden_states[0], together.hidden_states[i, :length], atol=1e-5
        )
        np.testing.assert_allclose(alone.pooled[0], together.pooled[i], atol=1e-5)


def test_hidden_states_are_the_last_ones_of_the_pretraining_model(model: LoadedModel) -> None:
    encoded = model.encode(TEXTS[4])
    batch = empty_batch(1, 7, 1)
    batch.token_ids[:] = encoded.token_ids
    batch.document_ids[:], batch.position_ids[:] = 1, np.arange(7)
    apply = partial(SpanBert(MODEL, ComputeConfig(dtype="float32")).apply, mutable="intermediates")
    _, state = jax.jit(apply)({"params": model.params}, **model_inputs(batch))
    expected = state["intermediates"]["encoder"]["hidden_states"][-1]
    np.testing.assert_allclose(encoded.hidden_states, expected, atol=1e-5)


def test_many_texts_of_many_lengths_compile_a_few_shapes(model: LoadedModel) -> None:
    fresh = dataclasses.replace(model)
    texts = [" ".join(["word1"] * n) for n in range(1, 78)]
    fresh.encode(texts, batch_tokens=512)
    # 30 texts of length 32, 32 of 64, 15 of 80: batches of 16, 8, 4, 2 rows; 8; and 4, 2, 1.
    assert fresh._forward._cache_size() <= 8
    fresh.encode(texts[::-1], batch_tokens=512)
    assert fresh._forward._cache_size() <= 8


def test_no_row_is_computed_for_nothing_and_no_batch_is_larger_than_asked() -> None:
    lengths = np.array([20] * 13 + [100] * 6 + [500] * 3, np.int32)
    batches = list(_batches(lengths, 512, 1_024))
    assert [(len(chosen), length) for chosen, length in batches] == [
        (2, 512), (1, 512), (4, 128), (2, 128), (8, 32), (4, 32), (1, 32),
    ]  # fmt: skip
    assert all(len(chosen) * length <= 1_024 for chosen, length in batches)
    assert sorted(np.concatenate([chosen for chosen, _ in batches])) == list(range(22))


def test_no_text_at_all_gives_no_rows(model: LoadedModel) -> None:
    encoded = model.encode([])
    assert encoded.hidden_states.shape == (0, 0, 16) and encoded.pooled.shape == (0, 16)


def test_a_text_that_is_too_long_is_an_error_or_cut_when_asked(model: LoadedModel) -> None:
    long = " ".join(["word1"] * 79)
    with pytest.raises(UserError, match=r"has 81 tokens, .*at most 80 .*truncate=True"):
        model.encode(long)
    cut = model.encode(long, truncate=True)
    assert cut.token_ids.shape == (1, 80) and cut.token_ids[0, -1] == 3
    assert model.encode(long, truncate=True, max_length=10).token_ids.shape == (1, 10)
    with pytest.raises(UserError, match=r"max_length 81: must be from 2 .* 80 positions"):
        model.encode("word1", max_length=81)


def test_padded_lengths_of_the_docstring() -> None:
    assert [padded_length(20, 512), padded_length(130, 512), padded_length(99, 100)] == [
        32, 192, 100,
    ]  # fmt: skip
