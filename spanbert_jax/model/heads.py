"""The pretraining heads. In: hidden states at the prediction slots. Out: vocabulary logits.

Axis letters: B batch, O objectives, P prediction slots, D embed, V vocabulary. All heads end in
the token embedding table (tied) and a bias of their own; the logits are float32.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from spanbert_jax.config import ModelConfig
from spanbert_jax.model.layers import Hidden, bias_init, gelu, layer_norm, matrix_init
from spanbert_jax.model.linear import Linear, table_product_float32

Slots = Float[Array, "batch predictions embed"]
Logits = Float[Array, "batch objectives predictions vocab"]
Pooled = Float[Array, "batch embed"]


class Pooler(nn.Module):
    """Linear and tanh over the state of [CLS], the first token of a row (BERT)."""

    config: ModelConfig
    dtype: Any

    @nn.compact
    def __call__(self, hidden: Hidden) -> Pooled:
        size = self.config.hidden_size
        kernel = self.param("kernel", matrix_init(self.config, None, "embed"), (size, size))
        bias = self.param("bias", bias_init("embed"), (size,))
        return jnp.tanh(hidden[:, 0] @ kernel.astype(self.dtype) + bias.astype(self.dtype))


class NextSentenceHead(nn.Module):
    """Whether the second segment is from elsewhere (1) or really followed (0): two logits (BERT).

    Computed in float32: two columns are no work.
    """

    config: ModelConfig

    @nn.compact
    def __call__(self, pooled: Pooled) -> Float[Array, "batch 2"]:
        kernel = self.param("kernel", matrix_init(self.config, "embed", None), (pooled.shape[1], 2))
        bias = self.param("bias", bias_init(None), (2,))
        return pooled.astype(jnp.float32) @ kernel + bias


def gather_positions(hidden: Hidden, positions: Int[Array, "batch predictions"]) -> Slots:
    """Hidden states at `positions` of each row.

    hidden = [[[0.], [10.], [20.]]], positions = [[2, 0]] -> [[[20.], [0.]]]
    """
    slots = jnp.take_along_axis(hidden, positions[..., None], axis=1)
    return nn.with_logical_constraint(slots, ("batch", None, "embed"))


class _Transform(nn.Module):
    """Linear, GELU, LayerNorm: the block both heads are made of."""

    config: ModelConfig
    dtype: Any

    @nn.compact
    def __call__(self, slots: Float[Array, "batch predictions features"]) -> Slots:
        slots = Linear(
            self.config.hidden_size,
            dtype=self.dtype,
            kernel_init=matrix_init(self.config, None, "embed"),
            bias_init=bias_init("embed"),
            name="dense",
        )(slots)
        slots = layer_norm(self.config, "layer_norm")(gelu(slots)).astype(self.dtype)
        return nn.with_logical_constraint(slots, ("batch", None, "embed"))


class HeadOutput(NamedTuple):
    """What a head hands to the token table: its logits are `slots` times the table, plus `bias`."""

    slots: Slots
    bias: Float[Array, " vocab"]


def tied_logits(heads: Sequence[HeadOutput], *, table: Float[Array, "vocab embed"]) -> Logits:
    """Float32 logits of every head, by one product with the token embedding table.

    The table is the largest matrix of the model: together the heads read it once, and write its
    gradient once.
    """
    with jax.named_scope("tied_logits"):
        slots = jnp.stack([head.slots for head in heads], axis=1)
        biases = jnp.stack([head.bias for head in heads])
        logits = table_product_float32(slots, table.astype(slots.dtype)) + biases[:, None]
        return nn.with_logical_constraint(logits, ("batch", None, None, "vocab"))


class MaskedLanguageHead(nn.Module):
    """Predict a masked token from its own hidden state (sec. 3.1)."""

    config: ModelConfig
    dtype: Any

    @nn.compact
    def __call__(self, slots: Slots) -> HeadOutput:
        bias = self.param("bias", bias_init("vocab"), (self.config.vocab_size,))
        return HeadOutput(_Transform(self.config, self.dtype, name="transform")(slots), bias)


class SpanBoundaryHead(nn.Module):
    """Predict a masked token from the observed tokens around its span (sec. 3.2).

    y_i = f(x_{s-1}, x_{e+1}, p_{i-s+1}), with f two blocks of linear, GELU and LayerNorm.
    """

    config: ModelConfig
    dtype: Any

    @nn.compact
    def __call__(
        self,
        left: Slots,
        *,
        right: Slots,
        offset: Int[Array, "batch predictions"],
    ) -> HeadOutput:
        config = self.config
        offsets = self.param(
            "offset_embedding",
            matrix_init(config, None, None),
            (config.max_boundary_offsets, config.boundary_offset_size),
        )
        bias = self.param("bias", bias_init("vocab"), (config.vocab_size,))
        offset_vectors = jnp.take(offsets.astype(self.dtype), offset, axis=0)
        slots = jnp.concatenate([left, right, offset_vectors], axis=-1)
        slots = _Transform(config, self.dtype, name="transform_0")(slots)
        slots = _Transform(config, self.dtype, name="transform_1")(slots)
        return HeadOutput(slots, bias)
