"""Runs one step over all documents in several processes, and keeps what it makes in units.

A run that was killed finds the units that are complete and reads on behind each of them: files that
lie in them whole are not opened again.
"""

from collections import Counter, deque
from collections.abc import Callable, Container, Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

from spanbert_jax.corpus import units
from spanbert_jax.corpus.documents import RawDocument, Reading
from spanbert_jax.corpus.job import TASK_CHARACTERS, Job, ReadDocument
from spanbert_jax.corpus.units import FOLDER, Unit, find_units, write_unit
from spanbert_jax.corpus.workers import map_in_order

Result = TypeVar("Result")


class UnitContent(NamedTuple):
    """What a unit holds, and what was left out of it."""

    arrays: Mapping[str, np.ndarray]
    reasons: tuple[str, ...]
    counts: Counter[str]


@dataclass(frozen=True)
class Step(Generic[Result]):
    """What is done with every document, and how it is kept."""

    kind: str
    """First part of the names of its units."""
    stage: str
    """As the user reads it."""
    work: Callable[[list[RawDocument]], Result]
    """Done by the processes, a few documents at a time."""
    start: Callable[..., None]
    start_arguments: tuple[Any, ...]
    collect: Callable[[list[tuple[Result, list[int]]]], UnitContent]
    """Puts results, each with the places of its documents, together as a unit."""
    about: dict[str, Any]
    accepts: Callable[[dict[str, Any]], bool]
    """Whether a unit about which that is said can stand for one made now."""


class _Task(NamedTuple):
    places: list[int]
    closes: dict[str, Any] | None = None
    """Of the unit that ends with this task: number, begin, end, final and counts."""


def make_units(job: Job, step: Step[Result], *, left_out: Container[int] = ()) -> list[Unit]:
    """All units of a step, in order; those found complete are kept as they are.

    left_out: places of documents that the step need not see.
    """
    folder = job.folder / FOLDER
    folder.mkdir(exist_ok=True)
    found = find_units(folder, step.kind)
    complete = {
        number: unit
        for number, unit in found.items()
        if unit.about.get("cut") == _cut() and step.accepts(unit.about)
    }
    if complete:
        job.progress.say(f"{job.folder}: going on, {len(complete)} parts of the text are done")
    tasks: deque[_Task] = deque()
    results = map_in_order(
        step.work, _tasks(job, step.stage, complete, tasks, left_out), num_workers=job.num_workers,
        start=step.start, start_arguments=step.start_arguments,
    )  # fmt: skip
    gathered: list[tuple[Result, list[int]]] = []
    for result in results:
        task = tasks.popleft()
        gathered.append((result, task.places))
        if task.closes is not None:
            _write(job, step, gathered, **task.closes)
            gathered = []
    return _whole_row(find_units(folder, step.kind))


def _cut() -> list[int]:
    """What decides where a unit ends; units that were cut otherwise do not fit together."""
    return [units.UNIT_BYTES, units.UNIT_DOCUMENTS]


def _whole_row(found: dict[int, Unit]) -> list[Unit]:
    """The units up to the final one, each of which begins where the one before it ends."""
    row: list[Unit] = []
    while not row or not row[-1].final:
        unit = found.get(len(row))
        assert unit is not None, f"unit {len(row)} is missing"
        assert unit.begin == (row[-1].end if row else 0), unit.path
        row.append(unit)
    return row


def _write(
    job: Job, step: Step[Result], gathered: list[tuple[Result, list[int]]], *,
    number: int, begin: int, end: int, final: bool, counts: Counter[str],
) -> None:  # fmt: skip
    arrays, reasons, others = step.collect(gathered)
    write_unit(
        job.folder / FOLDER / f"{step.kind}-{number:06d}.unit", arrays, begin=begin, end=end,
        final=final, counts=counts + others, reasons=reasons, about=step.about | {"cut": _cut()},
    )  # fmt: skip


def _tasks(
    job: Job, stage: str, complete: dict[int, Unit], tasks: deque[_Task], left_out: Container[int]
) -> Iterator[list[RawDocument]]:
    """Documents of the units that are not complete; `tasks` remembers where they belong."""
    number, place = 0, 0
    reader: Iterator[ReadDocument] | None = None
    while True:
        unit = complete.get(number)
        if unit is not None and unit.begin == place:
            if unit.final:
                return
            place, reader = unit.end, None
        else:
            if reader is None:
                reading = Reading()
                reader = job.read(stage, start=place, reading=reading)
            place, final = yield from _tasks_of_unit(
                number, place, reader, reading, tasks, left_out
            )
            if final:
                return
        number += 1


def _tasks_of_unit(
    number: int, begin: int, reader: Iterator[ReadDocument], reading: Reading,
    tasks: deque[_Task], left_out: Container[int],
) -> Generator[list[RawDocument], None, tuple[int, bool]]:  # fmt: skip
    """Documents until they make a unit. Returns the place behind it, and whether it is the last."""
    counts: Counter[str] = Counter()
    raws: list[RawDocument] = []
    places: list[int] = []
    size, end = 0, begin
    final = True
    for place, num_bytes, raw in reader:
        counts["documents"] += 1
        counts["text bytes"] += num_bytes
        end = place + 1
        if place not in left_out:
            raws.append(raw)
            places.append(place)
            size += len(raw.text)
        is_full = counts["text bytes"] >= units.UNIT_BYTES
        if is_full or counts["documents"] >= units.UNIT_DOCUMENTS:
            final = False
            break
        if size >= TASK_CHARACTERS:
            tasks.append(_Task(places))
            yield raws
            raws, places, size = [], [], 0
    counts += reading.counts
    reading.counts.clear()
    closes = {"number": number, "begin": begin, "end": end, "final": final, "counts": counts}
    tasks.append(_Task(places, closes))
    yield raws
    return end, final
