"""Attention in a kernel, as Pallas interprets it: the numbers of the plain formulation."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from spanbert_jax.config import ComputeConfig, MeshConfig, ModelConfig
from spanbert_jax.errors import ConfigError
from spanbert_jax.model.attention import attention_for, cudnn_attention, kernel_attention
from spanbert_jax.model.attention_kernel import Shape, fits
from spanbert_jax.model.layers import Documents, attention_mask, plain_attention
from spanbert_jax.training.mesh import LOGICAL_AXIS_RULES, make_mesh

SEED = np.array([12_345, 4_000_000_000], np.uint32)


def arrays(*, rows: int, length: int, heads: int, size: int, dtype: str = "float32") -> tuple:
    """The number of heads, query, key, value, the gradient of the context, padded documents."""
    rng = np.random.default_rng(0)
    shape = (rows, length, heads * size)
    query, key, value, gradient = (jnp.asarray(rng.normal(size=shape), dtype) for _ in range(4))
    ids = np.sort(rng.integers(0, 4, (rows, length)))[:, ::-1].astype(np.int32)
    ids = jnp.asarray(ids)
    documents = Documents(ids, attention_mask(ids))
    return heads, query * size**-0.5, key, value, gradient, documents


def computed(
    attend, num_heads, query, key, value, gradient, documents, *, rate: float
) -> list[jax.Array]:
    """The context, and the gradients of query, key and value."""

    def context(*heads: jax.Array) -> jax.Array:
        return attend(
            *heads, num_heads=num_heads, documents=documents, seed=jnp.asarray(SEED), rate=rate
        )

    @jax.jit
    def both(query, key, value, gradient):
        found, pull = jax.vjp(context, query, key, value)
        return [found, *pull(gradient)]

    return both(query, key, value, gradient)


@pytest.mark.parametrize("rate", [0.0, 0.1])
@pytest.mark.parametrize(
    "rows, length, heads, size",
    # Several short rows at a time; two heads in the lanes of a vector, four, one.
    [(6, 128, 4, 64), (2, 256, 4, 32), (1, 384, 2, 128), (1, 512, 2, 64)],
)
def test_values_and_gradients_are_those_of_the_plain_formulation(rows, length, heads, size, rate):
    given = arrays(rows=rows, length=length, heads=heads, size=size)
    plain = computed(plain_attention, *given, rate=rate)
    fused = computed(kernel_attention, *given, rate=rate)
    for ours, theirs in zip(fused, plain, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
    # A mask that were not the same would show in every hundredth number.
    assert np.abs(plain[0]).mean() > 0.1


def test_what_is_asked_of_the_library_is_the_plain_formulation():
    """Of cuDNN itself only a GPU can tell; what it is called with is the same."""
    given = arrays(rows=3, length=64, heads=4, size=16)
    plain = computed(plain_attention, *given, rate=0.0)
    asked = computed(partial(cudnn_attention, implementation="xla"), *given, rate=0.0)
    for ours, theirs in zip(asked, plain, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "compute, model, length, message",
    [
        ({"dtype": "float32"}, {}, 512, "computes in 16 bits, found float32"),
        ({}, {"attention_dropout_rate": 0.1}, 512, "drops no probabilities, found a rate of 0.1"),
        ({}, {}, 511, "computes an even number of tokens, .* found 511 tokens and heads of 64"),
        ({}, {"num_heads": 4}, 512, ".* of up to 128 features .* and heads of 192"),
    ],
)
def test_cudnn_is_refused_in_words_of_the_config(monkeypatch, compute, model, length, message):
    monkeypatch.setattr("spanbert_jax.model.attention.platform", lambda: "gpu")
    fast = dataclasses.replace(ModelConfig(), attention_dropout_rate=0.0)
    asked = ComputeConfig(attention="cudnn")
    assert attention_for(asked, fast, length=512) is cudnn_attention
    with pytest.raises(ConfigError, match=f"--compute.attention cudnn: {message}"):
        attention_for(
            dataclasses.replace(asked, **compute), dataclasses.replace(fast, **model), length=length
        )


def test_cudnn_is_refused_where_there_is_no_gpu():
    with pytest.raises(ConfigError, match="runs on NVIDIA's GPUs, found cpu"):
        attention_for(ComputeConfig(attention="cudnn"), ModelConfig(), length=512)


def test_dropout_drops():
    given = arrays(rows=2, length=128, heads=2, size=64)
    whole, dropped = (computed(kernel_attention, *given, rate=rate)[0] for rate in (0.0, 0.1))
    assert np.abs(np.asarray(whole - dropped)).mean() > 0.01


def test_bfloat16_is_the_plain_formulation_but_for_rounding():
    given = arrays(rows=2, length=128, heads=2, size=64, dtype="bfloat16")
    plain = computed(plain_attention, *given, rate=0.1)
    fused = computed(kernel_attention, *given, rate=0.1)
    for ours, theirs in zip(fused, plain, strict=True):
        assert ours.dtype == theirs.dtype == jnp.bfloat16
        ours, theirs = np.asarray(ours, np.float32), np.asarray(theirs, np.float32)
        # Half a per cent of the usual number: bfloat16 keeps eight bits of each.
        assert np.abs(ours - theirs).mean() < 0.005 * np.abs(theirs).mean()


@pytest.mark.parametrize("mesh", [MeshConfig(), MeshConfig(data=2, fsdp=2, tensor=2)])
def test_every_chip_computes_its_rows_and_heads_with_the_masks_of_the_whole(mesh):
    given = arrays(rows=8, length=128, heads=4, size=64)
    alone = computed(kernel_attention, *given, rate=0.1)
    with jax.set_mesh(make_mesh(mesh)), nn_rules():
        shared = computed(kernel_attention, *given, rate=0.1)
    for ours, theirs in zip(shared, alone, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)


def nn_rules() -> object:
    import flax.linen as nn

    return nn.logical_axis_rules(LOGICAL_AXIS_RULES)


def test_the_kernel_is_chosen_where_it_can_compute_the_rows():
    base = ModelConfig()
    for attention, length, chosen in (
        ("kernel", 512, kernel_attention), ("plain", 512, plain_attention),
        # There is no TPU here.
        ("auto", 512, plain_attention), ("auto", 100, plain_attention),
    ):  # fmt: skip
        compute = ComputeConfig(attention=attention)
        assert attention_for(compute, base, length=length) is chosen
    three_heads = dataclasses.replace(base, num_heads=3, hidden_size=192)
    for model, length in ((base, 100), (base, 2_048), (three_heads, 512)):
        assert not fits(length=length, num_heads=model.num_heads, head_size=model.head_size)
        with pytest.raises(ConfigError, match=f"--compute.attention kernel: .* found {length} "):
            attention_for(ComputeConfig(attention="kernel"), model, length=length)


def test_short_rows_are_computed_several_at_a_time():
    assert Shape(128, 12, 64, 0.1).rows_at_once(64) == 8
    assert Shape(384, 12, 64, 0.1).rows_at_once(64) == 2
    assert Shape(128, 12, 64, 0.1).rows_at_once(6) == 2
    assert Shape(512, 12, 64, 0.1).rows_at_once(64) == 1
    twice = (Shape(length, 12, 64, 0.1, 2048).rows_at_once(64) for length in (128, 384, 512, 640))
    assert list(twice) == [16, 4, 2, 1]
