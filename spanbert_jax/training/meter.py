"""Numbers of a run without stopping its devices. In: each step's metrics. Out: window means."""

import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import jax
import numpy as np

from spanbert_jax.training.activity import COMPILING, TRAINING, WAITING_FOR_DATA, Activity
from spanbert_jax.training.host_times import HostFigures, combined, device_memory_gb, of_all
from spanbert_jax.training.train_step import Metrics

# The host may run this many steps ahead: enough to keep devices busy, few enough to stop soon.
STEPS_IN_FLIGHT = 2
# Taken as they stand at the end of a window; all others are means over it.
LAST_VALUES = ("skipped_steps", "learning_rate")


class PhaseWork(NamedTuple):
    """What each step of a phase is worth."""

    end_step: int
    """The last step of the phase; it begins after that of the phase before."""
    tokens_per_step: int
    flops_per_step: int


class Work(NamedTuple):
    """What several steps are worth."""

    tokens: int
    flops: int


class Workload(Protocol):
    """What the steps of a run are worth."""

    @property
    def log_every(self) -> int: ...

    @property
    def num_steps(self) -> int: ...

    @property
    def epoch(self) -> Callable[[int], float]:
        """How often the text was read after a step."""

    @property
    def peak_flops(self) -> float | None:
        """FLOP/s of all devices together; None where unknown."""

    def between(self, step: int, end_step: int) -> Work:
        """Of the steps after `step`, up to and with `end_step`."""


@dataclass(frozen=True)
class StepWorkload:
    """Of steps each of which is worth something of its own, as those of batches of like length."""

    log_every: int
    work: Sequence[Work]
    """Of every step up to and with it, before the first one nothing: one more than there are
    steps."""
    epoch: Callable[[int], float]
    peak_flops: float | None

    @property
    def num_steps(self) -> int:
        return len(self.work) - 1

    def between(self, step: int, end_step: int) -> Work:
        before, after = self.work[step], self.work[end_step]
        return Work(after.tokens - before.tokens, after.flops - before.flops)


@dataclass(frozen=True)
class PhaseWorkload:
    """Of phases whose steps are all worth the same."""

    log_every: int
    phases: tuple[PhaseWork, ...]
    """One after the other to the end of the run."""
    epoch: Callable[[int], float]
    """In rows of the length at hand."""
    peak_flops: float | None

    @property
    def num_steps(self) -> int:
        return self.phases[-1].end_step

    def between(self, step: int, end_step: int) -> Work:
        """The steps after `step`, up to and with `end_step`, whichever phases they lie in."""
        tokens = flops = first = 0
        for phase in self.phases:
            num_steps = max(0, min(end_step, phase.end_step) - max(step, first))
            tokens += num_steps * phase.tokens_per_step
            flops += num_steps * phase.flops_per_step
            first = phase.end_step
        return Work(tokens, flops)


class Record(NamedTuple):
    """Means over the steps of a window that ended with `step`."""

    step: int
    metrics: dict[str, float]
    skipped_in_a_row: int = 0
    """Steps up to and with `step` that were skipped one after the other, earlier windows' too."""
    processes: tuple[HostFigures, ...] = ()
    """Of every process, by its number."""


class Meter:
    """Collects metrics on the devices and reads those of steps that are surely done."""

    def __init__(self, workload: Workload, activity: Activity | None = None) -> None:
        self._workload = workload
        self._activity = activity or Activity()
        self._in_flight: deque[tuple[int, Metrics]] = deque()
        self._records: list[Record] = []
        self._skipped_in_a_row, self._skipped = 0, math.inf
        self._start_window()

    def _start_window(self) -> None:
        self._window: list[Metrics] = []
        self._step_seconds: list[float] = []
        self._started = self._step_ended = time.perf_counter()
        self._waited = self._paused = self._on_devices = 0.0

    @contextmanager
    def waiting_for_data(self) -> Iterator[None]:
        """Time inside counts as waiting for data."""
        start = time.perf_counter()
        with self._activity.at(WAITING_FOR_DATA):
            yield
        self._waited += time.perf_counter() - start

    @contextmanager
    def paused(self, what: str) -> Iterator[None]:
        """Time inside, of evaluating or saving, counts as no training time."""
        start = time.perf_counter()
        with self._activity.at(what):
            yield
        pause = time.perf_counter() - start
        self._paused += pause
        self._step_ended += pause

    def waiting_for_all(self) -> AbstractContextManager[None]:
        """Inside, this process can only go on when all have come as far."""
        return self._activity.waiting_for_all()

    def add(self, step: int, metrics: Metrics) -> None:
        """Take the metrics of a step just started; wait for the one STEPS_IN_FLIGHT before it."""
        self._activity.step = step
        self._in_flight.append((step, metrics))
        self._drain(STEPS_IN_FLIGHT)

    def settle(self) -> None:
        """Wait for every step that was started."""
        self._drain(0)

    def end_window(self, step: int) -> None:
        """Close the window at `step`, which all steps are done up to, though it is not full."""
        if self._window:
            self._records.append(self._end_window(step))

    def records(self) -> list[Record]:
        """Windows whose steps are done, each once."""
        records, self._records = self._records, []
        return records

    def _drain(self, num_left: int) -> None:
        while len(self._in_flight) > num_left:
            step, metrics = self._in_flight.popleft()
            start = time.perf_counter()
            with self.waiting_for_all():
                self._window.append(jax.block_until_ready(metrics))
            end = time.perf_counter()
            self._on_devices += end - start
            self._step_seconds.append(end - self._step_ended)
            self._step_ended = end
            if self._activity.now == COMPILING:
                # The first step of this start, which compiles, is done.
                self._activity.switch(TRAINING)
            if step % self._workload.log_every == 0 or step == self._workload.num_steps:
                self._records.append(self._end_window(step))

    def _end_window(self, step: int) -> Record:
        values, work = jax.device_get(self._window), self._workload
        elapsed = max(time.perf_counter() - self._started - self._paused, 1e-9)
        done, left = work.between(step - len(values), step), work.between(step, work.num_steps)
        metrics = {name: finite_mean([float(value[name]) for value in values])
                   for name in values[-1]}  # fmt: skip
        metrics |= {name: float(values[-1][name]) for name in LAST_VALUES}
        metrics |= {
            "epoch": work.epoch(step),
            "tokens_per_second": done.tokens / elapsed,
            "data_wait": self._waited / elapsed,
            # By what steps cost: those of a later phase may be longer.
            "eta_seconds": elapsed * left.flops / done.flops,
        }
        figures = self._host_figures(elapsed)
        with self.waiting_for_all():
            processes = of_all(figures)
        metrics |= combined(processes)
        if work.peak_flops:
            metrics["mfu"] = done.flops / elapsed / work.peak_flops
        for value in values:
            # The first step of a start has nothing before it to be compared with.
            skipped = value["skipped_steps"] > self._skipped or not math.isfinite(
                value["grad_norm"]
            )
            self._skipped_in_a_row = self._skipped_in_a_row + 1 if skipped else 0
            self._skipped = value["skipped_steps"]
        self._start_window()
        return Record(step, metrics, self._skipped_in_a_row, processes)

    def _host_figures(self, elapsed: float) -> HostFigures:
        median, late = np.percentile(self._step_seconds, (50, 95))
        beside = max(0.0, elapsed - self._on_devices) / len(self._step_seconds)
        return HostFigures(float(median), float(late), beside, device_memory_gb())


def finite_mean(values: list[float]) -> float:
    """Mean of the finite values, NaN where there is none: one skipped step hides no other.

    finite_mean([1.0, nan, 2.0]) -> 1.5; finite_mean([nan]) -> nan
    """
    finite = [value for value in values if math.isfinite(value)]
    return sum(finite) / len(finite) if finite else math.nan
