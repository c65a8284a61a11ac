"""Says how far a long piece of work is: a bar on a terminal, plain lines elsewhere, on stderr."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

SECONDS_BETWEEN_LINES = 5.0
SECONDS_BETWEEN_BARS = 0.1


@runtime_checkable
class Progress(Protocol):
    """Where a long piece of work reports to."""

    def say(self, message: str) -> None:
        """One line about what happens now."""

    def update(self, stage: str, done: float, total: float) -> None:
        """How many of `total` bytes of this stage are done; called often."""


class SilentProgress:
    """Says nothing."""

    def say(self, message: str) -> None:
        pass

    def update(self, stage: str, done: float, total: float) -> None:
        pass


class LineProgress:
    """A plain line every few seconds, for log files."""

    def __init__(self) -> None:
        self._stage = ""
        self._began = self._last = 0.0

    def say(self, message: str) -> None:
        print(message, file=sys.stderr, flush=True)

    def update(self, stage: str, done: float, total: float) -> None:
        now = time.monotonic()
        if stage != self._stage:
            self._stage, self._began, self._last = stage, now, now
        elif now - self._last >= SECONDS_BETWEEN_LINES:
            self._last = now
            self.say(progress_line(stage, done, total, now - self._began))


def progress_line(stage: str, done: float, total: float, seconds: float) -> str:
    """progress_line("encoding", 3e6, 12e6, 2.0) -> "encoding: 25%, 1.5 MB/s, 6 s left"."""
    speed = done / seconds
    left = max(0.0, total - done) / speed if speed else float("inf")
    return f"{stage}: {done / max(total, 1.0):.0%}, {speed / 1e6:.1f} MB/s, {left:.0f} s left"


class BarProgress:
    """A bar with MB/s and the time left, for terminals."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            Progress,
            TaskID,
            TaskProgressColumn,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
        speed = (TransferSpeedColumn(), TimeRemainingColumn())
        self.bar = Progress(*columns, *speed, console=Console(stderr=True))
        self._tasks: dict[str, TaskID] = {}
        self._last = 0.0

    def say(self, message: str) -> None:
        self.bar.console.print(message, markup=False, highlight=False)

    def update(self, stage: str, done: float, total: float) -> None:
        now = time.monotonic()
        if stage not in self._tasks:
            self._tasks[stage] = self.bar.add_task(stage, total=total)
        elif now - self._last < SECONDS_BETWEEN_BARS and done < total:
            return
        self._last = now
        self.bar.update(self._tasks[stage], completed=done, total=total)


@contextmanager
def show_progress() -> Iterator[Progress]:
    """A bar where stderr is a terminal, else lines."""
    if not sys.stderr.isatty():
        yield LineProgress()
        return
    progress = BarProgress()
    with progress.bar:
        yield progress
