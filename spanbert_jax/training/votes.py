"""What all processes decide together while they train. In: each one's wish. Out: one answer."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from spanbert_jax.training.interrupts import StopRequest
from spanbert_jax.training.mesh import replicated
from spanbert_jax.training.meter import STEPS_IN_FLIGHT
from spanbert_jax.training.processes import any_of_all, are_several, reason_of_all
from spanbert_jax.training.saved_step import Agree

# Once it is known that no more can be read, a step is taken, then those until all have agreed.
BATCHES_IN_RESERVE = STEPS_IN_FLIGHT + 1


class Ballot(Protocol):
    """A question to be asked at every step."""

    def cast(self, wish: bool) -> bool:
        """What was decided; the answer may be to a question of earlier steps."""

    def clear(self) -> None:
        """Ask anew: what was wished before does not count any more."""


class OwnWish:
    """The ballot of a single process."""

    def cast(self, wish: bool) -> bool:
        return wish

    def clear(self) -> None:
        pass


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

    def clear(self) -> None:
        """Forget what is not answered yet; to be done by all processes at the same step."""
        self._answers.clear()


class Reason(Protocol):
    """`reason_of_all`: why something failed in one of all processes, "" where it did in none."""

    def __call__(self, here: str, *, is_own: bool = True) -> str: ...


@dataclass(frozen=True)
class Accord:
    """How the processes of a run come to one decision; a single one decides by itself."""

    agree: Agree = any_of_all
    reason: Reason = reason_of_all
    ballot: Ballot = field(default_factory=OwnWish)
    """For what is asked while steps are taken; for the others all wait for each other."""


def accord(mesh: Mesh) -> Accord:
    """Of the processes that there are."""
    return Accord(ballot=Vote(mesh)) if are_several() else Accord()


def batches_in_reserve() -> int:
    """How many batches a process must have left when it learns that it can read no more."""
    return BATCHES_IN_RESERVE if are_several() else 0


def stopping(
    mesh: Mesh, stop: StopRequest, *, trouble: Callable[[], BaseException | None]
) -> Callable[[], bool]:
    """Whether the run stops here, asked once a step: as this process wishes, or as all agree.

    trouble: what will keep this process from reading its next batches.
    """
    if not are_several():
        return lambda: stop.signal_number is not None
    vote = Vote(mesh)
    return lambda: vote.cast(stop.signal_number is not None or trouble() is not None)
