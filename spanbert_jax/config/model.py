"""The encoder, its heads, and how they are computed."""

import re
from dataclasses import dataclass
from typing import Literal

from spanbert_jax.errors import (
    require,
    require_choices,
    require_effect,
    require_fraction,
    require_positive,
)


@dataclass(frozen=True)
class ModelConfig:
    """The encoder and its heads; everything that fixes the shape or meaning of a parameter."""

    vocab_size: int | None = None
    """Entries of the vocabulary; None takes the tokenizer's own size (published models: 28,996)."""
    hidden_size: int = 768
    """Width of the hidden states (BERT base 768, large 1,024)."""
    num_layers: int = 12
    """Transformer layers (base 12, large 24)."""
    num_heads: int = 12
    """Attention heads (base 12, large 16)."""
    mlp_size: int = 3_072
    """Inner width of the feed-forward block (4 x hidden size)."""
    encoder: Literal["bert", "modern"] = "bert"
    """bert: the published one: learned positions, LayerNorm behind each sub-layer. modern: blocks
    of ModernBERT (Warner et al. 2024): rotary positions, LayerNorm before, gated feed-forward, no
    biases, local and global attention in turn; no position_offset, no segments."""
    max_positions: int = 512
    """The longest sequence that has learned positions, [CLS] and [SEP] included; of modern, the
    longest that is read."""
    position_offset: int = 0
    """Row of the position embedding that the first token uses (BERT 0; RoBERTa 2, whose table has
    so many rows more)."""
    num_segments: int = 2
    """Rows of the segment embedding; 0 for none (RoBERTa)."""
    dropout_rate: float = 0.1
    """Dropout after the embeddings and after each sub-layer (sec. 4.2)."""
    attention_dropout_rate: float = 0.1
    """Dropout of the attention probabilities (sec. 4.2)."""
    layer_norm_epsilon: float = 1e-12
    """Added to the variance in every LayerNorm."""
    initializer_std: float = 0.02
    """Standard deviation of the normal initialisation of every matrix."""
    pooler: bool = False
    """A tanh layer over the state of [CLS], as BERT has for its next-sentence prediction."""
    next_sentence_head: bool = False
    """Train next-sentence prediction on sentence pairs, as BERT; needs --model.pooler."""
    global_every: int = 3
    """Of modern: one layer in so many sees the whole row, the first one to begin with (ModernBERT,
    sec. 2.1.2)."""
    local_attention: int = 128
    """Of modern: tokens that the other layers see, half of them to either side (sec. 2.1.2)."""
    global_theta: float = 160_000.0
    """Of modern: base of the rotary angles in layers that see the whole row (sec. 2.1.2)."""
    local_theta: float = 10_000.0
    """Of modern: base of the rotary angles in the others (sec. 2.1.2)."""
    span_boundary_head: bool = True
    """Train the span-boundary objective (sec. 3.2) beside the masked language model."""
    boundary_offset_size: int = 200
    """Width of the offset embedding p_i of the span-boundary head (sec. 4.2)."""
    max_boundary_offsets: int = 15
    """Rows of that embedding; tokens deeper in a span are no SBO targets (released code)."""

    def __post_init__(self) -> None:
        for name in ("hidden_size", "num_layers", "num_heads", "mlp_size"):
            require_positive(f"--model.{name.replace('_', '-')}", getattr(self, name), "12")
        for name in ("boundary_offset_size", "max_boundary_offsets"):
            require_positive(f"--model.{name.replace('_', '-')}", getattr(self, name), "15")
        require(
            self.vocab_size is None or self.vocab_size > 5,
            "--model.vocab-size",
            self.vocab_size,
            "must hold the five special tokens and more",
            "leave it out to take the tokenizer's own size",
        )
        require(
            self.hidden_size % self.num_heads == 0,
            "--model.hidden-size",
            self.hidden_size,
            f"must be divisible by --model.num-heads {self.num_heads}",
            f"use {self.num_heads * max(1, self.hidden_size // self.num_heads)}",
        )
        require(
            self.max_positions >= 8, "--model.max-positions", self.max_positions,
            "must be at least 8", "use 512, as the paper",
        )  # fmt: skip
        for name, usual in (("num_segments", "2"), ("position_offset", "0")):
            require(
                getattr(self, name) >= 0, f"--model.{name.replace('_', '-')}", getattr(self, name),
                "must not be negative", f"use {usual}, as BERT",
            )  # fmt: skip
        require(
            self.pooler or not self.next_sentence_head,
            "--model.next-sentence-head", self.next_sentence_head,
            "predicts from the pooled state of [CLS]", "add --model.pooler",
        )  # fmt: skip
        self._check_encoder()
        require_fraction("--model.dropout-rate", self.dropout_rate)
        require_fraction("--model.attention-dropout-rate", self.attention_dropout_rate)
        require_positive("--model.layer-norm-epsilon", self.layer_norm_epsilon, "1e-12")
        require_positive("--model.initializer-std", self.initializer_std, "0.02")

    def _check_encoder(self) -> None:
        require_choices("model", self, "encoder")
        is_modern = self.encoder == "modern"
        for name in ("num_segments", "position_offset"):
            require(
                not is_modern or getattr(self, name) == 0,
                f"--model.{name.replace('_', '-')}", getattr(self, name),
                "has no place in --model.encoder modern", "use 0",
            )  # fmt: skip
        for name in ("global_every", "local_attention", "global_theta", "local_theta"):
            require_positive(f"--model.{name.replace('_', '-')}", getattr(self, name),
                             str(getattr(type(self), name)))  # fmt: skip
            require_effect(
                is_modern, "model", self, name, on=f"--model.encoder {self.encoder}",
                remedy="leave it out, or use --model.encoder modern",
            )  # fmt: skip
        require(
            self.local_attention % 2 == 0, "--model.local-attention", self.local_attention,
            "must be even, half of it to either side", "use 128",
        )  # fmt: skip
        require(
            not is_modern or self.head_size % 2 == 0, "--model.num-heads", self.num_heads,
            f"leaves {self.head_size} features a head, which rotary positions take in pairs",
            "use a number that leaves an even size",
        )  # fmt: skip

    @property
    def head_size(self) -> int:
        """Width of one attention head."""
        return self.hidden_size // self.num_heads


@dataclass(frozen=True)
class ComputeConfig:
    """How the model is computed. None of it changes what a checkpoint means."""

    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of matrix products and activations; auto: bfloat16 on TPU and GPU, float32 on CPU.
    Parameters, softmax, LayerNorm and losses are always float32."""
    scan_layers: bool = False
    """Compile one layer and loop over it: compiles faster. Unrolled runs faster where activations
    are stored for the backward pass. A run may change it on its way: its checkpoints are read
    either way."""
    remat: Literal["none", "dots", "full"] = "none"
    """What the backward pass recomputes: nothing; all but matrix products; whole layers. Saves
    memory with --compute.scan-layers; unrolled, the compiler may keep what it could recompute."""
    attention: Literal["auto", "plain", "kernel", "cudnn"] = "auto"
    """How attention is computed. plain: by XLA. kernel: by one of our own for TPUs, which keeps no
    scores in memory; rows of 128 to 1,024 tokens, in multiples of 128. cudnn: by NVIDIA's library,
    which keeps none either; GPUs from Ampere on, no dropout of attention; compiled for an H100, but
    never run on one. auto: kernel on TPU where it can, plain elsewhere. The same numbers, but for
    rounding, and the same dropout."""
    compiler_options: tuple[str, ...] = ()
    """NAME=VALUE, such as xla_tpu_scoped_vmem_limit_kib=65536, beside what is set for each kind of
    chip in spanbert_jax/training/compiler_options.py."""
    compilation_cache: str = "~/.cache/spanbert_jax/compiled"
    """Folder of compiled programs, so that the next start need not compile; empty for none. Of
    several hosts the first one writes it: name a place that all read, such as gs://bucket/compiled.
    Several hosts with GPUs use only one that is named. Whoever may write there runs code here.
    JAX_COMPILATION_CACHE_DIR, where set, wins."""

    def __post_init__(self) -> None:
        for text in self.compiler_options:
            is_pair = re.fullmatch(r"[a-z0-9_]+=.+", text) is not None
            require(
                is_pair, "--compute.compiler-options", text, "must be NAME=VALUE",
                "write xla_tpu_scoped_vmem_limit_kib=65536, without dashes",
            )  # fmt: skip
