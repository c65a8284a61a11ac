"""Ctrl-C and SIGTERM as a request: the loop ends its step, saves, and says how to go on."""

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, Self

from spanbert_jax.errors import INTERRUPTED, RUN_AGAIN


class StopRequest:
    """Context manager; `signal_number` is set once a signal has come.

    Ctrl-C after it is obeyed at once: it raises `KeyboardInterrupt` wherever the program is.
    SIGTERM once more changes nothing; who is in a hurry has SIGKILL.
    """

    def __init__(self, announce: Callable[[str], None]) -> None:
        self.signal_number: int | None = None
        self._announce = announce
        self._previous: dict[int, Any] = {}

    @property
    def exit_code(self) -> int:
        """Of the program, where it ends before its end: somebody sits at Ctrl-C; after SIGTERM, and
        where another process was asked to stop, a launcher runs the same command again.
        """
        return INTERRUPTED if self.signal_number == signal.SIGINT else RUN_AGAIN

    def __enter__(self) -> Self:
        # Python allows signal handlers in the main thread alone.
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        if self.signal_number is not None:
            if number == signal.SIGTERM:
                # Sent twice where a launcher and the system both do: the save goes on.
                return
            raise KeyboardInterrupt
        self.signal_number = number
        name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
        more = "once more" if number == signal.SIGINT else "Ctrl-C"
        self._announce(f"{name}: stopping after this step to save; {more} stops at once")
