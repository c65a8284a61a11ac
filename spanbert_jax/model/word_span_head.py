"""Classifies spans of words by their ends and their width. In: hidden states, where words lie.
Out: scores of every span up to some width.

Axis letters: B batch, L length (words of a row, as many as it has tokens at most), K widths,
D embed, H hidden, C classes.
"""

from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from spanbert_jax.config import ModelConfig
from spanbert_jax.model.dropout import Seed, dropout
from spanbert_jax.model.heads import Pooled, gather_positions
from spanbert_jax.model.layers import Hidden, bias_init, gelu
from spanbert_jax.model.task_heads import Fields, Mask

Words = Float[Array, "batch length hidden"]

# Share of the spans that are of any class but none, at the beginning.
_PRIOR = 0.01


def _rare(key: Any, shape: tuple[int], dtype: Any = jnp.float32) -> Float[Array, " classes"]:
    """Biases by which class 0, none, has all but `_PRIOR` of the probability: else training begins
    with nothing but learning that (Lin et al. 2017, sec. 4.1)."""
    others = jnp.log(_PRIOR / (1.0 - _PRIOR) / max(1, shape[0] - 1))
    return jnp.zeros(shape, dtype).at[1:].set(others)


class WordSpanHead(nn.Module):
    """Scores of each class for the span of words j .. j+k, at [:, j, k].

    score = V gelu(A x_start + B x_end + C w_k + b) + c, with the states of the first piece of the
    first word and of the last piece of the last, and an embedding of the width, as span models have
    it (Lee et al. 2017; SpanBERT sec. 4.1, coreference). -> span_logits (B, L, K, C); what lies
    beyond the words of the row has scores without a meaning. Class 0 is none.

    fields: first_pieces, last_pieces (B, L), position in the row of those pieces of the j-th word.
    """

    config: ModelConfig
    dtype: Any
    num_classes: int = 2
    max_span_words: int = 10
    width_size: int = 20
    hidden_size: int = 150
    uses_pooler: ClassVar[bool] = False

    @nn.compact
    def __call__(
        self, hidden: Hidden, *, pooled: Pooled | None, fields: Fields, mask: Mask,
        seed: Seed | None,
    ) -> dict[str, Float[Array, "..."]]:  # fmt: skip
        config, size, widths = self.config, self.hidden_size, self.max_span_words
        hidden = dropout(hidden, seed=seed, rate=config.dropout_rate)
        start = self._matrix("start_kernel", "embed", (config.hidden_size, size))
        end = self._matrix("end_kernel", "embed", (config.hidden_size, size))
        width = self._matrix("width_embedding", None, (widths, self.width_size))
        width_kernel = self._matrix("width_kernel", None, (self.width_size, size))
        bias = self.param("bias", bias_init(None), (size,))
        scores = self._matrix("scores_kernel", None, (size, self.num_classes))
        scores_bias: Any = self.param(
            "scores_bias", nn.with_logical_partitioning(_rare, (None,)), (self.num_classes,)
        )
        logits = _span_logits(
            _of_words(hidden, start, positions=fields["first_pieces"]),
            ends=_of_words(hidden, end, positions=fields["last_pieces"]),
            widths=width @ width_kernel + bias,
            kernel=scores,
        )
        return {"span_logits": logits + scores_bias}

    def _matrix(self, name: str, axis: str | None, shape: tuple[int, int]) -> Any:
        # Two layers of BERT's small values pass on next to nothing, forward or backward: a run of
        # fine-tuning is over before they have grown.
        initializer = nn.initializers.lecun_normal()
        return self.param(name, nn.with_logical_partitioning(initializer, (axis, None)), shape)


def _of_words(
    hidden: Hidden, kernel: Float[Array, "embed hidden"], *, positions: Int[Array, "batch length"]
) -> Words:
    """The projected state of one piece of each word, in float32."""
    return gather_positions(hidden, positions).astype(jnp.float32) @ kernel


def _span_logits(
    starts: Words,
    *,
    ends: Words,
    widths: Float[Array, "widths hidden"],
    kernel: Float[Array, "hidden classes"],
) -> Float[Array, "batch length widths classes"]:
    """Scores of all spans, one width after the other: B L H values at a time, not B L K H, and in
    the backward pass too."""
    num_words, num_widths = starts.shape[1], widths.shape[0]
    padded = jnp.pad(ends, ((0, 0), (0, num_widths), (0, 0)))

    @jax.checkpoint
    def of_width(
        k: Int[Array, ""], width: Float[Array, " hidden"]
    ) -> Float[Array, "batch length classes"]:
        last = jax.lax.dynamic_slice_in_dim(padded, k, num_words, axis=1)
        return gelu(starts + last + width) @ kernel

    logits = jax.lax.map(lambda each: of_width(*each), (jnp.arange(num_widths), widths))
    return jnp.moveaxis(logits, 0, 2)
