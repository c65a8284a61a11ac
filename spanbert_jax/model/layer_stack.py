"""The two layouts of the layers' parameters, and the way from each to the other.

separate: {"layer_0": {...}, "layer_1": {...}}, for layers that are written out one after the other;
stacked: {"layers": {...}}, every array with a leading axis of the layers, for a loop over them.
In, out: parameters or any tree that holds some (a train state), of arrays, of their shapes with
shardings, or boxed with their logical axes.
"""

import re
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec

STACK, LAYER = "layers", re.compile(r"layer_(\d+)")
"""Names of the layers together, and of one, by its number."""


def is_stacked(tree: Any) -> bool:
    """Whether some parameters in `tree` are stacked."""
    return any(STACK in node for node in _layer_parents(tree))


def unstack_layers(tree: Any) -> Any:
    """Give every layer arrays of its own; what is separate already stays.

    {"layers": {"bias": [[1.], [2.]]}} -> {"layer_0": {"bias": [1.]}, "layer_1": {"bias": [2.]}}
    """

    def unstack(parent: dict[str, Any]) -> dict[str, Any]:
        stacked = parent[STACK]
        boxes_or_leaves = jax.tree.leaves(stacked, is_leaf=_is_box)
        num_layers = nn.unbox(boxes_or_leaves[0]).shape[0]
        separate = {
            f"layer_{index}": jax.tree.map(
                lambda leaf, index=index: _take(leaf, index), stacked, is_leaf=_is_box
            )
            for index in range(num_layers)
        }
        return {name: node for name, node in parent.items() if name != STACK} | separate

    return _map_parents(lambda parent: unstack(parent) if STACK in parent else parent, tree)


def stack_layers(tree: Any) -> Any:
    """The inverse of `unstack_layers`; what is stacked already stays.

    {"layer_0": {"bias": [1.]}, "layer_1": {"bias": [2.]}} -> {"layers": {"bias": [[1.], [2.]]}}
    """

    def stack(parent: dict[str, Any]) -> dict[str, Any]:
        layers = [parent[f"layer_{index}"] for index in range(sum(map(_is_layer, parent)))]
        stacked = jax.tree.map(lambda *leaves: _put_together(leaves), *layers, is_leaf=_is_box)
        rest = {name: node for name, node in parent.items() if not _is_layer(name)}
        return rest | {STACK: stacked}

    return _map_parents(lambda parent: parent if STACK in parent else stack(parent), tree)


def _is_layer(name: str) -> bool:
    return LAYER.fullmatch(name) is not None


def _is_parent(node: Any) -> bool:
    return isinstance(node, dict) and (STACK in node or "layer_0" in node)


def _layer_parents(tree: Any) -> list[dict[str, Any]]:
    return [node for node in jax.tree.leaves(tree, is_leaf=_is_parent) if _is_parent(node)]


def _map_parents(convert: Any, tree: Any) -> Any:
    return jax.tree.map(
        lambda node: convert(node) if _is_parent(node) else node, tree, is_leaf=_is_parent
    )


def _is_box(node: Any) -> bool:
    return isinstance(node, nn.Partitioned)


def _take(leaf: Any, index: int) -> Any:
    """Layer `index` of a stacked array, shape or box."""
    if isinstance(leaf, nn.Partitioned):
        return leaf.replace(value=_take(leaf.value, index), names=leaf.names[1:])
    if isinstance(leaf, jax.ShapeDtypeStruct):
        sharding = _resharded(leaf.sharding, lambda spec: spec[1:])
        return jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype, sharding=sharding)
    return leaf[index]


def _put_together(leaves: Any) -> Any:
    """The stack of equal arrays, shapes or boxes."""
    first = leaves[0]
    if isinstance(first, nn.Partitioned):
        value = _put_together([leaf.value for leaf in leaves])
        return first.replace(value=value, names=(STACK, *first.names))
    if isinstance(first, jax.ShapeDtypeStruct):
        sharding = _resharded(first.sharding, lambda spec: (None, *spec))
        shape = (len(leaves), *first.shape)
        return jax.ShapeDtypeStruct(shape, first.dtype, sharding=sharding)
    return jnp.stack(leaves)


def _resharded(sharding: Any, change: Any) -> Any:
    if not isinstance(sharding, NamedSharding):
        return sharding
    return NamedSharding(sharding.mesh, PartitionSpec(*change(tuple(sharding.spec))))
