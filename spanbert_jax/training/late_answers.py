"""What reads and writes leave behind that failed with others: no noise, and nothing to wait for.

Orbax ends at the first of hundreds that fails and closes the event loop that the others, still on
their way in TensorStore's threads, report to. Each then prints a traceback of its own, and Orbax
logs another one: pages, among which the one message would be lost; the error itself is told once,
by us. Its own threads wait ten minutes for what the failed one will never say.
"""

import functools
import logging
import sys
import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


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


def with_daemon_threads(action: Callable[[], T]) -> T:
    """`action`, whose threads hold up no program that ends.

    A thread is a daemon where the one that starts it is: `action` runs in one, waited for.
    """
    outcome: dict[str, Any] = {}

    def run() -> None:
        try:
            outcome["result"] = action()
        except BaseException as error:
            outcome["error"] = error

    thread = threading.Thread(target=run, name="save", daemon=True)
    thread.start()
    thread.join()
    if "error" in outcome:
        raise outcome["error"]
    return outcome["result"]
