"""Where the processes of a run wait for each other while they save, and notice that one has failed.

In: who has come where. Out: nothing once all have, or `OSError` for those who wait in vain.

A process whose write fails leaves out the barriers that follow it and goes on to the last one of
the save, where it waits for the others, as they wait for it where it never comes: for twenty
minutes, by the barriers of Orbax. That all wait, and not for the same, tells it here at once.
"""

import time
from collections import Counter

from spanbert_jax.training.liveness import Store

_FIRST_PAUSE, _LONGEST_PAUSE = 0.01, 0.1


class LeftAlone(OSError):
    """Another process has failed to save; it knows why."""


class SaveBarrier:
    """The `barrier_sync_fn` of Orbax' `AsyncOptions`."""

    def __init__(self, store: Store, *, process: int, num_processes: int, run: int = 0) -> None:
        """run: the number of the run among those that the processes train, one after the other."""
        self._store, self._process, self._num_processes = store, process, num_processes
        self._run = run
        self._number = 0
        self._visits: Counter[str] = Counter()
        """Of this save, by key: Orbax comes to some more than once."""

    def begin(self) -> None:
        """A further save; all processes begin it together."""
        self._number += 1
        self._visits.clear()
        if self._process == 0:
            # Nobody looks there any more: all have come to the save that followed it.
            self._store.key_value_delete(self._folder(self._number - 2))

    def __call__(self, *, key: str, timeout_ms: int) -> None:
        """Return when all processes have come to `key` in the save that has begun.

        Raises:
            LeftAlone: one waits elsewhere, and will not come.
            TimeoutError: one has not come in this time.
        """
        self._visits[key] += 1
        here, end = f"{key}/{self._visits[key]}", time.monotonic() + timeout_ms / 1_000
        folder = self._folder(self._number)
        self._store.key_value_set(f"{folder}arrived/{here}/{self._process}", "")
        self._store.key_value_set(f"{folder}waiting/{self._process}", here, allow_overwrite=True)
        pause = _FIRST_PAUSE
        # In this order: where all have come, it is not too late, whatever failed elsewhere.
        while not self._is_complete(here):
            if self._has_failed() or self._is_stuck():
                # For the rest of the save: who leaves a place after this is missed at it.
                self._store.key_value_set(f"{folder}failed/0", "", allow_overwrite=True)
                raise LeftAlone("another process could not write")
            if time.monotonic() > end:
                raise TimeoutError(f"a process did not come to {key} in {timeout_ms / 1_000:g} s")
            time.sleep(pause)
            pause = min(1.5 * pause, _LONGEST_PAUSE)

    def _is_complete(self, place: str) -> bool:
        arrived = self._store.key_value_dir_get(f"{self._folder(self._number)}arrived/{place}/")
        return len(arrived) == self._num_processes

    def _has_failed(self) -> bool:
        return bool(self._store.key_value_dir_get(f"{self._folder(self._number)}failed/"))

    def _is_stuck(self) -> bool:
        """Whether all processes wait, and not for the same."""
        waiting = self._store.key_value_dir_get(f"{self._folder(self._number)}waiting/")
        places = {place for _, place in waiting}
        if len(waiting) < self._num_processes or len(places) == 1:
            return False
        # Who has not looked yet will find that all have come, and go on.
        return not any(self._is_complete(place) for place in places)

    def _folder(self, number: int) -> str:
        return f"spanbert/saves/{self._run}/{number}/"
