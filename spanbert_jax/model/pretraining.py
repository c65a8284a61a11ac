"""SpanBERT: encoder, masked language head, span-boundary head; for BERT, next-sentence head.

In: the arrays of a batch. Out: vocabulary logits at the prediction slots, logits of sentence pairs.
"""

from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from spanbert_jax.config import ComputeConfig, ModelConfig
from spanbert_jax.model.encoders import make_encoder
from spanbert_jax.model.heads import (
    MaskedLanguageHead,
    NextSentenceHead,
    Pooler,
    SpanBoundaryHead,
    gather_positions,
    tied_logits,
)
from spanbert_jax.model.platform import platform

# On the devices, or brought to the host.
OfObjective = Float[Array | np.ndarray, "batch predictions vocab"]


class PretrainLogits(NamedTuple):
    """Float32 logits of each objective, None of those that the model has no head for."""

    vocabulary: Float[Array, "batch objectives predictions vocab"]
    """Of the masked language model and, where there is one, of the span-boundary head. In one
    array: cut in two, each half would be written and read once more."""
    next_sentence: Float[Array, "batch 2"] | None = None

    @property
    def mlm(self) -> OfObjective:
        return self.vocabulary[:, 0]

    @property
    def span_boundary(self) -> OfObjective | None:
        return self.vocabulary[:, 1] if self.vocabulary.shape[1] > 1 else None


def compute_dtype(compute: ComputeConfig) -> jnp.dtype:
    """Dtype of matrix products: as configured, or what the devices are good at."""
    if compute.dtype != "auto":
        return jnp.dtype(compute.dtype)
    return jnp.dtype(jnp.float32 if platform() == "cpu" else jnp.bfloat16)


class SpanBert(nn.Module):
    """The model that is pretrained. `config.vocab_size` must be set."""

    config: ModelConfig
    compute: ComputeConfig = ComputeConfig()

    @nn.compact
    def __call__(
        self,
        token_ids: Int[Array, "batch length"],
        *,
        segment_ids: Int[Array, "batch length"],
        document_ids: Int[Array, "batch length"],
        position_ids: Int[Array, "batch length"],
        masked_positions: Int[Array, "batch predictions"],
        boundary_left: Int[Array, "batch predictions"],
        boundary_right: Int[Array, "batch predictions"],
        boundary_offset: Int[Array, "batch predictions"],
        deterministic: bool = True,
    ) -> PretrainLogits:
        """Return the logits of every head: (batch, predictions, vocab), of pairs (batch, 2)."""
        dtype = compute_dtype(self.compute)
        hidden, table = make_encoder(self.config, self.compute, dtype, name="encoder")(
            token_ids,
            segment_ids=segment_ids,
            document_ids=document_ids,
            position_ids=position_ids,
            deterministic=deterministic,
        )
        mlm = MaskedLanguageHead(self.config, dtype, name="mlm_head")(
            gather_positions(hidden, masked_positions)
        )
        next_sentence = None
        if self.config.pooler:
            pooled = Pooler(self.config, dtype, name="pooler")(hidden)
            if self.config.next_sentence_head:
                head = NextSentenceHead(self.config, name="next_sentence_head")
                next_sentence = head(pooled)
        heads = [mlm]
        if self.config.span_boundary_head:
            span_boundary = SpanBoundaryHead(self.config, dtype, name="span_boundary_head")(
                gather_positions(hidden, boundary_left),
                right=gather_positions(hidden, boundary_right),
                offset=boundary_offset,
            )
            heads.append(span_boundary)
        return PretrainLogits(tied_logits(heads, table=table), next_sentence)
