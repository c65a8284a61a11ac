"""The parts of a post-LayerNorm BERT encoder. In: arrays. Out: arrays of the same leading axes.

Axis letters: B batch, L length (queries), K length (keys), D embed, N heads, H head dim, F mlp.
Parameters are float32; `dtype` is that of matrix products; softmax and LayerNorm run in float32.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, UInt32

from spanbert_jax.config import ModelConfig
from spanbert_jax.model.dropout import Seed, dropout, mix
from spanbert_jax.model.linear import (
    Linear,
    as_matrix,
    einsum_float32,
    matmul,
    product,
    rows_of_small_table,
)

Hidden = Float[Array, "batch length embed"]
Projected = Float[Array, "batch length features"]
"""Of all heads side by side: with heads as an axis of their own, which fills half of a vector of
lanes, TPUs would keep queries, keys and values transposed, and turn them for whoever wants rows."""
Attend = Callable[..., Projected]
"""A way to compute attention, as `plain_attention`."""

HIDDEN_AXES = ("batch", "length", "embed")
PROJECTED_AXES = ("batch", "length", "heads")
HEAD_AXES = (*PROJECTED_AXES, "head_dim")


def matrix_init(config: ModelConfig, *axes: str | None) -> Any:
    """Normal initialisation with the model's standard deviation, annotated with logical axes."""
    return nn.with_logical_partitioning(nn.initializers.normal(config.initializer_std), axes)


def bias_init(*axes: str | None) -> Any:
    """Zeros, annotated with logical axes."""
    return nn.with_logical_partitioning(nn.initializers.zeros_init(), axes)


def layer_norm(config: ModelConfig, name: str, *, use_bias: bool = True) -> nn.LayerNorm:
    """LayerNorm in float32."""
    return nn.LayerNorm(
        epsilon=config.layer_norm_epsilon,
        dtype=jnp.float32,
        use_bias=use_bias,
        # E[x^2] - E[x]^2 cancels where the mean is large, and epsilon 1e-12 would not hide it.
        use_fast_variance=False,
        scale_init=nn.with_logical_partitioning(nn.initializers.ones_init(), ("embed",)),
        bias_init=bias_init("embed"),
        name=name,
    )


@jax.custom_vjp
def gelu(values: Float[Array, "..."]) -> Float[Array, "..."]:
    """GELU by the error function, as BERT; not the tanh approximation.

    jax.nn.gelu goes through erfc, which is exact far below zero, where the value has vanished, and
    costs twice as much. The derivative is computed with the value and kept in place of the input:
    the backward pass only multiplies by it.
    """
    return values * _normal_cdf(values)


def _gelu_forward(values: jax.Array) -> tuple[jax.Array, jax.Array]:
    below = _normal_cdf(values)
    density = jnp.exp(-0.5 * values * values) * (1.0 / math.sqrt(2.0 * math.pi))
    # Else XLA computes both again wherever they are used, which for TPUs is in matrix products.
    return jax.lax.optimization_barrier((values * below, below + values * density))


def _normal_cdf(values: jax.Array) -> jax.Array:
    """Of the standard normal distribution."""
    return 0.5 * (1.0 + jax.lax.erf(values * math.sqrt(0.5)))


gelu.defvjp(_gelu_forward, lambda derivative, gradient: (gradient * derivative,))


def attention_mask(
    document_ids: Int[Array, "batch length"],
) -> Bool[Array, "batch 1 length length"]:
    """True where query and key lie in the same document; padding (0) sees padding alone.

    document_ids = [[1, 1, 2, 0]] -> [[[[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]]]
    """
    return (document_ids[:, :, None] == document_ids[:, None, :])[:, None]


class Embeddings(nn.Module):
    """Sum of token, position and (where there are segments) segment embeddings, normalised."""

    config: ModelConfig
    dtype: Any

    @nn.compact
    def __call__(
        self,
        token_ids: Int[Array, "batch length"],
        *,
        position_ids: Int[Array, "batch length"],
        segment_ids: Int[Array, "batch length"],
        seed: Seed | None,
    ) -> tuple[Hidden, Float[Array, "vocab embed"]]:
        """Return hidden states and the token table, which the heads use again (tied)."""
        config, size = self.config, self.config.hidden_size
        assert config.vocab_size is not None, "resolved from the tokenizer before building"
        tokens = self.param(
            "token_embedding", matrix_init(config, "vocab", "embed"), (config.vocab_size, size)
        )
        num_rows = config.max_positions + config.position_offset
        positions = self.param(
            "position_embedding", matrix_init(config, None, "embed"), (num_rows, size)
        )
        # Rows gathered from a table split along `embed` would be split like it, batch and all.
        hidden = jnp.take(nn.with_logical_constraint(tokens, ("vocab", None)), token_ids, axis=0)
        positions = nn.with_logical_constraint(positions, (None, None))
        hidden += jnp.take(positions, position_ids + config.position_offset, axis=0)
        if config.num_segments:
            segments = self.param(
                "segment_embedding", matrix_init(config, None, "embed"), (config.num_segments, size)
            )
            segments = nn.with_logical_constraint(segments, (None, None))
            hidden += rows_of_small_table(segments, segment_ids)
        hidden = layer_norm(config, "layer_norm")(hidden).astype(self.dtype)
        hidden = nn.with_logical_constraint(hidden, HIDDEN_AXES)
        return dropout(hidden, seed=seed, rate=config.dropout_rate), tokens


class Documents(NamedTuple):
    """Which tokens of a row attend to one another, as each way to compute attention wants it."""

    ids: Int[Array, "batch length"]
    mask: Bool[Array, "batch 1 length length"]


def plain_attention(
    query: Projected,
    key: Projected,
    value: Projected,
    *,
    num_heads: int,
    documents: Documents,
    seed: Seed | None,
    rate: float,
) -> Projected:
    """softmax(query key^T) value within documents, with dropout between; the query is scaled."""
    return _attention(query, key, value, documents.mask, num_heads=num_heads, seed=seed, rate=rate)


def blockwise_attention(
    query: Projected,
    key: Projected,
    value: Projected,
    *,
    num_heads: int,
    documents: Documents,
    seed: Seed | None,
    rate: float,
    block: int = 512,
) -> Projected:
    """As `plain_attention`, for some queries at a time: of long rows, scores of all pairs of tokens
    would not fit. They are computed again in the backward pass. Dropout draws other masks.
    """
    num_rows, length, features = query.shape

    @jax.checkpoint
    def of_block(part: tuple[Array, Array, Array]) -> Projected:
        queries, ids, number = part
        mask = (ids[:, :, None] == documents.ids[:, None, :])[:, None]
        own = None if seed is None else seed ^ mix(number + 1)
        return _attention(queries, key, value, mask, num_heads=num_heads, seed=own, rate=rate)

    queries, ids = (in_blocks(each, block).swapaxes(0, 1) for each in (query, documents.ids))
    numbers = jnp.arange(len(queries), dtype=jnp.uint32)
    context = jax.lax.map(of_block, (queries, ids, numbers))
    return context.swapaxes(0, 1).reshape(num_rows, -1, features)[:, :length]


def in_blocks(values: Array, size: int, *, fill: int = 0) -> Array:
    """Tokens in blocks of `size`, the last one filled up: (B, L, ...) -> (B, blocks, size, ...)."""
    missing = -values.shape[1] % size
    padding = ((0, 0), (0, missing), *((0, 0),) * (values.ndim - 2))
    padded = jnp.pad(values, padding, constant_values=fill)
    return padded.reshape(len(values), -1, size, *values.shape[2:])


def _attention(
    query: Float[Array, "batch queries features"],
    key: Projected,
    value: Projected,
    mask: Bool[Array, "batch 1 queries length"],
    *,
    num_heads: int,
    seed: Seed | None,
    rate: float,
) -> Float[Array, "batch queries features"]:
    shape = query.shape
    query, key, value = (
        nn.with_logical_constraint(each.reshape(*each.shape[:2], num_heads, -1), HEAD_AXES)
        for each in (query, key, value)
    )
    scores = einsum_float32("BLNH,BKNH->BNLK", query, key)
    scores = jnp.where(mask, scores, jnp.finfo(jnp.float32).min)
    # float32: bf16 sums lose the tail of a 512-way softmax
    probabilities = jax.nn.softmax(scores).astype(query.dtype)
    probabilities = dropout(probabilities, seed=seed, rate=rate, by_halves=True)
    context = product("BNLK,BKNH->BLNH", probabilities, value)
    return nn.with_logical_constraint(context, HEAD_AXES).reshape(shape)


class SelfAttention(nn.Module):
    """Multi-head attention within the documents of a row."""

    config: ModelConfig
    dtype: Any
    attend: Attend

    @nn.compact
    def __call__(self, hidden: Hidden, *, documents: Documents, seed: Seed | None) -> Hidden:
        config, dtype = self.config, self.dtype
        embed, heads, size = config.hidden_size, config.num_heads, config.head_size
        in_axes, out_axes = (None, "embed", "heads", "head_dim"), ("heads", "head_dim", "embed")
        kernels = self.param("qkv_kernel", matrix_init(config, *in_axes), (3, embed, heads, size))
        biases = self.param("qkv_bias", bias_init(None, *in_axes[2:]), (3, heads, size))

        def project(kernel: jax.Array, bias: jax.Array) -> Projected:
            shape, axes = (embed, heads * size), ("embed", "heads")
            projected = matmul(hidden, as_matrix(kernel.astype(dtype), shape, axes))
            return nn.with_logical_constraint(
                projected + bias.astype(dtype).reshape(heads * size), PROJECTED_AXES
            )

        query, key, value = map(project, kernels, biases)
        context = self.attend(
            query * size**-0.5, key, value, num_heads=heads, documents=documents, seed=seed,
            rate=config.attention_dropout_rate,
        )  # fmt: skip
        context = nn.with_logical_constraint(context, PROJECTED_AXES)
        out_kernel = self.param("out_kernel", matrix_init(config, *out_axes), (heads, size, embed))
        out_bias = self.param("out_bias", bias_init("embed"), (embed,))
        shape, axes = (heads * size, embed), ("heads", "embed")
        out = matmul(context, as_matrix(out_kernel.astype(dtype), shape, axes))
        return out + out_bias.astype(dtype)


class FeedForward(nn.Module):
    """Two matrix products with GELU between."""

    config: ModelConfig
    dtype: Any

    @nn.compact
    def __call__(self, hidden: Hidden) -> Hidden:
        config = self.config
        inner = Linear(
            config.mlp_size,
            dtype=self.dtype,
            kernel_init=matrix_init(config, "embed", "mlp"),
            bias_init=bias_init("mlp"),
            name="inner",
        )(hidden)
        inner = nn.with_logical_constraint(gelu(inner), ("batch", "length", "mlp"))
        return Linear(
            config.hidden_size,
            dtype=self.dtype,
            kernel_init=matrix_init(config, "mlp", "embed"),
            bias_init=bias_init("embed"),
            name="outer",
        )(inner)


class TransformerLayer(nn.Module):
    """Attention and feed-forward, each followed by dropout, residual and LayerNorm (post-LN).

    `seeds` are those of the three places where it drops; None drops nothing.
    """

    config: ModelConfig
    dtype: Any
    attend: Attend

    @nn.compact
    def __call__(
        self, hidden: Hidden, documents: Documents, seeds: UInt32[Array, "3 2"] | None
    ) -> Hidden:
        rate = self.config.dropout_rate
        of_probabilities, of_attended, of_transformed = (None,) * 3 if seeds is None else seeds
        attended = SelfAttention(self.config, self.dtype, self.attend, name="attention")(
            hidden, documents=documents, seed=of_probabilities
        )
        attended = dropout(attended, seed=of_attended, rate=rate)
        hidden = layer_norm(self.config, "attention_norm")(hidden + attended).astype(self.dtype)
        transformed = FeedForward(self.config, self.dtype, name="feed_forward")(hidden)
        transformed = dropout(transformed, seed=of_transformed, rate=rate)
        hidden = layer_norm(self.config, "feed_forward_norm")(hidden + transformed)
        return nn.with_logical_constraint(hidden.astype(self.dtype), HIDDEN_AXES)
