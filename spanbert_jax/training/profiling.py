"""A trace of some steps, for XProf and TensorBoard. In: the step function. Out: it, traced."""

from collections.abc import Callable
from typing import Any

import jax
from etils import epath

from spanbert_jax.errors import brief
from spanbert_jax.training.console import Console

PROFILE_FOLDER = "profile"


class Profiler:
    """Takes steps, and traces those that it was asked for; a context manager.

    Of several processes each one writes its own trace. Where it cannot, it says so, once, and takes
    the steps without one.
    """

    def __init__(
        self,
        train_step: Callable[[Any, Any], tuple[Any, Any]],
        *,
        run_dir: epath.PathLike,
        steps: range,
        start_step: int,
        console: Console,
    ) -> None:
        """steps: numbers of the steps that are traced; none for an empty range."""
        self._train_step, self._steps, self._console = train_step, steps, console
        self._folder = epath.Path(run_dir) / PROFILE_FOLDER
        self._step = start_step
        self._is_tracing = False

    def __call__(self, state: Any, batch: Any) -> tuple[Any, Any]:
        self._step += 1
        if self._step in self._steps and not self._is_tracing:
            # What was started before belongs to no traced step.
            jax.block_until_ready(state)
            self._is_tracing = self._attempt(lambda: jax.profiler.start_trace(str(self._folder)))
        with jax.profiler.StepTraceAnnotation("train", step_num=self._step):
            state, metrics = self._train_step(state, batch)
        if self._is_tracing and self._step + 1 not in self._steps:
            jax.block_until_ready((state, metrics))
            self._stop()
        return state, metrics

    def _stop(self) -> None:
        self._is_tracing = False
        if self._attempt(jax.profiler.stop_trace):
            self._console.message(
                f"profile up to step {self._step:,}: tensorboard --logdir {self._folder}"
            )

    def _attempt(self, action: Callable[[], None]) -> bool:
        """Whether the profiler could do it; where it cannot, for whatever reason, that is said."""
        try:
            action()
        except Exception as error:
            self._steps = range(0)
            self._console.say_here(
                f"no profile in {self._folder}: {brief(error)}; training goes on without one"
            )
            return False
        return True

    def __enter__(self) -> "Profiler":
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_tracing:
            self._stop()
