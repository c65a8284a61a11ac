"""A fine-tuned model: the pretrained encoder, and the head of a task. In: the arrays of a batch.
Out: what the head gives.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from spanbert_jax.config import ComputeConfig, ModelConfig
from spanbert_jax.model.encoders import make_encoder
from spanbert_jax.model.heads import Pooler
from spanbert_jax.model.pretraining import compute_dtype


class TaskModel(nn.Module):
    """Encoder, pooler where the head reads it, and `task_head`."""

    config: ModelConfig
    compute: ComputeConfig
    task_head: Any
    """A module of task_heads.py, or one that is called as they are."""

    @nn.compact
    def __call__(
        self,
        token_ids: Int[Array, "batch length"],
        *,
        segment_ids: Int[Array, "batch length"],
        document_ids: Int[Array, "batch length"],
        position_ids: Int[Array, "batch length"],
        fields: dict[str, Any],
        deterministic: bool = True,
    ) -> dict[str, Float[Array, "..."]]:
        """Return the outputs of the head."""
        dtype = compute_dtype(self.compute)
        hidden, _ = make_encoder(self.config, self.compute, dtype, name="encoder")(
            token_ids,
            segment_ids=segment_ids,
            document_ids=document_ids,
            position_ids=position_ids,
            deterministic=deterministic,
        )
        pooled = None
        if self.task_head.uses_pooler:
            pooled = Pooler(self.config, dtype, name="pooler")(hidden)
        seed = None
        if not deterministic:
            seed = jax.random.bits(self.make_rng("dropout"), (2,), jnp.uint32)
        return self.task_head(
            hidden, pooled=pooled, fields=fields, mask=document_ids > 0, seed=seed
        )
