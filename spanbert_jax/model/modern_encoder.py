"""An encoder of today's blocks, as ModernBERT (Warner et al. 2024): another road than the faithful
one, with the same heads and objectives behind it. In: token ids. Out: hidden states, the table.

Rotary positions, so that rows may be longer than any that was trained on; LayerNorm before each
sub-layer; gated feed-forward; no biases; two layers in three see a band around each token alone.

Axis letters: B batch, G blocks of queries, Q queries of a block, K their keys, N heads, H head dim.
"""

import math
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, UInt32

from spanbert_jax.config import ComputeConfig, ModelConfig
from spanbert_jax.model.attention import attention_for
from spanbert_jax.model.dropout import Seed, dropout
from spanbert_jax.model.encoder import REMAT_POLICIES
from spanbert_jax.model.layers import (
    HIDDEN_AXES,
    PROJECTED_AXES,
    Attend,
    Documents,
    Hidden,
    Projected,
    attention_mask,
    gelu,
    in_blocks,
    layer_norm,
    matrix_init,
)
from spanbert_jax.model.linear import as_matrix, einsum_float32, matmul


class Rotation(NamedTuple):
    """Cosine and sine of the angle of every pair of features, as `rotated` wants them."""

    cosine: Projected
    sine: Projected


class ModernEncoder(nn.Module):
    """Embeddings, `num_layers` layers and a last LayerNorm; called as `Encoder`.

    Layers are written out one after the other (`layer_0` and on). Who asks for the collection
    `intermediates` finds the embeddings' output and that of every layer in its `hidden_states`.
    """

    config: ModelConfig
    compute: ComputeConfig
    dtype: Any

    @nn.compact
    def __call__(
        self,
        token_ids: Int[Array, "batch length"],
        *,
        segment_ids: Int[Array, "batch length"],
        document_ids: Int[Array, "batch length"],
        position_ids: Int[Array, "batch length"],
        deterministic: bool,
    ) -> tuple[Hidden, Float[Array, "vocab embed"]]:
        """Return the last layer's hidden states and the token embedding table."""
        del segment_ids  # it has no segments
        config, num_layers = self.config, self.config.num_layers
        seeds: list[Any] = [None] * (num_layers + 1)
        if not deterministic:
            drawn = jax.random.bits(self.make_rng("dropout"), (num_layers + 1, 3, 2), jnp.uint32)
            seeds = list(drawn)
        hidden, table = TokenEmbeddings(config, self.dtype, name="embeddings")(
            token_ids, seed=None if seeds[-1] is None else seeds[-1][0]
        )
        documents = Documents(document_ids, attention_mask(document_ids))
        turn = partial(rotation, position_ids, config=config, dtype=self.dtype)
        rotations = {True: turn(config.global_theta), False: turn(config.local_theta)}
        everywhere = attention_for(self.compute, config, length=token_ids.shape[1])
        nearby = partial(local_attention, reach=config.local_attention // 2)
        layer_class: Any = ModernLayer
        if self.compute.remat != "none":
            layer_class = nn.remat(ModernLayer, policy=REMAT_POLICIES[self.compute.remat])
        self.sow("intermediates", "hidden_states", hidden)
        for index in range(num_layers):
            is_global = index % config.global_every == 0
            attend = everywhere if is_global else nearby
            layer = layer_class(config, self.dtype, attend, index > 0, name=f"layer_{index}")
            hidden = layer(hidden, documents, rotations[is_global], seeds[index])
            self.sow("intermediates", "hidden_states", hidden)
        return layer_norm(config, "final_norm", use_bias=False)(hidden).astype(self.dtype), table


class TokenEmbeddings(nn.Module):
    """Token embeddings, normalised: positions are in the attention."""

    config: ModelConfig
    dtype: Any

    @nn.compact
    def __call__(
        self, token_ids: Int[Array, "batch length"], *, seed: Seed | None
    ) -> tuple[Hidden, Float[Array, "vocab embed"]]:
        """Return hidden states and the token table, which the heads use again (tied)."""
        config = self.config
        assert config.vocab_size is not None, "resolved from the tokenizer before building"
        tokens = self.param(
            "token_embedding", matrix_init(config, "vocab", "embed"),
            (config.vocab_size, config.hidden_size),
        )  # fmt: skip
        # Rows gathered from a table split along `embed` would be split like it, batch and all.
        hidden = jnp.take(nn.with_logical_constraint(tokens, ("vocab", None)), token_ids, axis=0)
        hidden = layer_norm(config, "layer_norm", use_bias=False)(hidden).astype(self.dtype)
        hidden = nn.with_logical_constraint(hidden, HIDDEN_AXES)
        return dropout(hidden, seed=seed, rate=config.dropout_rate), tokens


class ModernLayer(nn.Module):
    """x + attention(norm(x)), then x + feed_forward(norm(x)) (pre-LN).

    `seeds` are those of the three places where it drops; None drops nothing.
    """

    config: ModelConfig
    dtype: Any
    attend: Attend
    norms_first: bool
    """Not in the first layer, whose input is normalised already."""

    @nn.compact
    def __call__(
        self,
        hidden: Hidden,
        documents: Documents,
        rotation: Rotation,
        seeds: UInt32[Array, "3 2"] | None,
    ) -> Hidden:
        config, rate = self.config, self.config.dropout_rate
        of_probabilities, of_attended, of_transformed = (None,) * 3 if seeds is None else seeds
        inputs = hidden
        if self.norms_first:
            inputs = layer_norm(config, "attention_norm", use_bias=False)(hidden).astype(self.dtype)
        attended = RotaryAttention(config, self.dtype, self.attend, name="attention")(
            inputs, documents=documents, rotation=rotation, seed=of_probabilities
        )
        hidden += dropout(attended, seed=of_attended, rate=rate)
        inputs = layer_norm(config, "feed_forward_norm", use_bias=False)(hidden).astype(self.dtype)
        transformed = GatedFeedForward(config, self.dtype, name="feed_forward")(inputs)
        hidden += dropout(transformed, seed=of_transformed, rate=rate)
        return nn.with_logical_constraint(hidden, HIDDEN_AXES)


class RotaryAttention(nn.Module):
    """Multi-head attention whose queries and keys are turned by their positions."""

    config: ModelConfig
    dtype: Any
    attend: Attend

    @nn.compact
    def __call__(
        self, hidden: Hidden, *, documents: Documents, rotation: Rotation, seed: Seed | None
    ) -> Hidden:
        config, dtype = self.config, self.dtype
        embed, heads, size = config.hidden_size, config.num_heads, config.head_size
        in_axes, out_axes = (None, "embed", "heads", "head_dim"), ("heads", "head_dim", "embed")
        kernels = self.param("qkv_kernel", matrix_init(config, *in_axes), (3, embed, heads, size))

        def project(kernel: jax.Array) -> Projected:
            matrix = as_matrix(kernel.astype(dtype), (embed, embed), ("embed", "heads"))
            return nn.with_logical_constraint(matmul(hidden, matrix), PROJECTED_AXES)

        query, key, value = map(project, kernels)
        context = self.attend(
            rotated(query, rotation, size=size) * size**-0.5, rotated(key, rotation, size=size),
            value, num_heads=heads, documents=documents, seed=seed,
            rate=config.attention_dropout_rate,
        )  # fmt: skip
        context = nn.with_logical_constraint(context, PROJECTED_AXES)
        out_kernel = self.param(
            "out_kernel", residual_init(config, *out_axes), (heads, size, embed)
        )
        matrix = as_matrix(out_kernel.astype(dtype), (embed, embed), ("heads", "embed"))
        return matmul(context, matrix)


class GatedFeedForward(nn.Module):
    """GeGLU (Shazeer 2020): gelu(x gate) * (x inner), then a product back to the width."""

    config: ModelConfig
    dtype: Any

    @nn.compact
    def __call__(self, hidden: Hidden) -> Hidden:
        config, dtype = self.config, self.dtype
        sizes = config.hidden_size, config.mlp_size

        def product(name: str) -> Float[Array, "batch length mlp"]:
            kernel = self.param(name, matrix_init(config, "embed", "mlp"), sizes)
            return matmul(hidden, kernel.astype(dtype))

        inner = gelu(product("gate_kernel")) * product("inner_kernel")
        inner = nn.with_logical_constraint(inner, ("batch", "length", "mlp"))
        kernel = self.param("outer_kernel", residual_init(config, "mlp", "embed"), sizes[::-1])
        return matmul(inner, kernel.astype(dtype))


def residual_init(config: ModelConfig, *axes: str) -> Any:
    """Of what is added to the residual: smaller by the root of how much is (GPT-2, sec. 2.3)."""
    scaled = nn.initializers.normal(config.initializer_std / math.sqrt(2 * config.num_layers))
    return nn.with_logical_partitioning(scaled, axes)


def rotation(
    position_ids: Int[Array, "batch length"], theta: float, *, config: ModelConfig, dtype: Any
) -> Rotation:
    """Angles of rotary positions (Su et al. 2021): pair i of a head turns by theta^(-2i / size).

    Features i and i + size / 2 are a pair, as in the released models of today.
    """
    half = config.head_size // 2
    speeds = theta ** (-jnp.arange(half, dtype=jnp.float32) / half)
    angles = position_ids[..., None].astype(jnp.float32) * speeds
    # Both of a pair, in every head.
    return Rotation(*(jnp.tile(f(angles), 2 * config.num_heads).astype(dtype)
                      for f in (jnp.cos, jnp.sin)))  # fmt: skip


def rotated(values: Projected, rotation: Rotation, *, size: int) -> Projected:
    """Turn the pairs of every head of `size` features, side by side as they are.

    (a, b) of a pair -> (a cos - b sin, b cos + a sin)
    """
    half = size // 2
    is_first = jnp.arange(values.shape[-1]) % size < half
    others = jnp.where(is_first, -jnp.roll(values, -half, -1), jnp.roll(values, half, -1))
    return values * rotation.cosine + others * rotation.sine


def local_attention(
    query: Projected,
    key: Projected,
    value: Projected,
    *,
    num_heads: int,
    documents: Documents,
    seed: Seed | None,
    rate: float,
    reach: int,
) -> Projected:
    """As `plain_attention`, to tokens at most `reach` to either side.

    In blocks of `reach` queries, each with its block of keys and the two beside it: time and memory
    grow with the length, not with its square.
    """
    num_rows, length, features = query.shape

    def around(blocks: Array, fill: int = 0) -> Array:
        beside = ((0, 0), (1, 1), *((0, 0),) * (blocks.ndim - 2))
        padded = jnp.pad(blocks, beside, constant_values=fill)
        return jnp.concatenate([padded[:, :-2], blocks, padded[:, 2:]], axis=2)

    def heads(values: Projected) -> Array:
        return values.reshape(*values.shape[:-1], num_heads, -1)

    # Of no document: what is behind the ends of a row.
    ids = in_blocks(documents.ids, reach, fill=-1)
    is_same = ids[..., None] == around(ids, -1)[:, :, None]
    distance = jnp.arange(reach)[:, None] + reach - jnp.arange(3 * reach)
    mask = (is_same & (jnp.abs(distance) <= reach))[:, :, None]
    queries, keys, values = (in_blocks(heads(each), reach) for each in (query, key, value))
    scores = einsum_float32("BGQNH,BGKNH->BGNQK", queries, around(keys))
    scores = jnp.where(mask, scores, jnp.finfo(jnp.float32).min)
    probabilities = dropout(jax.nn.softmax(scores).astype(query.dtype), seed=seed, rate=rate)
    context = jnp.einsum("BGNQK,BGKNH->BGQNH", probabilities, around(values))
    return context.reshape(num_rows, -1, features)[:, :length]
