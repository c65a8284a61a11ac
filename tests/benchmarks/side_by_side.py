"""Libraries that take turns at the same work, each in a process of its own, as its users run it.

In: a function from a library's name to a closure that does the work once. Out: times of every turn.
A B A B: a change of the machine's speed meets all of them.
"""

import multiprocessing
import statistics
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple

Work = Callable[[], object]


class Timing(NamedTuple):
    """Seconds of one turn."""

    wall: float
    cpu: float
    """Of all threads of the process: hardly touched by what else the machine does."""


def take_turns(
    names: Sequence[str], prepare: Callable[[str, Any], Work], argument: Any, *, rounds: int
) -> dict[str, list[Timing]]:
    """Times of `rounds` turns of each library, after two that warm up.

    prepare: a function of a module; it and `argument` are handed to the processes.
    """
    processes = {name: _start(prepare, name, argument) for name in names}
    times: dict[str, list[Timing]] = {name: [] for name in names}
    for _ in range(rounds):
        for name, (_, connection) in processes.items():
            connection.send("turn")
            times[name].append(connection.recv())
    for process, connection in processes.values():
        connection.send("stop")
        process.join()
    return times


def _start(
    prepare: Callable[[str, Any], Work], name: str, argument: Any
) -> tuple[BaseProcess, Connection]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, prepare, name, argument), daemon=True)
    process.start()
    ours.recv()
    return process, ours


def _serve(
    connection: Connection, prepare: Callable[[str, Any], Work], name: str, argument: Any
) -> None:
    """Warm up, say so, then answer every "turn" with its time, until told to stop."""
    work = prepare(name, argument)
    work(), work()
    connection.send("ready")
    while connection.recv() == "turn":
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        connection.send(Timing(time.perf_counter() - wall, time.process_time() - cpu))


def median_ratio(ours: list[Timing], theirs: list[Timing], clock: str) -> float:
    """How many times longer theirs took than ours: the median over neighbouring turns."""
    pairs = zip(ours, theirs, strict=True)
    return round(statistics.median(getattr(b, clock) / getattr(a, clock) for a, b in pairs), 3)
