"""The model as a function: what may influence what, and ways of computing it that are equal."""

import dataclasses
import math
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from spanbert_jax.config import ComputeConfig, ModelConfig
from spanbert_jax.data.batch import PretrainBatch, empty_batch
from spanbert_jax.model.flops import forward_flops
from spanbert_jax.model.heads import (
    HeadOutput,
    SpanBoundaryHead,
    gather_positions,
    tied_logits,
)
from spanbert_jax.model.layer_stack import stack_layers, unstack_layers
from spanbert_jax.model.layers import attention_mask
from spanbert_jax.model.losses import cross_entropy, target_losses
from spanbert_jax.model.pretraining import PretrainLogits, SpanBert

FLOAT32 = ComputeConfig(dtype="float32")
TARGETS = ("masked_ids", "masked_weights", "boundary_weights", "next_sentence_label")


def inputs(batch: PretrainBatch) -> dict[str, Any]:
    fields = batch._asdict()
    return {name: jnp.asarray(fields[name]) for name in fields if name not in TARGETS}


def init(config: ModelConfig, batch: PretrainBatch) -> Any:
    model = SpanBert(config, FLOAT32)
    params = nn.unbox(jax.jit(model.init)(jax.random.key(0), **inputs(batch))["params"])
    # Larger than the initialisation, so that differences show.
    return jax.tree.map(lambda leaf: leaf * 8 if leaf.ndim > 1 else leaf + 0.1, params)


def apply(
    config: ModelConfig, params: Any, batch: PretrainBatch, compute: ComputeConfig = FLOAT32
) -> PretrainLogits:
    logits = jax.jit(SpanBert(config, compute).apply)({"params": params}, **inputs(batch))
    assert isinstance(logits, PretrainLogits)
    return logits


def vocabulary_logits(logits: PretrainLogits) -> tuple[jax.Array, jax.Array]:
    assert logits.span_boundary is not None
    return logits.mlm, logits.span_boundary


def test_attention_mask_of_the_docstring() -> None:
    mask = attention_mask(jnp.array([[1, 1, 2, 0]]))
    expected = [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    np.testing.assert_array_equal(mask, np.array([[expected]], bool))


def test_gather_positions_of_the_docstring() -> None:
    hidden = jnp.array([[[0.0], [10.0], [20.0]]])
    np.testing.assert_array_equal(gather_positions(hidden, jnp.array([[2, 0]])), [[[20.0], [0.0]]])


def test_cross_entropy_of_the_docstring() -> None:
    logits = jnp.array([[[0.0, 0.0], [1.0, 2.0]]])
    targets = jnp.array([[1, 0]])
    sums = cross_entropy(logits, target_ids=targets, weights=jnp.array([[1, 0]]))
    np.testing.assert_allclose(sums, [math.log(2), 1.0, 1.0], rtol=1e-6)
    both = cross_entropy(logits, target_ids=targets, weights=jnp.array([[1, 1]]))
    miss = math.log(1 + math.e)
    np.testing.assert_allclose(both, [math.log(2) + miss, 1.0, 2.0], rtol=1e-6)


def test_documents_of_a_row_and_padding_do_not_see_each_other(
    config: ModelConfig, batch: PretrainBatch
) -> None:
    params = init(config, batch)
    changed = batch.token_ids.copy()
    changed[0, 7:] = 9  # the second document of row 0
    changed[1, 12:] = 9  # the padding of row 1
    before = apply(config, params, batch)
    after = apply(config, params, batch._replace(token_ids=changed))
    in_first_document = (batch.masked_positions[0] + 1) < 7
    assert in_first_document.any()
    for old, new in zip(vocabulary_logits(before), vocabulary_logits(after), strict=True):
        np.testing.assert_array_equal(old[0][in_first_document], new[0][in_first_document])
        np.testing.assert_array_equal(old[1], new[1])
    np.testing.assert_array_equal(before.mlm[2:], after.mlm[2:])
    assert np.abs(before.mlm[0] - after.mlm[0]).max() > 1e-3


COMPUTED_OTHERWISE = [
    ComputeConfig(dtype="float32", scan_layers=True),
    ComputeConfig(dtype="float32", scan_layers=True, remat="full"),
    ComputeConfig(dtype="float32", remat="dots"),
]


def test_unrolled_scanned_and_recomputed_layers_are_equal(
    config: ModelConfig, batch: PretrainBatch
) -> None:
    params = init(config, batch)

    def loss(params: Any, compute: ComputeConfig) -> jax.Array:
        logits = SpanBert(config, compute).apply(
            {"params": params}, **inputs(batch), deterministic=False,
            rngs={"dropout": jax.random.key(7)},
        )  # fmt: skip
        return sum(jnp.sum(jnp.sin(part)) for part in vocabulary_logits(logits))

    value_and_gradient = jax.jit(jax.value_and_grad(loss), static_argnums=1)
    value, gradient = value_and_gradient(params, FLOAT32)
    for compute in COMPUTED_OTHERWISE:
        in_layout = stack_layers(params) if compute.scan_layers else params
        same_value, same_gradient = value_and_gradient(in_layout, compute)
        same_gradient = unstack_layers(same_gradient)
        np.testing.assert_allclose(value, same_value, rtol=1e-5)
        # Float32 sums in another order; gradients here are of order 10.
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-3),
            gradient, same_gradient,
        )  # fmt: skip


def test_recomputing_more_keeps_less_memory(config: ModelConfig, batch: PretrainBatch) -> None:
    params = stack_layers(init(config, batch))

    def temporary_bytes(remat: Any) -> int:
        model = SpanBert(config, ComputeConfig(dtype="float32", scan_layers=True, remat=remat))

        def loss(params: Any) -> jax.Array:
            return jnp.sum(model.apply({"params": params}, **inputs(batch)).mlm)

        compiled = jax.jit(jax.grad(loss)).lower(params).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    nothing, all_but_products, layers = map(temporary_bytes, ("none", "dots", "full"))
    assert layers < all_but_products < nothing


def test_gradients_of_the_losses_are_those_of_the_plain_formula() -> None:
    rng = np.random.default_rng(0)
    # Large ones, whose exponentials do not fit into float32.
    logits = jnp.asarray(rng.normal(scale=100.0, size=(3, 2, 5, 50)), jnp.float32)
    targets = jnp.asarray(rng.integers(0, 50, (3, 2, 5)), jnp.int32)
    weights = jnp.asarray(rng.integers(0, 2, (3, 2, 5)), jnp.int32)

    def plain(logits: jax.Array) -> jax.Array:
        nats = -jnp.take_along_axis(jax.nn.log_softmax(logits), targets[..., None], axis=-1)
        return jnp.sum(nats[..., 0] * weights)

    def ours(logits: jax.Array) -> jax.Array:
        return target_losses(logits, targets).sums(weights).loss

    np.testing.assert_allclose(ours(logits), plain(logits), rtol=1e-6)
    # Of numbers near 100, float32 knows 1e-5.
    np.testing.assert_allclose(jax.grad(ours)(logits), jax.grad(plain)(logits), atol=2e-5)


def test_bfloat16_gradients_are_those_of_float32_but_for_rounding(
    config: ModelConfig, batch: PretrainBatch
) -> None:
    # Weights of the size they have in training: sharper ones multiply every rounding error.
    params = jax.tree.map(lambda leaf: leaf / 4 if leaf.ndim > 1 else leaf, init(config, batch))
    targets = jnp.asarray(batch.masked_ids)

    def gradient(compute: ComputeConfig) -> Any:
        def loss(params: Any) -> jax.Array:
            logits = apply(config, params, batch, compute)
            return sum(
                cross_entropy(part, target_ids=targets, weights=jnp.ones_like(targets)).loss
                for part in vocabulary_logits(logits)
            )

        return jax.grad(loss)(params)

    exact, rounded = gradient(FLOAT32), gradient(ComputeConfig(dtype="bfloat16"))
    for a, b in zip(jax.tree.leaves(exact), jax.tree.leaves(rounded), strict=True):
        assert b.dtype == jnp.float32
        # bfloat16 keeps 8 bits: a few rounding errors of 0.4% in a row, relative to the largest.
        assert np.linalg.norm(a - b) <= 0.06 * np.linalg.norm(a) + 1e-3


def test_bfloat16_computes_what_float32_does_but_for_rounding(
    config: ModelConfig, batch: PretrainBatch
) -> None:
    params = nn.unbox(SpanBert(config, FLOAT32).init(jax.random.key(0), **inputs(batch))["params"])
    exact = apply(config, params, batch)
    rounded = apply(config, params, batch, ComputeConfig(dtype="bfloat16"))
    assert rounded.mlm.dtype == exact.mlm.dtype == jnp.float32
    for a, b in zip(vocabulary_logits(exact), vocabulary_logits(rounded), strict=True):
        np.testing.assert_allclose(a, b, atol=0.02 * np.abs(a).max())
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}


def test_span_boundary_head_is_two_blocks_over_left_right_and_offset(config: ModelConfig) -> None:
    """y_i = f(x_{s-1}, x_{e+1}, p_{i-s+1}) (sec. 3.2), written once more in numpy."""
    rng = np.random.default_rng(0)
    left, right = rng.normal(size=(2, 2, 3, 16)).astype(np.float32)
    offset, table = np.array([[0, 1, 3], [2, 2, 0]]), rng.normal(size=(50, 16)).astype(np.float32)
    head = SpanBoundaryHead(config, jnp.float32)
    arguments = {"right": jnp.array(right), "offset": jnp.array(offset)}
    params = nn.unbox(head.init(jax.random.key(0), jnp.array(left), **arguments)["params"])
    params = jax.tree.map(lambda leaf: np.asarray(leaf) * 3 + 0.1, params)

    def block(x: np.ndarray, p: Any) -> np.ndarray:
        x = x @ p["dense"]["kernel"] + p["dense"]["bias"]
        x = x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-12)
        return x * p["layer_norm"]["scale"] + p["layer_norm"]["bias"]

    x = np.concatenate([left, right, params["offset_embedding"][offset]], -1)
    x = block(block(x, params["transform_0"]), params["transform_1"])
    expected = x @ table.T + params["bias"]
    output = jax.jit(head.apply)({"params": params}, jnp.array(left), **arguments)
    actual = tied_logits([output], table=jnp.array(table))[:, 0]
    np.testing.assert_allclose(actual, expected, rtol=2e-4, atol=2e-4)


def test_gradients_of_the_logits_are_those_of_a_product_and_a_sum() -> None:
    rng = np.random.default_rng(0)
    slots = [jnp.asarray(rng.normal(size=(2, 5, 8)), jnp.float32) for _ in range(2)]
    biases = [jnp.asarray(rng.normal(size=11), jnp.float32) for _ in range(2)]
    table = jnp.asarray(rng.normal(size=(11, 8)), jnp.float32)
    pull = jnp.asarray(rng.normal(size=(2, 2, 5, 11)), jnp.float32)

    def ours(slots: Any, biases: Any, table: Any) -> jax.Array:
        return jnp.sum(pull * tied_logits(list(map(HeadOutput, slots, biases)), table=table))

    def plain(slots: Any, biases: Any, table: Any) -> jax.Array:
        logits = [each @ table.T + bias for each, bias in zip(slots, biases, strict=True)]
        return jnp.sum(pull * jnp.stack(logits, axis=1))

    found, expected = (jax.grad(f, argnums=(0, 1, 2))(slots, biases, table) for f in (ours, plain))
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def test_output_embedding_is_the_token_embedding(config: ModelConfig, batch: PretrainBatch) -> None:
    params = init(config, batch)
    table = params["encoder"]["embeddings"]["token_embedding"]
    unused = 3  # no token of the batch: it acts through the output alone
    assert not (batch.token_ids == unused).any()
    params["encoder"]["embeddings"]["token_embedding"] = table.at[unused].add(1.0)
    changed, plain = apply(config, params, batch), apply(config, init(config, batch), batch)
    for new, old in zip(vocabulary_logits(changed), vocabulary_logits(plain), strict=True):
        assert np.abs(new[..., unused] - old[..., unused]).max() > 1e-3
        np.testing.assert_array_equal(
            np.delete(new, unused, axis=-1), np.delete(old, unused, axis=-1)
        )


def test_a_model_without_span_boundary_head_has_neither_its_parameters_nor_its_logits(
    config: ModelConfig, batch: PretrainBatch
) -> None:
    bert = dataclasses.replace(config, span_boundary_head=False)
    params = init(bert, batch)
    assert set(params) == {"encoder", "mlm_head"}
    assert apply(bert, params, batch).span_boundary is None


def test_next_sentence_head_is_two_logits_of_the_pooled_first_state(
    config: ModelConfig, batch: PretrainBatch
) -> None:
    bert = dataclasses.replace(config, pooler=True, next_sentence_head=True)
    params = init(bert, batch)
    pooler, head = params["pooler"], params["next_sentence_head"]
    logits, state = jax.jit(partial(SpanBert(bert, FLOAT32).apply, mutable=["intermediates"]))(
        {"params": params}, **inputs(batch)
    )
    hidden = state["intermediates"]["encoder"]["hidden_states"]
    assert len(hidden) == 1 + config.num_layers
    pooled = np.tanh(hidden[-1][:, 0] @ pooler["kernel"] + pooler["bias"])
    expected = pooled @ head["kernel"] + head["bias"]
    np.testing.assert_allclose(logits.next_sentence, expected, rtol=1e-4, atol=1e-5)
    assert apply(dataclasses.replace(config, pooler=True), params, batch).next_sentence is None


def test_positions_begin_at_their_offset_and_without_segments_segment_ids_do_nothing(
    config: ModelConfig, batch: PretrainBatch
) -> None:
    roberta = dataclasses.replace(config, position_offset=2, num_segments=0)
    params = init(roberta, batch)
    embeddings = params["encoder"]["embeddings"]
    assert "segment_embedding" not in embeddings
    assert embeddings["position_embedding"].shape == (config.max_positions + 2, 16)
    expected = apply(roberta, params, batch)
    no_segments = batch._replace(segment_ids=np.zeros_like(batch.segment_ids))
    np.testing.assert_array_equal(apply(roberta, params, no_segments).mlm, expected.mlm)
    bert = dataclasses.replace(config, max_positions=config.max_positions + 2, num_segments=0)
    shifted = batch._replace(position_ids=batch.position_ids + 2)
    np.testing.assert_array_equal(apply(bert, params, shifted).mlm, expected.mlm)


BASE = ModelConfig(vocab_size=28_996)
LARGE = ModelConfig(
    vocab_size=28_996, hidden_size=1_024, num_layers=24, num_heads=16, mlp_size=4_096
)


@pytest.mark.parametrize(
    ("config", "encoder", "mlm_head", "span_boundary_head"),
    [
        # BERT base cased without its pooler: 108,310,272 - 590,592.
        (BASE, 107_719_680, 768 * 768 + 3 * 768 + 28_996, 1_736 * 768 + 768 * 768 + 6 * 768
         + 15 * 200 + 28_996),
        # BERT large cased without its pooler: 333,579,264 - 1,049,600.
        (LARGE, 332_529_664, 1_024 * 1_024 + 3 * 1_024 + 28_996, 2_248 * 1_024 + 1_024 * 1_024
         + 6 * 1_024 + 15 * 200 + 28_996),
    ],
    ids=["base", "large"],
)  # fmt: skip
def test_published_sizes_have_the_published_number_of_parameters(
    config: ModelConfig, encoder: int, mlm_head: int, span_boundary_head: int
) -> None:
    batch = empty_batch(2, 512, 77)
    model = SpanBert(config, ComputeConfig(dtype="bfloat16"))
    boxed = jax.eval_shape(lambda: model.init(jax.random.key(0), **inputs(batch)))["params"]
    sizes = {
        name: sum(leaf.size for leaf in jax.tree.leaves(nn.unbox(part)))
        for name, part in boxed.items()
    }
    assert sizes == {
        "encoder": encoder, "mlm_head": mlm_head, "span_boundary_head": span_boundary_head,
    }  # fmt: skip
    # Every parameter says which logical axes it has.
    leaves = jax.tree.leaves(boxed, is_leaf=lambda leaf: isinstance(leaf, nn.Partitioned))
    assert all(isinstance(leaf, nn.Partitioned) for leaf in leaves)
    assert all(len(leaf.names) == leaf.value.ndim for leaf in leaves)


def test_flops_are_those_that_the_compiler_counts_in_matrix_products() -> None:
    # Wide enough that elementwise work, which is not counted, is small beside the products.
    config = ModelConfig(
        vocab_size=1_000, hidden_size=256, num_layers=2, num_heads=2, mlp_size=1_024,
        max_positions=64, dropout_rate=0.0, attention_dropout_rate=0.0,
    )  # fmt: skip
    batch = empty_batch(4, 64, 10)
    model = SpanBert(config, FLOAT32)
    params = nn.unbox(model.init(jax.random.key(0), **inputs(batch)))
    compiled = jax.jit(lambda p: model.apply(p, **inputs(batch))).lower(params).compile()
    counted = compiled.cost_analysis()["flops"]
    formula = forward_flops(config, batch_size=4, sequence_length=64, num_predictions=10)
    assert formula <= counted < 1.1 * formula
