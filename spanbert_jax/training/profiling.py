"""A trace of some steps, for XProf and TensorBoard. In: the step function. Out: it, traced."""

from collections.abc import Callable
from typing import Any

import jax
from etils import epath

PROFILE_FOLDER = "profile"


class Profiler:
    """Takes steps, and traces those that it was asked for; a context manager.

    Of several processes each one writes its own trace.
    """

    def __init__(
        self,
        train_step: Callable[[Any, Any], tuple[Any, Any]],
        *,
        run_dir: epath.PathLike,
        steps: range,
        start_step: int,
        say: Callable[[str], None],
    ) -> None:
        """steps: numbers of the steps that are traced; none for an empty range."""
        self._train_step, self._steps, self._say = train_step, steps, say
        self._folder = epath.Path(run_dir) / PROFILE_FOLDER
        self._step = start_step
        self._is_tracing = False

    def __call__(self, state: Any, batch: Any) -> tuple[Any, Any]:
        self._step += 1
        if self._step in self._steps and not self._is_tracing:
            # What was started before belongs to no traced step.
            jax.block_until_ready(state)
            jax.profiler.start_trace(str(self._folder))
            self._is_tracing = True
        with jax.profiler.StepTraceAnnotation("train", step_num=self._step):
            state, metrics = self._train_step(state, batch)
        if self._is_tracing and self._step + 1 not in self._steps:
            jax.block_until_ready((state, metrics))
            self._stop()
        return state, metrics

    def _stop(self) -> None:
        jax.profiler.stop_trace()
        self._is_tracing = False
        self._say(f"profile up to step {self._step:,}: tensorboard --logdir {self._folder}")

    def __enter__(self) -> "Profiler":
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_tracing:
            self._stop()
