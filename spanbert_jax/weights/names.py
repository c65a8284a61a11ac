"""What others call our parameters: one table, and the spellings that differ from it.

In: a model's config. Out: for every parameter of ours its tensors elsewhere, and how they lie.
The table has the names of Hugging Face's BERT; released SpanBERT checkpoints with heads have the
same but gamma and beta, and the names of the span-boundary head are theirs.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from spanbert_jax.config import ModelConfig
from spanbert_jax.weights.layouts import (
    COPY,
    HEAD_BIASES,
    INTO_HEADS,
    LINEAR,
    OUT_OF_HEADS,
    Layout,
    WithOneSegment,
    inputs_first,
)

_SELF, _LAYER = "bert.encoder.layer.{i}.attention.self", "bert.encoder.layer.{i}"
_SBO, _MLP = "cls.pair_target_predictions", "cls.pair_target_predictions.mlp_layer_norm"
_POSITIONS = "encoder/embeddings/position_embedding"
_SEGMENTS = "encoder/embeddings/segment_embedding"

# ours: how it lies, the tensors that hold it. {i} is the number of a layer.
_TABLE: dict[str, tuple[Layout, tuple[str, ...]]] = {
    "encoder/embeddings/token_embedding": (COPY, ("bert.embeddings.word_embeddings.weight",)),
    _POSITIONS: (COPY, ("bert.embeddings.position_embeddings.weight",)),
    _SEGMENTS: (COPY, ("bert.embeddings.token_type_embeddings.weight",)),
    "encoder/embeddings/layer_norm/scale": (COPY, ("bert.embeddings.LayerNorm.weight",)),
    "encoder/embeddings/layer_norm/bias": (COPY, ("bert.embeddings.LayerNorm.bias",)),
    "encoder/layer_{i}/attention/qkv_kernel": (
        INTO_HEADS, (f"{_SELF}.query.weight", f"{_SELF}.key.weight", f"{_SELF}.value.weight"),
    ),
    "encoder/layer_{i}/attention/qkv_bias": (
        HEAD_BIASES, (f"{_SELF}.query.bias", f"{_SELF}.key.bias", f"{_SELF}.value.bias"),
    ),
    "encoder/layer_{i}/attention/out_kernel": (
        OUT_OF_HEADS, (f"{_LAYER}.attention.output.dense.weight",),
    ),
    "encoder/layer_{i}/attention/out_bias": (COPY, (f"{_LAYER}.attention.output.dense.bias",)),
    "encoder/layer_{i}/attention_norm/scale": (
        COPY, (f"{_LAYER}.attention.output.LayerNorm.weight",),
    ),
    "encoder/layer_{i}/attention_norm/bias": (COPY, (f"{_LAYER}.attention.output.LayerNorm.bias",)),
    "encoder/layer_{i}/feed_forward/inner/kernel": (
        LINEAR, (f"{_LAYER}.intermediate.dense.weight",),
    ),
    "encoder/layer_{i}/feed_forward/inner/bias": (COPY, (f"{_LAYER}.intermediate.dense.bias",)),
    "encoder/layer_{i}/feed_forward/outer/kernel": (LINEAR, (f"{_LAYER}.output.dense.weight",)),
    "encoder/layer_{i}/feed_forward/outer/bias": (COPY, (f"{_LAYER}.output.dense.bias",)),
    "encoder/layer_{i}/feed_forward_norm/scale": (COPY, (f"{_LAYER}.output.LayerNorm.weight",)),
    "encoder/layer_{i}/feed_forward_norm/bias": (COPY, (f"{_LAYER}.output.LayerNorm.bias",)),
    "pooler/kernel": (LINEAR, ("bert.pooler.dense.weight",)),
    "pooler/bias": (COPY, ("bert.pooler.dense.bias",)),
    "mlm_head/transform/dense/kernel": (LINEAR, ("cls.predictions.transform.dense.weight",)),
    "mlm_head/transform/dense/bias": (COPY, ("cls.predictions.transform.dense.bias",)),
    "mlm_head/transform/layer_norm/scale": (
        COPY, ("cls.predictions.transform.LayerNorm.weight",),
    ),
    "mlm_head/transform/layer_norm/bias": (COPY, ("cls.predictions.transform.LayerNorm.bias",)),
    "mlm_head/bias": (COPY, ("cls.predictions.bias",)),
    "next_sentence_head/kernel": (LINEAR, ("cls.seq_relationship.weight",)),
    "next_sentence_head/bias": (COPY, ("cls.seq_relationship.bias",)),
    "span_boundary_head/offset_embedding": (COPY, (f"{_SBO}.position_embeddings.weight",)),
    "span_boundary_head/transform_0/dense/kernel": (LINEAR, (f"{_MLP}.linear1.weight",)),
    "span_boundary_head/transform_0/dense/bias": (COPY, (f"{_MLP}.linear1.bias",)),
    "span_boundary_head/transform_0/layer_norm/scale": (COPY, (f"{_MLP}.layer_norm1.weight",)),
    "span_boundary_head/transform_0/layer_norm/bias": (COPY, (f"{_MLP}.layer_norm1.bias",)),
    "span_boundary_head/transform_1/dense/kernel": (LINEAR, (f"{_MLP}.linear2.weight",)),
    "span_boundary_head/transform_1/dense/bias": (COPY, (f"{_MLP}.linear2.bias",)),
    "span_boundary_head/transform_1/layer_norm/scale": (COPY, (f"{_MLP}.layer_norm2.weight",)),
    "span_boundary_head/transform_1/layer_norm/bias": (COPY, (f"{_MLP}.layer_norm2.bias",)),
    "span_boundary_head/bias": (COPY, (f"{_SBO}.bias",)),
}  # fmt: skip

# Tensors that repeat another one of the table, such as the tied decoder matrix.
_COPIES = {
    "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
    "cls.predictions.decoder.bias": "cls.predictions.bias",
    f"{_SBO}.decoder.weight": "bert.embeddings.word_embeddings.weight",
}

HEADS = ("mlm_head", "span_boundary_head", "pooler", "next_sentence_head")
"""Parts of our parameters that a checkpoint may lack as a whole."""

Substitutions = tuple[tuple[str, str], ...]
"""Regular expressions and what stands in their place, one after the other."""


class Entry(NamedTuple):
    """One parameter of ours in the tensors of others."""

    layout: Layout
    tensors: tuple[str, ...]


@dataclass(frozen=True)
class Names:
    """How one family of checkpoints names its tensors."""

    family: str
    spelling: Substitutions
    """From the names of the table to those of this family."""
    aliases: Substitutions
    """From names that are also found in such checkpoints to those of this family."""
    ignored: str
    """Names of tensors that are no parameters, as a regular expression."""
    matrix_layout: Callable[[str, Layout], Layout] = lambda name, layout: layout
    """How the tensor of this name lies, of the layout that the table says."""

    def entries(self, model: ModelConfig) -> dict[str, Entry]:
        """Every parameter that a model of these sizes may have, and its tensors.

        A head that `model` lacks is named too.
        """
        return {
            path.format(i=i): Entry(
                self.matrix_layout(self._spell(tensors[0]), layout),
                tuple(self._spell(tensor).format(i=i) for tensor in tensors),
            )
            for path, (layout, tensors) in _rows(model).items()
            for i in (range(model.num_layers) if "{i}" in path else (0,))
        }

    @cached_property
    def copies(self) -> Mapping[str, str]:
        """Tensors that repeat another one, and that one."""
        return {self._spell(copy): self._spell(original) for copy, original in _COPIES.items()}

    def canonical(self, name: str) -> str:
        """The family's own name of a tensor that may be spelled otherwise.

        BERT.canonical("embeddings.LayerNorm.gamma") -> "bert.embeddings.LayerNorm.weight"
        """
        return _substitute(name, self.aliases)

    def is_ignored(self, name: str) -> bool:
        return re.search(self.ignored, name) is not None

    def _spell(self, name: str) -> str:
        return _substitute(name, self.spelling)


def _rows(model: ModelConfig) -> dict[str, tuple[Layout, tuple[str, ...]]]:
    """The table, without segments where the model has none: theirs has one all the same."""
    if model.num_segments:
        return _TABLE
    rows = {path: row for path, row in _TABLE.items() if path != _SEGMENTS}
    both = _TABLE[_POSITIONS][1] + _TABLE[_SEGMENTS][1]
    return rows | {_POSITIONS: (WithOneSegment(), both)}


def _substitute(name: str, substitutions: Substitutions) -> str:
    for pattern, replacement in substitutions:
        name = re.sub(pattern, replacement, name)
    return name


_WRAPPERS: Substitutions = ((r"^(module\.|model\.|decoder\.)+", ""),)
_WEIGHT_AND_BIAS: Substitutions = ((r"\.gamma$", ".weight"), (r"\.beta$", ".bias"))
_GAMMA_AND_BETA: Substitutions = (
    (r"((?:LayerNorm|layer_norm)\d?)\.weight$", r"\1.gamma"),
    (r"((?:LayerNorm|layer_norm)\d?)\.bias$", r"\1.beta"),
)
_BUFFERS = r"\bposition_ids$|\btoken_type_ids$"

BERT = Names(
    family="bert",
    spelling=(),
    aliases=(
        *_WRAPPERS,
        (r"^(?=(?:embeddings|encoder|pooler)\.)", "bert."),
        *_WEIGHT_AND_BIAS,
    ),
    ignored=_BUFFERS,
)
"""Hugging Face's BERT, and SpanBERT as it was released for it."""

FAIRSEQ = Names(
    family="fairseq",
    spelling=_GAMMA_AND_BETA,
    aliases=(*BERT.aliases, *_GAMMA_AND_BETA),
    ignored=_BUFFERS,
)
"""SpanBERT as it was pretrained, heads included."""

ROBERTA = Names(
    family="roberta",
    spelling=(
        (r"^bert\.", "roberta."),
        (r"^cls\.predictions\.transform\.dense", "lm_head.dense"),
        (r"^cls\.predictions\.transform\.LayerNorm", "lm_head.layer_norm"),
        (r"^cls\.predictions\.bias", "lm_head.bias"),
        (r"^cls\.predictions\.decoder", "lm_head.decoder"),
    ),
    aliases=(
        *_WRAPPERS,
        (r"^(?=(?:embeddings|encoder|pooler)\.)", "roberta."),
        *_WEIGHT_AND_BIAS,
    ),
    ignored=_BUFFERS,
)
"""Hugging Face's RoBERTa."""

GOOGLE = Names(
    family="tensorflow",
    spelling=(
        *_GAMMA_AND_BETA,
        (r"embeddings\.weight$", "embeddings"),
        (r"^cls\.predictions\.bias$", "cls.predictions.output_bias"),
        (r"^cls\.seq_relationship\.(weight|bias)$", r"cls.seq_relationship.output_\1"),
        (r"output_weight$", "output_weights"),
        (r"\.weight$", ".kernel"),
        (r"\.layer\.", ".layer_"),
        (r"\.", "/"),
    ),
    aliases=(),
    ignored=_BUFFERS,
    # cls/seq_relationship/output_weights alone is (outputs, inputs).
    matrix_layout=lambda name, layout: inputs_first(layout) if name.endswith("kernel") else layout,
)
"""Google's BERT in TensorFlow."""

FAMILIES = (BERT, FAIRSEQ, ROBERTA, GOOGLE)
