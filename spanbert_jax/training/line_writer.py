"""Lines into a pipe that nobody may read. In: text. Out: the same, later; nobody waits for it."""

import contextlib
import os
import stat
import threading
from collections import deque
from typing import IO

MAX_LINES = 10_000
"""Kept for a reader that is slow; of more, the oldest are dropped."""
_SECONDS_TO_END = 2.0


class LineWriter:
    """Writes to a stream from a thread of its own: a full pipe stops that thread alone."""

    def __init__(self, stream: IO[str], *, max_lines: int = MAX_LINES) -> None:
        self._stream = stream
        self._lines: deque[str] = deque(maxlen=max_lines)
        self._changed = threading.Condition()
        self._dropped, self._is_writing, self._is_closed = 0, False, False
        self._thread = threading.Thread(target=self._go, name="lines", daemon=True)
        self._thread.start()

    def write(self, text: str) -> int:
        with self._changed:
            self._dropped += len(self._lines) == self._lines.maxlen
            self._lines.append(text)
            self._changed.notify_all()
        return len(text)

    def flush(self) -> None:
        """Nothing: waiting is what nobody does here."""

    def close(self) -> None:
        """Give the reader a moment for what is left."""
        with self._changed:
            self._changed.wait_for(self._is_idle, _SECONDS_TO_END)
            self._is_closed = True
            self._changed.notify_all()

    def _is_idle(self) -> bool:
        return not self._lines and not self._is_writing

    def _go(self) -> None:
        while True:
            with self._changed:
                self._is_writing = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._lines or self._is_closed)
                if not self._lines:
                    return
                text, self._is_writing = self._lines.popleft(), True
                if self._dropped:
                    text = f"({self._dropped} lines dropped: nobody read them)\n{text}"
                    self._dropped = 0
            # A reader that is gone misses nothing.
            with contextlib.suppress(OSError, ValueError):
                self._write(text)

    def _write(self, text: str) -> None:
        # Past the buffer of the stream: a thread that waits inside it holds a lock that Python
        # waits for at the end of the program.
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        left = text.encode(encoding, "backslashreplace")
        while left:
            left = left[os.write(self._stream.fileno(), left) :]


def is_pipe(stream: IO[str]) -> bool:
    """Whether a stream has a reader that may be slow, or gone."""
    try:
        mode = os.fstat(stream.fileno()).st_mode
    except (OSError, ValueError, AttributeError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)
