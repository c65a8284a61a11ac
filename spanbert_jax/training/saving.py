"""Saves that may fail, such as on a full disk: said, tried again, no reason to stop training.

In: states to save. Out: what `Checkpoints` writes of them; an error when a run ends unsaved.
"""

import time
from collections.abc import Callable
from typing import Any

from spanbert_jax.config import CheckpointConfig
from spanbert_jax.errors import UserError, brief, storage_cause
from spanbert_jax.training.checkpoint import Checkpoints
from spanbert_jax.training.console import duration
from spanbert_jax.training.save_barrier import LeftAlone
from spanbert_jax.training.votes import Accord

# A pause doubles up to so many times the first one.
_MAX_GROWTH = 16
_FIRST_PAUSE_AT_END = 1.0


class Saving:
    """The saves of one run. All processes call it at the same steps."""

    def __init__(
        self,
        checkpoints: Checkpoints,
        config: CheckpointConfig,
        *,
        start_step: int,
        best: float | None = None,
        say: Callable[[str], None],
        accord: Accord | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """start_step: that the run goes on from, 0 for a new one. best: the best score so far.
        accord: of the processes that save; without it, one alone."""
        self.saved_step = start_step
        """The newest step that is saved, or being written without a failure so far."""
        self._complete_step = start_step
        self._best = self._complete_best = best
        self._checkpoints = checkpoints
        self._config = config
        self._say, self._clock, self._sleep = say, clock, sleep
        self._accord = accord or Accord()
        self._pause = config.retry_seconds
        self._retry_at: float | None = None
        self._why = ""
        self._has_said = self._at_end = False

    def is_due_again(self) -> bool:
        """Whether a save has failed, and it is time for the next one.

        Asks all processes, and waits for what has been written: all ask it at the same steps.
        """
        if self._is_writing:
            if self._accord.ballot.cast(not self._checkpoints.is_saving):
                self.settle()
            return False
        if self._retry_at is None:
            return False
        return self._accord.ballot.cast(self._clock() >= self._retry_at)

    @property
    def _is_writing(self) -> bool:
        return self.saved_step != self._complete_step

    def is_best(self, score: float) -> bool:
        """Whether a score is better than those of all states that are saved."""
        return self._checkpoints.ranking.is_better(score, self._best)

    def save(self, step: int, state: Any, *, score: float | None, **what: Any) -> None:
        """Begin to save a state; `what` is that of `Checkpoints.save`. A failure is said."""
        self.settle()
        checkpoints = self._checkpoints
        is_begun = self._attempt(step, lambda: checkpoints.check_place(state)) and self._attempt(
            step, lambda: checkpoints.save(step, state, score=score, **what)
        )
        if not is_begun:
            return
        self.saved_step = step
        if score is not None and self.is_best(score):
            self._best = score
        if self._retry_at is not None:
            # The storage has failed before: how it fares now is worth the wait.
            self.settle()

    def settle(self) -> None:
        """Wait for what is being written; a failure is said."""
        if not self._is_writing:
            return
        if self._attempt(self.saved_step, self._checkpoints.wait):
            self._succeeded()

    def save_at_end(self, step: int, state: Any, **what: Any) -> None:
        """Return when a state is saved; try again, with growing pauses, until it is.

        Raises:
            UserError: it has failed for `--checkpoint.give-up-seconds`.
        """
        give_up_at = self._clock() + self._config.give_up_seconds
        pause = _FIRST_PAUSE_AT_END
        self._has_said, self._at_end = False, True
        while True:
            self.save(step, state, **what)
            self.settle()
            if self.saved_step == step:
                return
            if not self._accord.agree(self._checkpoints.latest_step() != step):
                # What followed has failed, such as deleting an old one.
                self.saved_step = step
                self._succeeded()
                return
            if self._accord.agree(self._clock() + pause > give_up_at):
                raise self._lost(step)
            self._sleep(pause)
            pause = min(2 * pause, max(self._config.retry_seconds, _FIRST_PAUSE_AT_END))

    def _attempt(self, step: int, action: Callable[[], None]) -> bool:
        """Whether all processes could do it; a failure is said."""
        cause = None
        try:
            action()
        except Exception as error:
            cause = storage_cause(error)
            if cause is None:
                raise
        why = self._accord.reason(
            (brief(cause) or type(cause).__name__) if cause else "",
            is_own=not isinstance(cause, LeftAlone),
        )
        self._accord.ballot.clear()
        if why:
            self._failed(step, why)
        return not why

    def _failed(self, step: int, why: str) -> None:
        self._checkpoints.give_up_unfinished()
        self.saved_step, self._best = self._complete_step, self._complete_best
        if self._retry_at is not None:
            self._pause = min(2 * self._pause, _MAX_GROWTH * self._config.retry_seconds)
        self._retry_at, self._why = self._clock() + self._pause, why
        if not self._has_said:
            # Once, until a save succeeds: those that fail after it mostly do so for its reason.
            self._say(f"step {step:,} could not be saved ({why}); {self._what_follows()}")
        self._has_said = True

    def _what_follows(self) -> str:
        if self._at_end:
            return f"it is tried again for {duration(self._config.give_up_seconds)}"
        return f"training goes on, and saves again in {duration(self._pause)} at the latest"

    def _succeeded(self) -> None:
        self._complete_step, self._complete_best = self.saved_step, self._best
        if self._retry_at is not None:
            self._say(f"step {self.saved_step:,} is saved")
        self._retry_at, self._pause = None, self._config.retry_seconds
        self._why, self._has_said = "", False

    def _lost(self, step: int) -> UserError:
        kept = self._complete_step
        since = f"the newest checkpoint, of step {kept:,}" if kept else "the start: none was saved"
        return UserError(
            f"--checkpoint.give-up-seconds {self._config.give_up_seconds:g}: the state of step "
            f"{step:,} must be saved within this time, found that it could not be ({self._why}); "
            f"the {step - kept:,} steps since {since}, are lost: make room or mend the storage, "
            "then run the same command"
        )
