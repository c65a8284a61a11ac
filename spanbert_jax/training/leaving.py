"""A program ended from a thread, wherever its main thread is. In: last words and an exit code."""

import contextlib
import os
import sys
import threading

_SECONDS_TO_SPEAK = 2.0


def leave(said: str, exit_code: int) -> None:
    """End this process at once, without what Python does at its end."""
    # Where nobody reads what is printed, printing would never end.
    timer = threading.Timer(_SECONDS_TO_SPEAK, os._exit, (exit_code,))
    timer.daemon = True
    timer.start()
    with contextlib.suppress(Exception):  # Or it is closed.
        print(said, file=sys.stderr)
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(exit_code)
