"""Where numbers cease to be numbers. In: parameters and a batch. Out: the first module of it.

For the error of a run that gives up: what to look at, in the words of the model.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from spanbert_jax.model.layer_stack import unstack_layers
from spanbert_jax.training.mesh import LOGICAL_AXIS_RULES, replicated
from spanbert_jax.training.objective import Params, Sums, total_loss
from spanbert_jax.training.state_digest import leaves_by_path

_NAMED = 3


def diagnose(objective: Any, params: Params, batch: Any, *, key: jax.Array, mesh: Mesh) -> str:
    """Say what of a step with `batch` is first not finite.

    objective: a PretrainObjective or TaskObjective; its layers are written out for this.

    -> "the parameter encoder/layer_3/attention/query/kernel is not finite"
    -> "the first module whose output is not finite is encoder/layer_3/mlp"
    -> "all outputs are finite, the loss is not"
    -> "outputs and loss are finite; the gradient is not at encoder/layer_3/norm/bias and 2 more"
    """
    broken = [path for path, is_finite in _finite_leaves(params, mesh).items() if not is_finite]
    if broken:
        return f"the parameter {_listed(broken)} is not finite"
    compute = dataclasses.replace(objective.model.compute, scan_layers=False, remat="none")
    plain = dataclasses.replace(objective, model=objective.model.clone(compute=compute))
    names: list[str] = []

    def forward(params: Params, batch: Any) -> tuple[jax.Array, list[jax.Array]]:
        with _watched(names) as finite, nn.logical_axis_rules(LOGICAL_AXIS_RULES):
            sums: Sums = plain.sums(params, batch, key)
        loss = total_loss(sums, plain.scales(batch))
        return loss, finite

    params = jax.jit(unstack_layers)(params)
    loss, finite = jax.jit(forward, out_shardings=replicated(mesh))(params, batch)
    for name, is_finite in zip(names, finite, strict=True):
        if not is_finite:
            return f"the first module whose output is not finite is {name}"
    if not jnp.isfinite(loss):
        return "all outputs are finite, the loss is not"
    gradient = jax.jit(jax.grad(lambda params, batch: forward(params, batch)[0]))(params, batch)
    broken = [path for path, is_finite in _finite_leaves(gradient, mesh).items() if not is_finite]
    if broken:
        return f"outputs and loss are finite; the gradient is not at {_listed(broken)}"
    return "a batch later, all is finite: outputs, loss and gradient"


class _watched:
    """Inside, every module that is called notes its name and whether its output is finite.

    A module is done after those that it calls: the first one in the list is the innermost.
    """

    def __init__(self, names: list[str]) -> None:
        self._names, self._finite = names, []  # type: list[str], list[jax.Array]
        names.clear()

    def __enter__(self) -> list[jax.Array]:
        self._context = nn.intercept_methods(self._note)
        self._context.__enter__()
        return self._finite

    def __exit__(self, *error: Any) -> None:
        self._context.__exit__(*error)

    def _note(
        self,
        call: Callable[..., Any],
        args: Any,
        kwargs: Any,
        context: nn.module.InterceptorContext,
    ) -> Any:
        output = call(*args, **kwargs)
        if context.method_name == "__call__":
            self._names.append("/".join(context.module.path) or type(context.module).__name__)
            self._finite.append(_is_finite(output))
        return output


def _is_finite(tree: Any) -> jax.Array:
    leaves = [jnp.asarray(leaf) for leaf in jax.tree.leaves(tree)]
    numbers = [leaf for leaf in leaves if jnp.issubdtype(leaf.dtype, jnp.floating)]
    return jnp.all(
        jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in numbers] or [jnp.array(True)])
    )


def _finite_leaves(tree: Any, mesh: Mesh) -> dict[str, bool]:
    """By the path of each array: {"encoder/layer_0/norm/bias": True}."""
    found = jax.jit(
        lambda tree: jax.tree.map(lambda leaf: jnp.all(jnp.isfinite(leaf)), tree),
        out_shardings=replicated(mesh),
    )(tree)
    return {path: bool(is_finite) for path, is_finite in leaves_by_path(found).items()}


def _listed(paths: list[str]) -> str:
    more = len(paths) - _NAMED
    return ", ".join(paths[:_NAMED]) + (f" and {more} more" if more > 0 else "")
