"""The parameters of a model as arrays by path: their shapes, and their random beginnings.

A path is "encoder/layer_0/attention/qkv_bias"; layers are separate (model/layer_stack.py).
"""

from collections.abc import Iterator, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from spanbert_jax.config import ModelConfig, ObjectiveConfig
from spanbert_jax.data.batch import empty_batch
from spanbert_jax.model.pretraining import SpanBert
from spanbert_jax.training.objective import PretrainObjective

Params = dict[str, Any]


def flatten(params: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves with their paths: {"pooler": {"bias": b}} -> ("pooler/bias", b)."""
    for name, node in params.items():
        if isinstance(node, Mapping):
            yield from flatten(node, f"{prefix}{name}/")
        else:
            yield prefix + name, node


def nest(leaves: Mapping[str, Any]) -> Params:
    """The inverse of `flatten`: {"pooler/bias": b} -> {"pooler": {"bias": b}}."""
    tree: Params = {}
    for path, leaf in leaves.items():
        *parents, name = path.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = leaf
    return tree


def parameter_shapes(model: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Shape of every parameter of `model`; nothing is computed."""
    shapes = jax.eval_shape(lambda: _initial(model, jax.random.key(0)))
    return {path: leaf.shape for path, leaf in flatten(shapes)}


def initial_parameters(model: ModelConfig, paths: list[str], *, seed: int) -> dict[str, np.ndarray]:
    """Random beginnings of some parameters, as pretraining draws them; of no others."""
    if not paths:
        return {}

    @jax.jit
    def some(key: jax.Array) -> dict[str, jax.Array]:
        # What is not returned, the compiler does not draw.
        leaves = dict(flatten(_initial(model, key)))
        return {path: leaves[path] for path in paths}

    return {path: np.asarray(leaf) for path, leaf in some(jax.random.key(seed)).items()}


def _initial(model: ModelConfig, key: jax.Array) -> Params:
    batch = jax.tree.map(jnp.asarray, empty_batch(1, model.max_positions, 1))
    return nn.unbox(PretrainObjective(SpanBert(model), ObjectiveConfig()).init(key, batch))
