"""A file that grows by whole records, whatever its disk does. In: bytes. Out: a file that ends
where a record ends; what cannot be written is kept, and written with what follows.
"""

import contextlib
import math
import os
import time
from collections.abc import Callable
from typing import IO, Any

from etils import epath

from spanbert_jax.config.addresses import is_address
from spanbert_jax.errors import storage_cause, storage_may_fail

SECONDS_BETWEEN_UPLOADS = 30.0


class Uploads:
    """When a file that grows is written again: on a disk at once, at an address now and then, since
    that sends all of it, and a run would wait for it at every log window.
    """

    def __init__(self, path: epath.Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._is_address, self._clock, self._last = is_address(path), clock, -math.inf

    def are_due(self) -> bool:
        """Whether it is time; if so, the next time is counted from now."""
        now = self._clock()
        if self._is_address and now - self._last < SECONDS_BETWEEN_UPLOADS:
            return False
        self._last = now
        return True


class PatientFile:
    """Appends; a failure of the storage is said once, until writing succeeds again."""

    def __init__(self, path: epath.Path, *, say: Callable[[str], None]) -> None:
        self._path, self._say, self._uploads = path, say, Uploads(path)
        self._opened = contextlib.ExitStack()
        self._file: IO[Any] | None = self._open()
        # An address holds nothing before the first record is written there.
        self._size = path.stat().length if path.exists() else 0
        self._unwritten = b""
        self._fails = False

    def write(self, record: bytes) -> None:
        """Take a record, to be written by the next `flush`."""
        self._unwritten += record

    def flush(self) -> None:
        """Write what was taken, or keep it, for a while at least where it is sent to an address."""
        if self._unwritten and self._uploads.are_due():
            self._write()

    def _write(self) -> None:
        try:
            if self._file is None:
                self._file = self._open()
            self._file.write(self._unwritten)
            self._file.flush()
        except Exception as error:
            if storage_cause(error) is None:
                raise
            self._failed(error)
        else:
            self._size += len(self._unwritten)
            self._unwritten, self._fails = b"", False

    def _open(self) -> IO[Any]:
        # Of gs:// it is no file yet, but what gives one to `with`.
        return self._opened.enter_context(self._path.open("ab"))

    def close(self) -> None:
        """Write what is left; say so where that fails."""
        if self._unwritten:
            self._write()
        if self._unwritten:
            self._say(f"{self._path}: its last {len(self._unwritten):,} bytes are lost")
        self._give_up_file()

    def _failed(self, error: Exception) -> None:
        self._give_up_file()
        if not self._fails:
            self._say(
                f"{self._path} cannot be written ({error}); what belongs there is kept, and "
                "written once that succeeds"
            )
        self._fails = True

    def _give_up_file(self) -> None:
        """Close it; what is half written is cut off, and what its buffer holds goes with it."""
        self._file = None
        with storage_may_fail():
            self._opened.close()
        if not is_address(self._path):
            with contextlib.suppress(OSError):
                os.truncate(self._path, self._size)
