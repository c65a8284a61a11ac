"""Runs a function over units of work in several processes: results in order, bounded memory."""

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import connection, get_context, parent_process
from typing import Any, TypeVar

from spanbert_jax.corpus.files import ResumableError

Unit = TypeVar("Unit")
Result = TypeVar("Result")

# Units in flight for every process: one at work, one waiting, one finished out of turn.
_UNITS_PER_WORKER = 3


def map_in_order(
    work: Callable[[Unit], Result],
    units: Iterable[Unit],
    *,
    num_workers: int,
    start: Callable[..., None],
    start_arguments: tuple[Any, ...],
) -> Iterator[Result]:
    """`work(unit)` for every unit, in the order of `units`.

    `start(*start_arguments)` is called once in every process first. One worker means this process.
    Units are taken as results leave, so only a few are in memory at a time.
    """
    if num_workers == 1:
        start(*start_arguments)
        yield from map(work, units)
        return
    # Spawned, not forked: a fork copies locks that threads of the tokenizers may hold.
    pool = ProcessPoolExecutor(
        num_workers,
        mp_context=get_context("spawn"),
        initializer=_start_process,
        initargs=(start, start_arguments),
    )
    in_flight: deque[Future[Result]] = deque()
    try:
        for unit in units:
            with _interrupts_held_back():
                in_flight.append(pool.submit(work, unit))
            if len(in_flight) >= _UNITS_PER_WORKER * num_workers:
                yield in_flight.popleft().result()
        while in_flight:
            yield in_flight.popleft().result()
    except BrokenProcessPool as error:
        raise ResumableError(
            "a process that cleans and tokenizes ended before its time, most likely for want of "
            f"memory; use fewer than --num-workers {num_workers}, and run again: what is complete "
            "is kept"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Ctrl-C inside arrives at the end, and never in processes that are started inside.

    Ctrl-C reaches every process of the terminal; the parent alone decides what it means. A process
    inherits what its parent holds back, so that this holds while it is still starting.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_process(start: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    # Where a system cannot hold it back, Ctrl-C is ignored from here on.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # One process a core: threads of the tokenizers would only get in each other's way.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    start(*arguments)


def _end_with_parent() -> None:
    """Killed, the parent tells nobody; its processes would wait for work for ever."""
    parent = parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)
