"""Says how far a model is with its rows: a line every few seconds."""

import time
from collections.abc import Callable

from spanbert_jax.training.console import duration

_SECONDS_BETWEEN_LINES = 10.0


class RowProgress:
    """Told how many rows are begun, it says so from time to time."""

    def __init__(
        self, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._say, self._clock = say, clock
        self._began = self._last = clock()

    def update(self, begun: int, total: int) -> None:
        """-> "1,024 of 11,873 rows, about 2m 10s left" """
        now = self._clock()
        if now - self._last < _SECONDS_BETWEEN_LINES or begun == total:
            return
        self._last = now
        left = (now - self._began) * (total - begun) / begun
        self._say(f"{begun:,} of {total:,} rows, about {duration(left)} left")
