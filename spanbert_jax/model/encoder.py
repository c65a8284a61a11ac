"""The stack of layers. In: token ids. Out: hidden states and the tied embedding table."""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, UInt32

from spanbert_jax.config import ComputeConfig, ModelConfig
from spanbert_jax.model.attention import attention_for
from spanbert_jax.model.layers import (
    Documents,
    Embeddings,
    Hidden,
    TransformerLayer,
    attention_mask,
)

REMAT_POLICIES = {
    "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
    "full": jax.checkpoint_policies.nothing_saveable,
}


class Encoder(nn.Module):
    """Embeddings and `num_layers` transformer layers.

    The layers are written out one after the other, each with parameters of its own (`layer_0` and
    on), or compiled once and looped over, with their parameters stacked on a leading axis
    (`layers`): each in the form that costs it no copy. `layer_stack` turns one into the other.

    Unrolled, who asks for the collection `intermediates` finds the embeddings' output and that of
    every layer in its `hidden_states`.
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
        num_layers = self.config.num_layers
        embedding_seed = layer_seeds = None
        if not deterministic:
            # Of each place by its number: the same masks however the layers are compiled.
            seeds = jax.random.bits(self.make_rng("dropout"), (1 + 3 * num_layers, 2), jnp.uint32)
            embedding_seed, layer_seeds = seeds[0], seeds[1:].reshape(num_layers, 3, 2)
        hidden, table = Embeddings(self.config, self.dtype, name="embeddings")(
            token_ids, position_ids=position_ids, segment_ids=segment_ids, seed=embedding_seed
        )
        layers = self._scanned if self.compute.scan_layers else self._unrolled
        documents = Documents(document_ids, attention_mask(document_ids))
        return layers(hidden, documents, layer_seeds), table

    def _unrolled(
        self,
        hidden: Hidden,
        documents: Documents,
        seeds: UInt32[Array, "layers 3 2"] | None,
    ) -> Hidden:
        self.sow("intermediates", "hidden_states", hidden)
        for index in range(self.config.num_layers):
            layer = self._layer(hidden.shape[1])(name=f"layer_{index}")
            hidden = layer(hidden, documents, None if seeds is None else seeds[index])
            self.sow("intermediates", "hidden_states", hidden)
        return hidden

    def _scanned(
        self,
        hidden: Hidden,
        documents: Documents,
        seeds: UInt32[Array, "layers 3 2"] | None,
    ) -> Hidden:
        def body(layer: TransformerLayer, hidden: Hidden, seeds: Any) -> tuple[Hidden, None]:
            return layer(hidden, documents, seeds), None

        scan = nn.scan(
            body,
            variable_axes={"params": 0},
            split_rngs={"params": True},
            length=self.config.num_layers,
            metadata_params={nn.PARTITION_NAME: "layers"},
        )
        return scan(self._layer(hidden.shape[1])(name="layers"), hidden, seeds)[0]

    def _layer(self, length: int) -> Callable[..., TransformerLayer]:
        """What makes a layer for rows of so many tokens."""
        attend = attention_for(self.compute, self.config, length=length)
        return partial(self._layer_class(), self.config, self.dtype, attend)

    def _layer_class(self) -> Any:
        """That recomputes in the backward pass what the config asks for."""
        if self.compute.remat == "none":
            return TransformerLayer
        return nn.remat(
            TransformerLayer,
            policy=REMAT_POLICIES[self.compute.remat],
            # Unrolled, XLA would merge the recomputation with what it recomputes.
            prevent_cse=not self.compute.scan_layers,
        )
