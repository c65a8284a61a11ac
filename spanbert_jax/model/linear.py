"""The matrix products of the model. In: arrays and a kernel. Out: arrays, and fast gradients.

Axis letters: B batch, L length or slots, R rows (all axes but the last), I inputs, O outputs,
D embed, V vocabulary, N rows of a small table.
"""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from spanbert_jax.model.platform import platform

Inputs = Float[Array, "batch length inputs"]
Outputs = Float[Array, "batch length outputs"]
Kernel = Float[Array, "inputs outputs"]


def product(equation: str, left: Float[Array, "..."], right: Float[Array, "..."]) -> Array:
    """einsum in the dtype of its operands.

    Of bfloat16, XLA:CPU has products on the matrix units of a processor only with a float32 result;
    with one of bfloat16 it computes in float32, seven times as long.
    """
    if platform() != "cpu":
        return jnp.einsum(equation, left, right)
    return _einsum_to_float32(equation, left, right).astype(left.dtype)


def _einsum_to_float32(equation: str, left: jax.Array, right: jax.Array) -> jax.Array:
    return jnp.einsum(equation, left, right, preferred_element_type=jnp.float32)


@jax.custom_vjp
def matmul(inputs: Inputs, kernel: Kernel) -> Outputs:
    """inputs @ kernel.

    The kernel's gradient is computed as inputs^T gradient. JAX's own rule computes gradient^T
    inputs and transposes the result, for which XLA:CPU has no fast path: 7% of a whole step.
    """
    return product("BLI,IO->BLO", inputs, kernel)


def _matmul_forward(inputs: Inputs, kernel: Kernel) -> tuple[Outputs, tuple[Inputs, Kernel]]:
    # Not by calling matmul: policies of rematerialisation must see a matrix product here.
    return product("BLI,IO->BLO", inputs, kernel), (inputs, kernel)


def _matmul_backward(saved: tuple[Inputs, Kernel], gradient: Outputs) -> tuple[Inputs, Kernel]:
    inputs, kernel = saved
    return (
        product("BLO,IO->BLI", gradient, kernel),
        jnp.einsum("RI,RO->IO", _rows(inputs), _rows(gradient)),
    )


def _rows(values: Float[Array, "*rows features"]) -> Float[Array, "flat_rows features"]:
    return values.reshape(-1, values.shape[-1])


matmul.defvjp(_matmul_forward, _matmul_backward)


@partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def as_matrix(
    kernel: Float[Array, "..."], shape: tuple[int, int], axes: tuple[str, str]
) -> Float[Array, "inputs outputs"]:
    """A kernel of several heads, reshaped; `axes` are the logical ones of the matrix.

    Its gradient is summed over chips as the matrix that it was computed as. Where parameters are
    split, XLA would else compute it head by head: 64 columns, which fill half of a matrix unit.
    """
    del axes
    return kernel.reshape(shape)


def _as_matrix_forward(
    kernel: jax.Array, shape: tuple[int, int], axes: tuple[str, str]
) -> tuple[jax.Array, tuple[int, ...]]:
    return as_matrix(kernel, shape, axes), kernel.shape


def _as_matrix_backward(
    _: tuple[int, int], axes: tuple[str, str], shape: tuple[int, ...], gradient: jax.Array
) -> tuple[jax.Array]:
    return (nn.with_logical_constraint(gradient, axes).reshape(shape),)


as_matrix.defvjp(_as_matrix_forward, _as_matrix_backward)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def einsum_float32(
    equation: str, left: Float[Array, "..."], right: Float[Array, "..."]
) -> Float[Array, "..."]:
    """einsum with a float32 result of operands in the compute dtype: for softmax and losses.

    The gradient is rounded to the compute dtype before it meets the operands again: JAX's own rule
    would multiply float32 by bfloat16, for which no chip has a fast path.
    """
    return _einsum_to_float32(equation, left, right)


def _einsum_forward(equation: str, left: jax.Array, right: jax.Array) -> tuple[jax.Array, Any]:
    return _einsum_to_float32(equation, left, right), (left, right)


def _einsum_backward(equation: str, saved: Any, gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    _, transpose = jax.vjp(partial(jnp.einsum, equation), *saved)
    return transpose(gradient.astype(saved[0].dtype))


einsum_float32.defvjp(_einsum_forward, _einsum_backward)


@jax.custom_vjp
def table_product_float32(
    slots: Float[Array, "*batch embed"], table: Float[Array, "vocab embed"]
) -> Float[Array, "*batch vocab"]:
    """slots @ table^T with a float32 result of operands in the compute dtype.

    Gradients as those of `matmul` and `einsum_float32`, for the same reasons.
    """
    return _einsum_to_float32("...D,VD->...V", slots, table)


def _table_product_forward(slots: jax.Array, table: jax.Array) -> tuple[jax.Array, Any]:
    return _einsum_to_float32("...D,VD->...V", slots, table), (slots, table)


def _table_product_backward(saved: Any, gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    slots, table = saved
    gradient = gradient.astype(slots.dtype)
    return (
        product("...V,VD->...D", gradient, table),
        jnp.einsum("RV,RD->VD", _rows(gradient), _rows(slots)),
    )


table_product_float32.defvjp(_table_product_forward, _table_product_backward)


@jax.custom_vjp
def rows_of_small_table(
    table: Float[Array, "rows embed"], ids: Int[Array, "batch length"]
) -> Float[Array, "batch length embed"]:
    """Rows of a table that has few, such as that of segments.

    Their gradients are summed by a product. JAX's own rule scatters, one token after the other, and
    on TPUs takes as long for two rows as for a whole vocabulary.
    """
    return jnp.take(table, ids, axis=0)


def _rows_forward(table: jax.Array, ids: jax.Array) -> tuple[jax.Array, Any]:
    return rows_of_small_table(table, ids), (ids, len(table))


def _rows_backward(saved: Any, gradient: jax.Array) -> tuple[jax.Array, None]:
    ids, num_rows = saved
    chosen = jax.nn.one_hot(ids.reshape(-1), num_rows, dtype=gradient.dtype)
    # Chips would round the gradient to bfloat16, which a scatter does not.
    exact = jax.lax.Precision.HIGHEST
    return jnp.einsum("RN,RD->ND", chosen, _rows(gradient), precision=exact), None


rows_of_small_table.defvjp(_rows_forward, _rows_backward)


class Linear(nn.Module):
    """inputs @ kernel + bias, in `dtype`; the parameters are float32."""

    features: int
    dtype: Any
    kernel_init: Any
    bias_init: Any

    @nn.compact
    def __call__(self, inputs: Inputs) -> Outputs:
        kernel = self.param("kernel", self.kernel_init, (inputs.shape[-1], self.features))
        bias = self.param("bias", self.bias_init, (self.features,))
        outputs = matmul(inputs.astype(self.dtype), kernel.astype(self.dtype))
        return outputs + bias.astype(self.dtype)
