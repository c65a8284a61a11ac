"""What all processes decide together while they train. In: each one's wish. Out: one answer."""

from collections import deque
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from spanbert_jax.training.interrupts import StopRequest
from spanbert_jax.training.mesh import replicated
from spanbert_jax.training.meter import STEPS_IN_FLIGHT


class Vote:
    """Asks every process the same question at every step; one yes is a yes.

    The answer to a question comes STEPS_IN_FLIGHT questions later, when the devices have surely
    added it up beside the steps: nobody waits for it, and all processes have it at the same step.
    """

    def __init__(self, mesh: Mesh) -> None:
        self._sharding = NamedSharding(mesh, PartitionSpec(mesh.axis_names))
        self._num_local = len(mesh.local_devices)
        self._any = jax.jit(jnp.max, out_shardings=replicated(mesh))
        self._answers: deque[jax.Array] = deque()

    def cast(self, wish: bool) -> bool:
        """Vote at this step; whether anybody wished for it STEPS_IN_FLIGHT steps ago."""
        ballots = np.full(self._num_local, wish, np.int32)
        asked = jax.make_array_from_process_local_data(self._sharding, ballots)
        self._answers.append(self._any(asked))
        return len(self._answers) > STEPS_IN_FLIGHT and bool(self._answers.popleft())


def stopping(
    mesh: Mesh, stop: StopRequest, *, trouble: Callable[[], BaseException | None]
) -> Callable[[], bool]:
    """Whether the run stops here, asked once a step: as this process wishes, or as all agree.

    trouble: what will keep this process from reading its next batches.
    """
    if jax.process_count() == 1:
        return lambda: stop.signal_number is not None
    vote = Vote(mesh)
    return lambda: vote.cast(stop.signal_number is not None or trouble() is not None)
