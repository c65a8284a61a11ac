"""Quiet about reads and writes that failed with others: the error itself is told once, by us.

Orbax ends at the first of hundreds that fails and closes the event loop that the others, still on
their way in TensorStore's threads, report to. Each then prints a traceback of its own, and Orbax
logs another one: pages, among which the one message would be lost.
"""

import functools
import logging
import sys
from typing import Any


def ignore_late_answers() -> None:
    """From now on, in this process; all other errors are printed as before."""
    previous = sys.unraisablehook
    if not isinstance(previous, functools.partial) or previous.func is not _unraisable:
        sys.unraisablehook = functools.partial(_unraisable, previous)
    # Of the library that Orbax logs with.
    logging.getLogger("absl").addFilter(_is_no_traceback_of_orbax)


def _unraisable(previous: Any, unraisable: Any) -> None:
    error = unraisable.exc_value
    is_late = isinstance(error, RuntimeError) and str(error) == "Event loop is closed"
    # What Orbax awaited no longer: the garbage collector ends it.
    code = getattr(unraisable.object, "cr_code", None)
    if not is_late and "orbax" not in getattr(code, "co_filename", ""):
        previous(unraisable)


def _is_no_traceback_of_orbax(record: logging.LogRecord) -> bool:
    return not (record.exc_info and "orbax" in record.pathname)
