"""Which way attention is computed: ours in a kernel on any mesh, or that of a library. In: config.
Out: a function.

A kernel is compiled for one chip: each chip of a mesh runs it on its rows and heads.
"""

import math
from typing import Any, Literal

import flax.linen as nn
import jax
from jaxtyping import Array, Float

from spanbert_jax.config import ComputeConfig, ModelConfig
from spanbert_jax.errors import require
from spanbert_jax.model.attention_kernel import (
    LANES,
    MAX_LENGTH,
    TOKENS_AT_ONCE,
    fits,
    fused_attention,
)
from spanbert_jax.model.dropout import Seed
from spanbert_jax.model.layers import (
    HEAD_AXES,
    PROJECTED_AXES,
    Attend,
    Documents,
    Projected,
    blockwise_attention,
    plain_attention,
)
from spanbert_jax.model.platform import device_kind, platform

_TOKENS_AT_ONCE = {"TPU v6 lite": 2 * TOKENS_AT_ONCE}
"""Of a kernel, by kind of chip. On v6e vector units hold it up, and more independent work keeps
them busy; on v5e matrix units do, and a backward kernel of twice the rows is slower."""
_MOST_FEATURES = 128
"""Of a head in cuDNN, but for Hopper and later, which take twice as many."""
LONGEST_AT_ONCE = 2_048
"""Tokens of a row whose scores are held all at once: 12 heads of longer ones take 200 MB a row."""


def attention_for(compute: ComputeConfig, model: ModelConfig, *, length: int) -> Attend:
    """The function that `--compute.attention` asks for, for rows of so many tokens.

    Raises:
        ConfigError: what is asked for cannot compute such rows, or not on these devices.
    """
    if compute.attention == "cudnn":
        _check_cudnn(compute, model, length=length)
        return cudnn_attention
    can = fits(length=length, num_heads=model.num_heads, head_size=model.head_size)
    require(
        can or compute.attention != "kernel", "--compute.attention", compute.attention,
        f"computes rows of up to {MAX_LENGTH} tokens, in multiples of {LANES}, with heads that "
        f"together fill {LANES} lanes; found {length} tokens and {model.num_heads} heads of "
        f"{model.head_size}", "use auto, or plain",
    )  # fmt: skip
    is_kernel = compute.attention == "kernel" or (
        compute.attention == "auto" and can and platform() == "tpu"
    )
    if is_kernel:
        return kernel_attention
    return blockwise_attention if length > LONGEST_AT_ONCE else plain_attention


def kernel_attention(
    query: Projected,
    key: Projected,
    value: Projected,
    *,
    num_heads: int,
    documents: Documents,
    seed: Seed | None,
    rate: float,
) -> Projected:
    """As `plain_attention`, in a kernel; elsewhere than on TPUs as Pallas interprets it."""
    mesh, head_size = jax.sharding.get_abstract_mesh(), query.shape[2] // num_heads
    tokens_at_once = _TOKENS_AT_ONCE.get(device_kind(), TOKENS_AT_ONCE)

    def on_chip(query: Any, key: Any, value: Any, ids: Any, seed: Any) -> jax.Array:
        rows, heads = query.shape[0], query.shape[2] // head_size
        return fused_attention(
            query, key, value, document_ids=ids, num_heads=heads, seed=seed, dropout_rate=rate,
            first_row=_number(spec[0]) * rows, first_head=_number(spec[2]) * heads,
            all_heads=num_heads, tokens_at_once=tokens_at_once, interpret=platform() != "tpu",
        )  # fmt: skip

    spec = _split(mesh, num_rows=query.shape[0], num_heads=num_heads)
    on_chips: Any = on_chip
    if mesh.size > 1:
        on_chips = jax.shard_map(
            on_chip,
            in_specs=(spec, spec, spec, jax.P(spec[0], None), jax.P()),
            out_specs=spec,
            # Of what a kernel gives, it is not known on which axes it varies.
            check_vma=False,
        )
    return on_chips(query, key, value, documents.ids, seed)


def cudnn_attention(
    query: Projected,
    key: Projected,
    value: Projected,
    *,
    num_heads: int,
    documents: Documents,
    seed: Seed | None,
    rate: float,
    implementation: Literal["cudnn", "xla"] = "cudnn",
) -> Projected:
    """As `plain_attention`, by the flash attention of cuDNN, which is called without dropout.

    implementation: of `jax.nn.dot_product_attention`; xla is for where there is no GPU.
    """
    assert seed is None or rate == 0.0, "checked with the config"

    def with_heads(values: Projected) -> Float[Array, "batch length heads head_size"]:
        apart = values.reshape(*values.shape[:2], num_heads, -1)
        return nn.with_logical_constraint(apart, HEAD_AXES)

    context = jax.nn.dot_product_attention(
        with_heads(query), with_heads(key), with_heads(value),
        mask=documents.mask, scale=1.0, implementation=implementation,
    )  # fmt: skip
    return nn.with_logical_constraint(context, HEAD_AXES).reshape(query.shape)


def _check_cudnn(compute: ComputeConfig, model: ModelConfig, *, length: int) -> None:
    """What cuDNN would refuse, in words of the config, before anything is compiled."""
    name = "--compute.attention"
    require(
        platform() == "gpu", name, "cudnn", f"runs on NVIDIA's GPUs, found {platform()}",
        "use auto, or plain",
    )  # fmt: skip
    require(
        compute.dtype != "float32", name, "cudnn", "computes in 16 bits, found float32",
        "use --compute.dtype bfloat16, or --compute.attention plain",
    )  # fmt: skip
    require(
        model.attention_dropout_rate == 0.0, name, "cudnn",
        f"drops no probabilities, found a rate of {model.attention_dropout_rate}",
        "use --model.attention-dropout-rate 0, as spanbert_base_fast does, or plain",
    )  # fmt: skip
    fits_cudnn = length % 2 == 0 and model.head_size % 8 == 0 and model.head_size <= _MOST_FEATURES
    require(
        fits_cudnn, name, "cudnn",
        f"computes an even number of tokens, with heads of up to {_MOST_FEATURES} features in "
        f"multiples of 8; found {length} tokens and heads of {model.head_size}", "use plain",
    )  # fmt: skip


def _split(mesh: Any, *, num_rows: int, num_heads: int) -> jax.P:
    """Mesh axes that rows and heads are split over, where they can be; lengths are whole."""
    axes = nn.logical_to_mesh_axes(PROJECTED_AXES) if mesh.size > 1 else None
    if axes is None:
        return jax.P(None, None, None)
    rows, heads = (
        axis if axis and size % _ways(mesh, axis) == 0 else None
        for axis, size in ((axes[0], num_rows), (axes[2], num_heads))
    )
    return jax.P(rows, None, heads)


def _ways(mesh: Any, axis: str | tuple[str, ...]) -> int:
    names = (axis,) if isinstance(axis, str) else axis
    return math.prod(mesh.shape[name] for name in names)


def _number(axis: str | tuple[str, ...] | None) -> int | jax.Array:
    """Which part of a split axis this chip has."""
    return 0 if axis is None else jax.lax.axis_index(axis)
