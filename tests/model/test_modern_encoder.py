"""The encoder of today's blocks: rotary positions, bands, gates; and rows longer than any other."""

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from spanbert_jax.config import ComputeConfig, ModelConfig, PretrainConfig
from spanbert_jax.data.batch import PretrainBatch
from spanbert_jax.errors import ConfigError, UserError
from spanbert_jax.model.encoders import make_encoder
from spanbert_jax.model.flops import pairs_per_token, train_step_flops
from spanbert_jax.model.layers import (
    Documents,
    attention_mask,
    blockwise_attention,
    plain_attention,
)
from spanbert_jax.model.modern_encoder import local_attention, rotated, rotation
from spanbert_jax.model.pretraining import SpanBert
from spanbert_jax.weights.model_config import export_config

SEED = jnp.asarray([7, 9], jnp.uint32)


@pytest.fixture
def modern() -> ModelConfig:
    return ModelConfig(
        vocab_size=50, hidden_size=16, num_layers=4, num_heads=2, mlp_size=24, max_positions=64,
        encoder="modern", num_segments=0, local_attention=4, boundary_offset_size=6,
    )  # fmt: skip


def arrays(*, rows: int, length: int, heads: int, size: int) -> tuple[Any, ...]:
    """Query, key, value, the gradient of the context; documents with padding."""
    rng = np.random.default_rng(0)
    shape = (rows, length, heads * size)
    given = [jnp.asarray(rng.normal(size=shape), jnp.float32) for _ in range(4)]
    ids = jnp.asarray(np.sort(rng.integers(0, 3, (rows, length)))[:, ::-1].astype(np.int32))
    return *given, Documents(ids, attention_mask(ids))


def values_and_gradients(attend: Any, *given: Any, rate: float = 0.0) -> list[jax.Array]:
    query, key, value, gradient, documents = given
    found, pull = jax.vjp(
        partial(attend, num_heads=2, documents=documents, seed=SEED, rate=rate), query, key, value
    )
    return [found, *pull(gradient)]


@pytest.mark.parametrize("length", [12, 13, 3, 4])
def test_local_attention_is_attention_in_a_band(length: int) -> None:
    given = arrays(rows=2, length=length, heads=2, size=6)
    tokens, documents = jnp.arange(length), given[-1]
    band = jnp.abs(tokens[:, None] - tokens) <= 3
    in_band = (*given[:-1], Documents(documents.ids, documents.mask & band))
    expected = values_and_gradients(plain_attention, *in_band)
    actual = values_and_gradients(partial(local_attention, reach=3), *given)
    for ours, plain in zip(actual, expected, strict=True):
        np.testing.assert_allclose(ours, plain, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("length", [16, 13])
def test_attention_of_some_queries_at_a_time_is_that_of_all(length: int) -> None:
    given = arrays(rows=2, length=length, heads=2, size=6)
    expected = values_and_gradients(plain_attention, *given)
    actual = values_and_gradients(partial(blockwise_attention, block=4), *given)
    for ours, plain in zip(actual, expected, strict=True):
        np.testing.assert_allclose(ours, plain, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "attend", [partial(local_attention, reach=3), partial(blockwise_attention, block=4)]
)
def test_probabilities_are_dropped_and_no_block_like_another(attend: Any) -> None:
    query, key, value, _, documents = arrays(rows=1, length=12, heads=2, size=6)
    same = jnp.tile(query[:, :4], (1, 3, 1)), jnp.ones_like(key), jnp.tile(value[:, :4], (1, 3, 1))
    alone = Documents(jnp.ones_like(documents.ids), jnp.ones_like(documents.mask))
    call = partial(attend, num_heads=2, documents=alone, seed=SEED)
    whole, dropped = call(*same, rate=0.0), call(*same, rate=0.5)
    ratio = np.asarray(dropped / whole)
    assert np.abs(ratio - 1.0).max() > 0.1
    assert not np.allclose(ratio[:, :4], ratio[:, 4:8])


def test_pairs_of_features_turn_by_their_positions(modern: ModelConfig) -> None:
    positions = jnp.asarray([[0, 1, 5]])
    turn = rotation(positions, 100.0, config=modern, dtype=jnp.float32)
    values = np.random.default_rng(0).normal(size=(1, 3, 16))
    actual = np.asarray(rotated(jnp.float32(values), turn, size=8)).reshape(3, 2, 2, 4)
    halves = values.reshape(3, 2, 2, 4)
    speeds = 100.0 ** (-np.arange(4) / 4)
    turned = (halves[:, :, 0] + 1j * halves[:, :, 1]) * np.exp(
        1j * np.array([0, 1, 5])[:, None, None] * speeds
    )
    np.testing.assert_allclose(actual[:, :, 0], turned.real, atol=1e-5)
    np.testing.assert_allclose(actual[:, :, 1], turned.imag, atol=1e-5)


def encoded(config: ModelConfig, params: Any = None, **arrays: Any) -> tuple[Any, Any]:
    """Parameters and hidden states."""
    encoder = make_encoder(config, ComputeConfig(dtype="float32"), jnp.float32)
    arrays = {"segment_ids": jnp.zeros_like(arrays["token_ids"])} | arrays
    call = partial(encoder.apply, deterministic=True)
    if params is None:
        params = encoder.init(jax.random.key(0), **arrays, deterministic=True)
    return params, np.asarray(call(params, **arrays)[0])


def a_row(length: int = 12, documents: Any = 1) -> dict[str, Any]:
    tokens = jnp.asarray(np.random.default_rng(1).integers(5, 50, (1, length)), jnp.int32)
    return {
        "token_ids": tokens,
        "document_ids": jnp.broadcast_to(jnp.asarray(documents, jnp.int32), tokens.shape),
        "position_ids": jnp.arange(length, dtype=jnp.int32)[None],
    }


def test_only_distances_count(modern: ModelConfig) -> None:
    row, config = a_row(), dataclasses.replace(modern, initializer_std=0.5)
    params, hidden = encoded(config, **row)
    _, moved = encoded(config, params, **row | {"position_ids": row["position_ids"] + 40})
    np.testing.assert_allclose(moved, hidden, atol=1e-4)
    _, reversed_ = encoded(config, params, **row | {"position_ids": row["position_ids"][:, ::-1]})
    assert np.abs(reversed_ - hidden).max() > 0.1


def test_documents_of_a_row_do_not_see_one_another(modern: ModelConfig) -> None:
    row = a_row(documents=[1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 0, 0])
    params, hidden = encoded(modern, **row)
    other = row["token_ids"].at[0, 6:].set(7)
    _, changed = encoded(modern, params, **row | {"token_ids": other})
    np.testing.assert_array_equal(changed[:, :5], hidden[:, :5])
    assert np.abs(changed[:, 5] - hidden[:, 5]).max() > 1e-4


def test_one_layer_in_three_sees_the_whole_row(modern: ModelConfig) -> None:
    """What a layer sees shows in what its output depends on."""
    row = a_row(length=20)
    other = row["token_ids"].at[0, 19].set(7)
    # The only global layer is the first: a change at the end reaches the first token through it.
    for num_layers, global_every in ((1, 3), (4, 3)):
        config = dataclasses.replace(modern, num_layers=num_layers, global_every=global_every)
        params, hidden = encoded(config, **row)
        _, changed = encoded(config, params, **row | {"token_ids": other})
        assert np.abs(changed[0, 0] - hidden[0, 0]).max() > 1e-6
    params, _ = encoded(modern, **row)
    # Without its attention, three layers of 2 tokens to either side reach 6 tokens, and no more.
    kernel = params["params"]["layer_0"]["attention"]["out_kernel"]
    params["params"]["layer_0"]["attention"]["out_kernel"] = jax.tree.map(jnp.zeros_like, kernel)
    no_fourth = params["params"]["layer_3"]["attention"]["out_kernel"]
    params["params"]["layer_3"]["attention"]["out_kernel"] = jax.tree.map(jnp.zeros_like, no_fourth)
    _, hidden = encoded(modern, params, **row)
    _, changed = encoded(modern, params, **row | {"token_ids": other})
    touched = np.abs(changed - hidden).max(axis=(0, 2)) > 0
    assert touched.tolist() == [False] * 15 + [True] * 5


def test_it_has_no_biases_no_positions_and_no_segments(modern: ModelConfig) -> None:
    params, _ = encoded(modern, **a_row())
    names = {
        jax.tree_util.keystr(path, simple=True, separator="/").removesuffix("/value")
        for path, _ in jax.tree_util.tree_leaves_with_path(params["params"])
    }
    of_layer = {
        "attention/qkv_kernel", "attention/out_kernel", "feed_forward/gate_kernel",
        "feed_forward/inner_kernel", "feed_forward/outer_kernel", "feed_forward_norm/scale",
    }  # fmt: skip
    expected = {f"layer_{i}/{name}" for i in range(4) for name in of_layer}
    expected |= {f"layer_{i}/attention_norm/scale" for i in range(1, 4)}
    expected |= {"embeddings/token_embedding", "embeddings/layer_norm/scale", "final_norm/scale"}
    assert names == expected


def test_remat_computes_the_same_gradients(modern: ModelConfig, batch: PretrainBatch) -> None:
    batch = jax.tree.map(jnp.asarray, batch)

    def gradient(remat: str) -> Any:
        model = SpanBert(modern, ComputeConfig(dtype="float32", remat=remat))  # type: ignore[arg-type]
        inputs = {
            name: getattr(batch, name)
            for name in PretrainBatch._fields
            if name not in ("masked_ids", "masked_weights", "boundary_weights", "token_ids",
                            "next_sentence_label")
        }  # fmt: skip
        params = model.init(jax.random.key(0), batch.token_ids, **inputs)["params"]

        def loss(params: Any) -> jax.Array:
            logits = model.apply(
                {"params": params}, batch.token_ids, **inputs, deterministic=False,
                rngs={"dropout": jax.random.key(1)},
            )  # fmt: skip
            return jnp.square(logits.vocabulary).mean()

        return jax.jit(jax.grad(loss))(params)

    whole = gradient("none")
    for remat in ("dots", "full"):
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-7),
            gradient(remat), whole,
        )  # fmt: skip


def test_rows_of_8192_tokens_are_read(modern: ModelConfig) -> None:
    config = dataclasses.replace(modern, max_positions=8_192, local_attention=128)
    row = a_row(length=8_192)
    params, hidden = encoded(config, **row)
    assert hidden.shape == (1, 8_192, 16) and np.isfinite(hidden).all()
    other = row["token_ids"].at[0, 8_191].set(7)
    _, changed = encoded(config, params, **row | {"token_ids": other})
    assert np.abs(changed[0, 0] - hidden[0, 0]).max() > 0.0


def test_flops_count_what_each_layer_sees(modern: ModelConfig) -> None:
    assert pairs_per_token(ModelConfig(), 512) == 6_144
    # Layers 0 and 3 see all; 1 and 2 two tokens to either side and the token itself.
    assert pairs_per_token(modern, 64) == 2 * 64 + 2 * 5
    sizes = {"batch_size": 3, "sequence_length": 64, "num_predictions": 10}
    weights = 4 * (4 * 16 * 16 + 3 * 16 * 24)
    heads = 16 * 16 + 16 * 50 + (2 * 16 + 6) * 16 + 16 * 16 + 16 * 50
    tokens = 3 * 64 * (weights + 2 * 16 * (2 * 64 + 2 * 5))
    assert train_step_flops(modern, **sizes) == 6 * (tokens + 3 * 10 * heads)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"encoder": "t5"}, "--model.encoder t5: must be one of bert, modern; use bert"),
        ({"encoder": "modern"}, "--model.num-segments 2: has no place in --model.encoder modern"),
        ({"global_every": 2}, "--model.global-every 2: has no effect on --model.encoder bert; lea"),
        (
            {"encoder": "modern", "num_segments": 0, "local_attention": 3},
            "--model.local-attention 3: must be even",
        ),
        (
            {"encoder": "modern", "num_segments": 0, "hidden_size": 36, "num_heads": 12},
            "--model.num-heads 12: leaves 3 features a head, which rotary positions take in pairs",
        ),
    ],
)
def test_fields_that_make_no_sense_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ModelConfig(**fields)


def test_its_layers_are_not_looped_over_and_not_exported(modern: ModelConfig) -> None:
    with pytest.raises(ConfigError, match="--compute.scan-layers True: wants layers that are all"):
        PretrainConfig(
            model=dataclasses.replace(modern, max_positions=512),
            compute=ComputeConfig(scan_layers=True),
        )
    with pytest.raises(UserError, match="--model.encoder modern: Transformers must have the model"):
        export_config(modern, pad_id=0, cls_id=1, sep_id=2)
