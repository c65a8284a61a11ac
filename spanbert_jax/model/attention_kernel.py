"""Attention in one kernel for TPUs: scores, softmax and dropout stay in the vector memory.

In: projected queries, keys and values as the matrix products leave them, documents of the tokens.
Out: context, and gradients by a second kernel that computes the scores again.

Axis letters: B batch, L length, F features of all heads side by side, H head dim.

A kernel sees whole rows of up to `MAX_LENGTH` tokens, so that a softmax needs no second pass, and
as many heads at a time as fill the 128 lanes of a vector, in the layout of the projections: nothing
is transposed on the way in or out. Masks of dropout are those of `dropout.keep_mask`, hashed from
where a probability stands, and the same as without the kernel.
"""

import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
from jaxtyping import Array, Float, Int

from spanbert_jax.model.dropout import Seed, column_bits, keep_threshold, mix

Projected = Float[Array, "batch length features"]

LANES = 128
_TOKENS_AT_ONCE = 512
MAX_LENGTH = 1024
"""Longer rows would not fit: a head has 4 bytes for each pair of tokens at a time."""
_LOWEST = float(jnp.finfo(jnp.float32).min)


class Shape(NamedTuple):
    """What a kernel is compiled for."""

    length: int
    num_heads: int
    head_size: int
    dropout_rate: float

    @property
    def heads_at_once(self) -> int:
        return max(1, LANES // self.head_size)

    def rows_at_once(self, num_rows: int) -> int:
        """Rows of the batch in one run of a kernel: short ones are too little work by themselves.

        Shape(128, 12, 64, 0.1).rows_at_once(64) -> 4; of 512 tokens -> 1
        """
        return math.gcd(max(1, _TOKENS_AT_ONCE // self.length), num_rows)


def fits(*, length: int, num_heads: int, head_size: int) -> bool:
    """Whether the kernel can compute such rows."""
    fills_lanes = LANES % head_size == 0 or head_size % LANES == 0
    at_once = max(1, LANES // head_size)
    return length % LANES == 0 and length <= MAX_LENGTH and fills_lanes and num_heads % at_once == 0


def fused_attention(
    query: Projected,
    key: Projected,
    value: Projected,
    *,
    document_ids: Int[Array, "batch length"],
    num_heads: int,
    seed: Seed | None,
    dropout_rate: float,
    first_row: int | jax.Array = 0,
    first_head: int | jax.Array = 0,
    all_heads: int | None = None,
    interpret: bool = False,
) -> Projected:
    """Multi-head attention within documents: softmax(query key^T) value, with dropout between.

    query: already divided by the root of the head's size.
    seed: of dropout; None drops nothing.
    first_row, first_head, all_heads: which part of the global batch and of the heads this is, where
        devices share them: masks are of the whole.
    """
    length, features = query.shape[1:]
    rate = 0.0 if seed is None else dropout_rate
    shape = Shape(length, num_heads, features // num_heads, rate)
    seed = jnp.zeros(2, jnp.uint32) if seed is None else seed
    place = jnp.stack([
        jax.lax.bitcast_convert_type(seed[0], jnp.int32),
        jax.lax.bitcast_convert_type(seed[1], jnp.int32),
        jnp.asarray(first_row, jnp.int32),
        jnp.asarray(first_head, jnp.int32),
        jnp.asarray(all_heads or num_heads, jnp.int32),
    ])  # fmt: skip
    return _attention(query, key, value, document_ids, place, shape, interpret)


@partial(jax.custom_vjp, nondiff_argnums=(5, 6))
def _attention(
    query: jax.Array, key: jax.Array, value: jax.Array, document_ids: jax.Array, place: jax.Array,
    shape: Shape, interpret: bool,
) -> jax.Array:  # fmt: skip
    return _call(
        _forward_kernel, shape, place, document_ids, (query, key, value), num_results=1,
        interpret=interpret,
    )[0]  # fmt: skip


def _attention_forward(
    query: jax.Array, key: jax.Array, value: jax.Array, document_ids: jax.Array, place: jax.Array,
    shape: Shape, interpret: bool,
) -> tuple[jax.Array, Any]:  # fmt: skip
    context = _attention(query, key, value, document_ids, place, shape, interpret)
    return context, (query, key, value, document_ids, place)


def _attention_backward(
    shape: Shape, interpret: bool, saved: Any, gradient: jax.Array
) -> tuple[jax.Array | None, ...]:
    query, key, value, document_ids, place = saved
    gradients = _call(
        _backward_kernel, shape, place, document_ids, (query, key, value, gradient),
        num_results=3, interpret=interpret,
    )  # fmt: skip
    return (*gradients, None, None)


_attention.defvjp(_attention_forward, _attention_backward)


def _call(
    kernel: Any, shape: Shape, place: jax.Array, document_ids: jax.Array,
    arrays: Sequence[jax.Array], *, num_results: int, interpret: bool,
) -> Sequence[jax.Array]:  # fmt: skip
    """Run a kernel for every row of the batch and every group of heads.

    It is given the documents twice, as a column and as a row: to turn one is no work of a kernel's.
    """
    like, as_column, as_row = arrays[0], document_ids[:, :, None], document_ids[:, None, :]
    width, at_once = shape.heads_at_once * shape.head_size, shape.rows_at_once(like.shape[0])

    def block(*sizes: int, of_group: bool = False) -> pl.BlockSpec:
        return pl.BlockSpec(
            (at_once, *sizes), lambda row, group, _: (row, 0, group if of_group else 0)
        )

    features = block(shape.length, width, of_group=True)
    return pl.pallas_call(
        partial(kernel, shape),
        grid_spec=pltpu.PrefetchScalarGridSpec(
            num_scalar_prefetch=1,
            grid=(like.shape[0] // at_once, shape.num_heads // shape.heads_at_once),
            in_specs=[block(shape.length, 1), block(1, shape.length), *[features] * len(arrays)],
            out_specs=[features] * num_results,
        ),
        out_shape=[jax.ShapeDtypeStruct(like.shape, like.dtype)] * num_results,
        compiler_params=pltpu.CompilerParams(dimension_semantics=("parallel", "parallel")),
        interpret=interpret,
        name=kernel.__name__.strip("_"),
    )(place, as_column, as_row, *arrays)


def _forward_kernel(
    shape: Shape, place: Any, rows: Any, columns: Any, query: Any, key: Any, value: Any,
    context: Any,
) -> None:  # fmt: skip
    for row, head, part in _parts(shape, query.shape[0]):
        probabilities = _probabilities(query[part], key[part], rows[row] == columns[row])
        keep = _keep(place, shape, row, head, num_rows=query.shape[0])
        kept = _scaled(probabilities.astype(query.dtype), keep, shape)
        context[part] = _matmul(kept, value[part], (1, 0)).astype(context.dtype)


def _backward_kernel(
    shape: Shape, place: Any, rows: Any, columns: Any, query: Any, key: Any, value: Any,
    gradient: Any, to_query: Any, to_key: Any, to_value: Any,
) -> None:  # fmt: skip
    """With p the probabilities, d those after dropout, o the context, and ' for gradients:

    v' = d^T o';  p' = dropout(o' v^T);  s' = p (p' - sum(p' p));  q' = s' k;  k' = s'^T q
    """
    dtype = query.dtype
    for row, head, part in _parts(shape, query.shape[0]):
        q, k, v, o = (ref[part] for ref in (query, key, value, gradient))
        probabilities = _probabilities(q, k, rows[row] == columns[row])
        keep = _keep(place, shape, row, head, num_rows=query.shape[0])
        kept = _scaled(probabilities.astype(dtype), keep, shape)
        to_value[part] = _matmul(kept, o, (0, 0)).astype(dtype)
        to_kept = _scaled(_matmul(o, v, (1, 1)).astype(dtype), keep, shape).astype(jnp.float32)
        weighted = jnp.sum(to_kept * probabilities, axis=1, keepdims=True)
        to_scores = (probabilities * (to_kept - weighted)).astype(dtype)
        to_query[part] = _matmul(to_scores, k, (1, 0)).astype(dtype)
        to_key[part] = _matmul(to_scores, q, (0, 0)).astype(dtype)


def _parts(shape: Shape, num_rows: int) -> Iterator[tuple[int, int, Any]]:
    """Every row and head of a block, and where it lies in there."""
    for row in range(num_rows):
        for head in range(shape.heads_at_once):
            lanes = slice(head * shape.head_size, (head + 1) * shape.head_size)
            yield row, head, (row, slice(None), lanes)


def _probabilities(query: jax.Array, key: jax.Array, same: jax.Array) -> jax.Array:
    """Softmax of the scores, in float32."""
    scores = jnp.where(same, _matmul(query, key, (1, 1)), _LOWEST)
    exponentials = jnp.exp(scores - jnp.max(scores, axis=1, keepdims=True))
    return exponentials / jnp.sum(exponentials, axis=1, keepdims=True)


def _scaled(values: jax.Array, keep: jax.Array | None, shape: Shape) -> jax.Array:
    """As `dropout.dropout`, with the mask at hand."""
    if keep is None:
        return values
    scaled = values * jnp.asarray(1.0 / (1.0 - shape.dropout_rate), values.dtype)
    return jnp.where(keep, scaled, jnp.zeros_like(values))


def _keep(place: Any, shape: Shape, row: int, head: int, *, num_rows: int) -> jax.Array | None:
    """The mask of a head's probabilities, for a row and a head of the block; None where nothing is
    dropped.
    """
    if shape.dropout_rate == 0.0:
        return None
    row_number = place[2] + pl.program_id(0) * num_rows + row
    head_number = place[3] + pl.program_id(1) * shape.heads_at_once + head
    first = (row_number * place[4] + head_number) * shape.length
    tokens = jax.lax.broadcasted_iota(jnp.int32, (shape.length, 1), 0) + first
    seed = [jax.lax.bitcast_convert_type(place[i], jnp.uint32) for i in (0, 1)]
    of_rows = mix(tokens.astype(jnp.uint32) ^ seed[0])
    numbers = jax.lax.broadcasted_iota(jnp.uint32, (1, shape.length), 1)
    of_columns = column_bits(numbers, seed[1])
    return mix(of_rows ^ of_columns) < keep_threshold(shape.dropout_rate)


def _matmul(left: jax.Array, right: jax.Array, axes: tuple[int, int]) -> jax.Array:
    """Product in float32 over one axis of each."""
    dimensions = (((axes[0],), (axes[1],)), ((), ()))
    return jax.lax.dot_general(left, right, dimensions, preferred_element_type=jnp.float32)
