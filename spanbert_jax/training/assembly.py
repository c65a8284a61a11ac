"""A model on a mesh: sharded state, jitted steps, batches on devices.

In: an objective, the optimizer's config, batches of the host. Out: what the loop drives.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from spanbert_jax.config import OptimizerConfig
from spanbert_jax.training.compiler_options import compiler_options
from spanbert_jax.training.compiling import Given
from spanbert_jax.training.diagnosis import diagnose
from spanbert_jax.training.mesh import (
    LOGICAL_AXIS_RULES,
    batch_sharding,
    replicated,
    state_shardings,
)
from spanbert_jax.training.objective import Objective
from spanbert_jax.training.optimizer import make_optimizer
from spanbert_jax.training.placement import BatchPlacement, spread
from spanbert_jax.training.schedule import make_schedule
from spanbert_jax.training.train_step import (
    Metrics,
    TrainState,
    init_state,
    make_train_step,
)


@dataclass(frozen=True)
class Assembly:
    """The compiled side of a run on one mesh."""

    mesh: Mesh
    abstract_state: TrainState
    """Shapes, dtypes and shardings of the state."""
    init: Any
    """() -> TrainState, sharded as it is born."""
    train_step: Any
    """(state, batch) -> (state, metrics); the state is donated."""
    eval_step: Any
    """(params, batch) -> sums, or outputs: the same on every device."""
    objective: Objective
    seed: int

    @property
    def placement(self) -> BatchPlacement:
        """Of the rows of a batch on the mesh."""
        return BatchPlacement(self.mesh)

    def on_devices(self, batches: Iterable[Any]) -> Iterator[Any]:
        """Global arrays from batches that every process has all rows of."""
        return self.placement.whole_on_devices(batches)

    def diagnose(self, state: TrainState, batch: Any) -> str:
        """Where numbers cease to be finite in a step that was skipped."""
        key = jax.random.fold_in(jax.random.key(self.seed), state.step)
        return diagnose(self.objective, state.params, batch, key=key, mesh=self.mesh)

    def placed(self, params: Any) -> Any:
        """Parameters from elsewhere as those of the state lie on the devices."""
        shardings = jax.tree.map(lambda leaf: leaf.sharding, self.abstract_state.params)
        return jax.tree.map(spread, params, shardings)

    @property
    def num_parameters(self) -> int:
        return sum(leaf.size for leaf in jax.tree.leaves(self.abstract_state.params))


def assemble(
    objective: Objective,
    *,
    mesh: Mesh,
    example: Any,
    optimizer: OptimizerConfig,
    num_steps: int,
    num_microbatches: int,
    seed: int,
    eval_step: Callable[[Any, Any], Any],
    max_norm_ratio: float = 0.0,
    added_compiler_options: Sequence[str] = (),
) -> Assembly:
    """Shard and jit what `objective` needs to be trained.

    example: a batch of any size that the mesh can split, for the shapes of the parameters.
    max_norm_ratio: see `make_train_step`. added_compiler_options: see `compiler_options`.
    """
    schedule = make_schedule(optimizer, num_steps)
    transformation = make_optimizer(optimizer, schedule)

    def init(seed: jax.Array) -> TrainState:
        # Here, where it is traced: the mesh may be of chips that are not at hand.
        batch = jax.tree.map(jnp.asarray, example)
        return init_state(
            objective, transformation, batch=batch, seed=seed, looks_for_spikes=max_norm_ratio > 0
        )

    def train_step(state: TrainState, batch: Any, seed: jax.Array) -> tuple[TrainState, Metrics]:
        step = make_train_step(
            objective, transformation, schedule=schedule, num_microbatches=num_microbatches,
            seed=seed, max_norm_ratio=max_norm_ratio,
        )  # fmt: skip
        return step(state, batch)

    def rules(function: Any) -> Any:
        """`function` traced with the meaning of the logical axes on this mesh."""

        def traced(*args: Any) -> Any:
            with nn.logical_axis_rules(LOGICAL_AXIS_RULES):
                return function(*args)

        return traced

    given = np.uint32(seed)
    boxed = jax.eval_shape(rules(init), given)
    unboxed = nn.unbox(boxed)
    shardings = state_shardings(unboxed, boxed.params, mesh)
    abstract = jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        unboxed, shardings,
    )  # fmt: skip
    rows, whole = batch_sharding(mesh), replicated(mesh)
    options = compiler_options(mesh, added_compiler_options)
    return Assembly(
        mesh=mesh, objective=objective, seed=seed,
        abstract_state=abstract,
        init=Given(
            jax.jit(rules(lambda seed: nn.unbox(init(seed))), out_shardings=shardings), given
        ),
        train_step=Given(
            jax.jit(
                rules(train_step), in_shardings=(shardings, rows, whole),
                out_shardings=(shardings, whole), donate_argnums=0, compiler_options=options,
            ),
            given,
        ),
        eval_step=jax.jit(
            rules(eval_step), in_shardings=(shardings.params, rows), out_shardings=whole,
            compiler_options=options,
        ),
    )  # fmt: skip
