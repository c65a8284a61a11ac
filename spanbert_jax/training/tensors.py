"""What one tensor of the published models is among arrays that hold several, and what a matrix is.

Optimizers that look at whole tensors (norms, factors, singular values) must see those of BERT: one
layer's, and query, key and value apart. Here the layers may be stacked, the three always are, and
attention keeps its heads as axes. In: parameters by their paths. Out: their tensors, one by one.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import optax

from spanbert_jax.model.layer_stack import STACK

# Parts of a parameter's name that put a leading axis of whole tensors before it.
_STACKS = (STACK, "qkv_kernel", "qkv_bias")
# Axes that a matrix product sums over, by the last part of the name: those of the input.
_INPUTS = {
    "kernel": 1, "qkv_kernel": 1, "out_kernel": 2, "gate_kernel": 1, "inner_kernel": 1,
    "outer_kernel": 1,
}  # fmt: skip


class Layout(NamedTuple):
    """How the axes of an array are to be read: stacks first, then inputs, then outputs."""

    num_stacks: int
    """Leading axes, over whole tensors."""
    num_inputs: int
    """Next axes, over which a matrix product sums; 0 where it is no matrix."""


def names_of(path: tuple[Any, ...]) -> list[str]:
    """The parts of a parameter's name: -> ["encoder", "layer_0", "attention", "out_kernel"]"""
    return jax.tree_util.keystr(path, simple=True, separator="/").split("/")


def layout_of(path: tuple[Any, ...]) -> Layout:
    """ "encoder/layers/attention/qkv_kernel" -> Layout(num_stacks=2, num_inputs=1)"""
    names = names_of(path)
    return Layout(sum(name in _STACKS for name in names), _INPUTS.get(names[-1], 0))


def each_tensor(
    inner: optax.GradientTransformation, *, as_matrices: bool = False
) -> optax.GradientTransformation:
    """`inner` applied to every tensor as if it were the only one.

    Its state has the tree of the parameters, with a state of `inner` in place of each array, whose
    arrays have the array's leading axes of whole tensors.

    as_matrices: `inner` sees (12, 64, 768) of 12 heads of 64 as the matrix (768, 768) that it is.
    """

    def on_tensors(path: tuple[Any, ...], function: Callable[..., Any], *trees: Any) -> Any:
        for _ in range(layout_of(path).num_stacks):
            function = jax.vmap(function)
        return function(*trees)

    def seen(path: tuple[Any, ...], array: jax.Array) -> jax.Array:
        return as_matrix(layout_of(path), array) if as_matrices else array

    def init(params: optax.Params) -> Any:
        return jax.tree_util.tree_map_with_path(
            lambda path, param: on_tensors(path, inner.init, seen(path, param)), params
        )

    def update(gradients: optax.Updates, state: Any, params: optax.Params) -> tuple[Any, Any]:
        def one(path: tuple[Any, ...], gradient: jax.Array, param: jax.Array, before: Any) -> Any:
            changed, after = on_tensors(
                path, inner.update, seen(path, gradient), before, seen(path, param)
            )
            return changed.reshape(gradient.shape), after

        paths, tree = jax.tree_util.tree_flatten_with_path(gradients)
        structure: Any = tree
        pairs = [
            one(path, gradient, param, before)
            for (path, gradient), param, before in zip(
                paths, structure.flatten_up_to(params), structure.flatten_up_to(state), strict=True
            )
        ]
        changed, after = zip(*pairs, strict=True)
        return structure.unflatten(changed), structure.unflatten(after)

    return optax.GradientTransformation(init, update)


def as_matrix(layout: Layout, array: jax.Array) -> jax.Array:
    """An array with two axes behind those of its stacks; what is no matrix stays.

    layout_of(".../out_kernel"), (12, 64, 768) -> (768, 768)
    """
    stacks, shape = array.shape[: layout.num_stacks], array.shape[layout.num_stacks :]
    if not layout.num_inputs:
        return array
    rows, columns = shape[: layout.num_inputs], shape[layout.num_inputs :]
    return array.reshape(*stacks, math.prod(rows), math.prod(columns))
