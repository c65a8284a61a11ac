"""Attention in one kernel for TPUs: scores, softmax and dropout stay in the vector memory.

In: projected queries, keys and values as the matrix products leave them, documents of the tokens.
Out: context, and gradients by a second kernel that computes the scores again.

Axis letters: B batch, L length, F features of all heads side by side, H head dim.

A kernel sees whole rows of up to `MAX_LENGTH` tokens, so that a softmax needs no second pass, and
as many heads at a time as fill the 128 lanes of a vector, in the layout of the projections: nothing
is transposed on the way in or out. Scores lie as [keys, queries], so that nothing is reduced across
lanes. Masks of dropout are those of `dropout.keep_mask` by halves, hashed from where a probability
stands, and the same as without the kernel.
"""

import math
from collections.abc import Sequence
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
TOKENS_AT_ONCE = 1024
"""In one run of a kernel, where a chip does not gain by more; of long rows half as many, which have
more pairs of tokens."""
_LONG = 512
MAX_LENGTH = 1024
"""Longer rows would not fit: a head has 4 bytes for each pair of tokens at a time."""
_USUAL_VMEM_TOKENS = 768
"""Up to here a kernel does with the vector memory that the compiler gives to one."""
_LONGEST_VMEM_BYTES = 48 * 2**20
"""For longer rows: v5e and v6e have 128 MiB, v5p 64."""
_LOWEST = float(jnp.finfo(jnp.float32).min)


class Shape(NamedTuple):
    """What a kernel is compiled for."""

    length: int
    num_heads: int
    head_size: int
    dropout_rate: float
    tokens_at_once: int = TOKENS_AT_ONCE

    @property
    def heads_at_once(self) -> int:
        return max(1, LANES // self.head_size)

    def rows_at_once(self, num_rows: int) -> int:
        """Rows of the batch in one run of a kernel: short ones are too little work by themselves.

        Shape(128, 12, 64, 0.1).rows_at_once(64) -> 8; of 512 tokens -> 1
        """
        tokens = self.tokens_at_once // (2 if self.length >= _LONG else 1)
        most = max(1, tokens // self.length)
        return math.gcd(1 << most.bit_length() - 1, num_rows)


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
    tokens_at_once: int = TOKENS_AT_ONCE,
    interpret: bool = False,
) -> Projected:
    """Multi-head attention within documents: softmax(query key^T) value, with dropout between.

    query: already divided by the root of the head's size.
    seed: of dropout; None drops nothing.
    first_row, first_head, all_heads: which part of the global batch and of the heads this is, where
        devices share them: masks are of the whole.
    tokens_at_once: in one run of a kernel, where so many rows are there.
    """
    length, features = query.shape[1:]
    rate = 0.0 if seed is None else dropout_rate
    shape = Shape(length, num_heads, features // num_heads, rate, tokens_at_once)
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
        compiler_params=pltpu.CompilerParams(
            dimension_semantics=("parallel", "parallel"),
            vmem_limit_bytes=_LONGEST_VMEM_BYTES if shape.length > _USUAL_VMEM_TOKENS else None,
        ),
        interpret=interpret,
        name=kernel.__name__.strip("_"),
    )(place, as_column, as_row, *arrays)


def _forward_kernel(
    shape: Shape, place: Any, keys: Any, queries: Any, query: Any, key: Any, value: Any,
    context: Any,
) -> None:  # fmt: skip
    block = _Block(shape, place, num_rows=query.shape[0])
    probabilities = block.probabilities(query, key, keys, queries)
    kept = [
        block.dropped(each, row, head).astype(key.dtype)
        for each, (row, head) in zip(probabilities, block.parts, strict=True)
    ]
    block.write(context, kept, value, axes=(0, 0))


def _backward_kernel(
    shape: Shape, place: Any, keys: Any, queries: Any, query: Any, key: Any, value: Any,
    gradient: Any, to_query: Any, to_key: Any, to_value: Any,
) -> None:  # fmt: skip
    """With p the probabilities [keys, queries], d those after dropout, o the context, and ' for
    gradients:

    v' = d o';  p' = dropout(v o'^T);  s' = p (p' - sum(p' p));  q' = s'^T k;  k' = s' q
    """
    dtype, block = query.dtype, _Block(shape, place, num_rows=query.shape[0])
    probabilities = block.probabilities(query, key, keys, queries)
    to_kept = [
        _matmul(value[row], block.only(gradient[row], head), (1, 1)) for row, head in block.parts
    ]
    kept, to_scores = [], []
    for each, of_kept, (row, head) in zip(probabilities, to_kept, block.parts, strict=True):
        kept.append(block.dropped(each, row, head).astype(dtype))
        of_each = block.dropped(of_kept, row, head)
        weighted = jnp.sum(of_each * each, axis=0, keepdims=True)
        to_scores.append((each * (of_each - weighted)).astype(dtype))
    block.write(to_value, kept, gradient, axes=(1, 0))
    block.write(to_query, to_scores, key, axes=(0, 0))
    block.write(to_key, to_scores, query, axes=(1, 0))


class _Block:
    """The rows and heads of one run of a kernel.

    What is done is done for all of them before what comes next: each for itself would wait for its
    products and sums, with the units idle.
    """

    def __init__(self, shape: Shape, place: Any, *, num_rows: int) -> None:
        self.shape, self.place, self.num_rows = shape, place, num_rows
        self.parts = [(row, head) for row in range(num_rows) for head in range(shape.heads_at_once)]

    def probabilities(self, query: Any, key: Any, keys: Any, queries: Any) -> list[jax.Array]:
        """Softmax of the scores of every part, in float32, [keys, queries].

        The keys of a query lie in different vectors, so that their maximum and sum are of whole
        vectors; side by side in one, each would cost a tree of rotations.
        """
        same = [keys[row] == queries[row] for row in range(self.num_rows)]
        scores = [
            jnp.where(same[row], _matmul(key[row], self.only(query[row], head), (1, 1)), _LOWEST)
            for row, head in self.parts
        ]
        return [_softmax(each) for each in scores]

    def only(self, features: jax.Array, head: int) -> jax.Array:
        """The features of one head, and zeros in the place of the others.

        A product over all lanes is then that of the head, and takes no longer: of a matrix unit,
        heads of 64 fill a half. To cut a head out would move its lanes.
        """
        if self.shape.heads_at_once == 1:
            return features
        if features.dtype != jnp.bfloat16:
            return jnp.where(self._is_of(head), features, 0.0)
        # Two numbers in each word: no vector unit of v5e knows them.
        words = pltpu.bitcast(features, jnp.int32)
        return pltpu.bitcast(jnp.where(self._is_of(head), words, 0), features.dtype)

    def dropped(self, values: jax.Array, row: int, head: int) -> jax.Array:
        """As `dropout.dropout` drops the probabilities of a part by halves, [keys, queries]."""
        shape, place = self.shape, self.place
        if shape.dropout_rate == 0.0:
            return values
        row_number = place[2] + pl.program_id(0) * self.num_rows + row
        head_number = place[3] + pl.program_id(1) * shape.heads_at_once + head
        first = (row_number * place[4] + head_number) * shape.length
        tokens = jax.lax.broadcasted_iota(jnp.int32, (1, shape.length), 1) + first
        seed = [jax.lax.bitcast_convert_type(place[i], jnp.uint32) for i in (0, 1)]
        of_queries = mix(tokens.astype(jnp.uint32) ^ seed[0])
        half = shape.length // 2
        of_keys = column_bits(jax.lax.broadcasted_iota(jnp.uint32, (half, 1), 0), seed[1])
        hashes, end = mix(of_queries ^ of_keys), keep_threshold(shape.dropout_rate)
        scaled = values * (1.0 / (1.0 - shape.dropout_rate))
        return jnp.concatenate([
            jnp.where(hashes << 16 < end, scaled[:half], 0.0),
            jnp.where(hashes < end, scaled[half:], 0.0),
        ])  # fmt: skip

    def write(
        self, result: Any, of_parts: Sequence[jax.Array], features: Any, *, axes: tuple[int, int]
    ) -> None:
        """Products of every part with the features of its row: of each its own head's lanes."""
        products = iter([
            _matmul(each, features[row], axes)
            for each, (row, _) in zip(of_parts, self.parts, strict=True)
        ])  # fmt: skip
        for row in range(self.num_rows):
            joined = next(products)
            for head in range(1, self.shape.heads_at_once):
                joined = jnp.where(self._is_of(head), next(products), joined)
            result[row] = joined.astype(result.dtype)

    def _is_of(self, head: int) -> jax.Array:
        """Which lanes are of a head: [1, lanes]."""
        size = self.shape.head_size
        lanes = jax.lax.broadcasted_iota(jnp.int32, (1, self.shape.heads_at_once * size), 1)
        return (lanes >= head * size) & (lanes < (head + 1) * size)


def _softmax(scores: jax.Array) -> jax.Array:
    """Over the first axis."""
    exponentials = jnp.exp(scores - jnp.max(scores, axis=0, keepdims=True))
    return exponentials * (1.0 / jnp.sum(exponentials, axis=0, keepdims=True))


def _matmul(left: jax.Array, right: jax.Array, axes: tuple[int, int]) -> jax.Array:
    """Product in float32 over one axis of each."""
    dimensions = (((axes[0],), (axes[1],)), ((), ()))
    return jax.lax.dot_general(left, right, dimensions, preferred_element_type=jnp.float32)
