"""What a process is at, and how long it has been at what. In: words. Out: seconds of each."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

STARTING, RESTORING, COMPILING = "starting", "restoring", "compiling"
TRAINING, WAITING_FOR_DATA = "training", "waiting for data"
EVALUATING, SAVING, FINISHING = "evaluating", "saving", "finishing"


class Activity:
    """Seconds by what they were spent on, each second once: what is inside counts, not around it.

    Read by other threads too, which see a moment that was.
    """

    def __init__(self, at: str = STARTING, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since = clock()
        self._seconds: dict[str, float] = {}
        self.now = at
        self.step = 0
        """Steps of the run that were started."""
        self.waits = False
        """Whether it can only go on when all processes have come as far."""

    def switch(self, at: str) -> None:
        """From now on it is at something else."""
        now = self._clock()
        self._seconds[self.now] = self._seconds.get(self.now, 0.0) + now - self._since
        self.now, self._since = at, now

    @contextmanager
    def at(self, what: str) -> Iterator[None]:
        """At `what` inside, and then at what it was before."""
        before = self.now
        self.switch(what)
        try:
            yield
        finally:
            self.switch(before)

    @contextmanager
    def waiting_for_all(self) -> Iterator[None]:
        """Inside, it can only go on when all processes have come as far."""
        self.waits = True
        try:
            yield
        finally:
            self.waits = False

    def begin(self, at: str) -> None:
        """From now on it is at something new, and of what was before nothing counts."""
        self.switch(at)
        self._seconds, self.step = {}, 0

    def seconds(self) -> dict[str, float]:
        """Up to this moment.

        Two seconds of training, one of saving, one of training -> {"training": 3.0, "saving": 1.0}
        """
        spent = dict(self._seconds)
        spent[self.now] = spent.get(self.now, 0.0) + self._clock() - self._since
        return spent

    def __str__(self) -> str:
        return f"{self.now}, step {self.step:,}"
