"""Heads of fine-tuned models. In: hidden states of a row. Out: float32 outputs by name.

Axis letters: B batch, L length, D embed, C classes. Every head takes the same arguments, so that a
task may bring one of its own.
"""

from typing import Any, ClassVar

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from spanbert_jax.config import ModelConfig
from spanbert_jax.model.dropout import Seed, dropout
from spanbert_jax.model.heads import Pooled
from spanbert_jax.model.layers import Hidden, bias_init, matrix_init

Mask = Bool[Array, "batch length"]
Fields = dict[str, Any]


class SpanHead(nn.Module):
    """Scores of every token as the start and as the end of a span: one linear layer, no dropout
    (run_squad of the released code). -> start, end (B, L), very low for padding.
    """

    config: ModelConfig
    dtype: Any
    uses_pooler: ClassVar[bool] = False

    @nn.compact
    def __call__(
        self, hidden: Hidden, *, pooled: Pooled | None, fields: Fields, mask: Mask,
        seed: Seed | None,
    ) -> dict[str, Float[Array, "..."]]:  # fmt: skip
        scores = _Classes(self.config, 2, name="scores")(hidden)
        scores = jnp.where(mask[..., None], scores, jnp.finfo(jnp.float32).min)
        return {"start": scores[..., 0], "end": scores[..., 1]}


class PooledHead(nn.Module):
    """Scores of each class by the pooled state of [CLS], behind dropout (BERT's classification).
    -> logits (B, C). A model without a pooler begins with a random one.
    """

    config: ModelConfig
    dtype: Any
    num_classes: int = 2
    uses_pooler: ClassVar[bool] = True

    @nn.compact
    def __call__(
        self, hidden: Hidden, *, pooled: Pooled | None, fields: Fields, mask: Mask,
        seed: Seed | None,
    ) -> dict[str, Float[Array, "..."]]:  # fmt: skip
        assert pooled is not None
        pooled = dropout(pooled, seed=seed, rate=self.config.dropout_rate)
        return {"logits": _Classes(self.config, self.num_classes, name="scores")(pooled)}


class TokenHead(nn.Module):
    """Scores of each class for every token, behind dropout. -> logits (B, L, C)."""

    config: ModelConfig
    dtype: Any
    num_classes: int = 2
    uses_pooler: ClassVar[bool] = False

    @nn.compact
    def __call__(
        self, hidden: Hidden, *, pooled: Pooled | None, fields: Fields, mask: Mask,
        seed: Seed | None,
    ) -> dict[str, Float[Array, "..."]]:  # fmt: skip
        hidden = dropout(hidden, seed=seed, rate=self.config.dropout_rate)
        return {"logits": _Classes(self.config, self.num_classes, name="scores")(hidden)}


class _Classes(nn.Module):
    """A linear layer to a few scores, in float32: so few columns are no work."""

    config: ModelConfig
    num_classes: int

    @nn.compact
    def __call__(self, states: Float[Array, "*batch embed"]) -> Float[Array, "*batch classes"]:
        shape = (states.shape[-1], self.num_classes)
        kernel = self.param("kernel", matrix_init(self.config, "embed", None), shape)
        bias = self.param("bias", bias_init(None), (self.num_classes,))
        return states.astype(jnp.float32) @ kernel + bias
