"""The stack of layers. In: token ids. Out: hidden states and the tied embedding table."""

from typing import Any

import flax.linen as nn
import jax
from jaxtyping import Array, Bool, Float, Int

from spanbert_jax.config import ComputeConfig, ModelConfig
from spanbert_jax.model.layers import Embeddings, Hidden, TransformerLayer, attention_mask

REMAT_POLICIES = {
    "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
    "full": jax.checkpoint_policies.nothing_saveable,
}


class _ScannedLayer(nn.Module):
    """A layer in the form that `nn.scan` wants: carry in, (carry, output) out."""

    config: ModelConfig
    compute: ComputeConfig
    dtype: Any

    @nn.compact
    def __call__(
        self, hidden: Hidden, mask: Bool[Array, "batch 1 length length"], deterministic: bool
    ) -> tuple[Hidden, None]:
        layer = TransformerLayer
        if self.compute.remat != "none":
            layer = nn.remat(
                TransformerLayer,
                policy=REMAT_POLICIES[self.compute.remat],
                # Unrolled, XLA would merge the recomputation with what it recomputes.
                prevent_cse=not self.compute.scan_layers,
                static_argnums=(3,),
            )
        return layer(self.config, self.dtype, name="layer")(hidden, mask, deterministic), None


class Encoder(nn.Module):
    """Embeddings and `num_layers` transformer layers.

    The layers' parameters are stacked on a leading `layers` axis, whether the loop over them is
    compiled as a loop or unrolled: a checkpoint of one is a checkpoint of the other.
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
        hidden, table = Embeddings(self.config, self.dtype, name="embeddings")(
            token_ids,
            position_ids=position_ids,
            segment_ids=segment_ids,
            deterministic=deterministic,
        )
        layers = nn.scan(
            _ScannedLayer,
            variable_axes={"params": 0},
            split_rngs={"params": True, "dropout": True},
            in_axes=(nn.broadcast, nn.broadcast),
            length=self.config.num_layers,
            unroll=1 if self.compute.scan_layers else self.config.num_layers,
            metadata_params={nn.PARTITION_NAME: "layers"},
        )(self.config, self.compute, self.dtype, name="layers")
        hidden, _ = layers(hidden, attention_mask(document_ids), deterministic)
        return hidden, table
