"""A program that ends with its exit code, whether or not anybody reads its last words. In: both."""

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from typing import IO

_SECONDS_TO_SPEAK = 2.0


@contextlib.contextmanager
def ending(exit_code: int, stream: IO[str]) -> Iterator[None]:
    """Inside, last words are printed to `stream`.

    Where nobody reads it, and printing would never end, this process ends with its code, without
    them and without what Python does at its end. A reader that is gone is no error.
    """
    timer = threading.Timer(_SECONDS_TO_SPEAK, os._exit, (exit_code,))
    timer.daemon = True
    timer.start()
    try:
        yield
        stream.flush()
    except BrokenPipeError:
        forget_reader(stream)
    finally:
        timer.cancel()


def forget_reader(stream: IO[str]) -> None:
    """Let a stream whose reader is gone lead nowhere: Python flushes it once more at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def leave(said: str, exit_code: int) -> None:
    """End this process at once from a thread, wherever its main thread is."""
    with contextlib.suppress(Exception), ending(exit_code, sys.stderr):  # Or it is closed.
        print(said, file=sys.stderr)
        sys.stdout.flush()
    os._exit(exit_code)
