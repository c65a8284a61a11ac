"""One run of prepare: what it reads, where it writes, and what a process takes at once."""

import os
from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from etils import epath

from spanbert_jax.config import PrepareConfig
from spanbert_jax.corpus.documents import Part, RawDocument, Reading, Source
from spanbert_jax.corpus.places import place_of
from spanbert_jax.corpus.progress import Progress
from spanbert_jax.corpus.record import Record
from spanbert_jax.corpus.summary import READ
from spanbert_jax.corpus.tagging import Tagging
from spanbert_jax.errors import UserError

# Text that one worker takes at a time: large beside the cost of a message, small beside memory.
TASK_CHARACTERS = 1 << 18


class ReadDocument(NamedTuple):
    """A raw document with its place in the sources."""

    place: int
    num_bytes: int
    raw: RawDocument


@dataclass
class Job:
    """One run of `prepare` after its dry checks."""

    config: PrepareConfig
    folder: epath.Path
    sources: list[Source]
    record: Record
    progress: Progress
    tagging: Tagging | None = None

    @property
    def num_workers(self) -> int:
        if self.config.num_workers:
            return self.config.num_workers
        # A small corpus is done before many processes have started.
        useful = sum(self.record.inputs.values()) // TASK_CHARACTERS
        return max(1, min(num_cores(), useful))

    @property
    def num_inputs(self) -> list[int]:
        """Of each source."""
        return [len(source.inputs) for source in self.sources]

    def nothing_left(self, counts: Counter[str]) -> UserError:
        """What to say of a corpus that leaves nothing to train on."""
        source = f"--source {' '.join(self.config.source)}"
        if not counts["documents"]:
            return UserError(
                f"{source}: must hold text, found no document in {len(self.record.inputs)} files; "
                "check the files and the kind of source"
            )
        reasons = [f"{count:,} {reason}" for reason, count in counts.items() if reason not in READ]
        return UserError(
            f"{source}: must leave text to train on, but nothing is left of its "
            f"{counts['documents']} documents ({', '.join(reasons) or 'nothing was dropped'}); "
            f"lower --held-out {self.config.held_out}, drop less, or check the files and the kind "
            "of source"
        )

    def read(
        self, stage: str, *, start: int = 0, reading: Reading | None = None
    ) -> Generator[ReadDocument, None, None]:
        """Documents of every source, in order, from the place `start` on.

        `reading` counts what the sources skip from the last document before `start` on.
        """
        reading = reading if reading is not None else Reading()
        total = sum(self.record.inputs.values())
        for source, part, begin, end in parts_of(self.sources):
            if end <= start:
                if part.stop is None:
                    reading.size_done += source.inputs[part.input].size
                continue
            for place, raw in enumerate(source.read_part(part, reading), begin):
                if place < start:
                    reading.counts.clear()
                    continue
                yield ReadDocument(place, len(raw.text.encode()), raw)
                self.progress.update(stage, reading.size_done, total)
        self.progress.update(stage, total, total)


def parts_of(sources: Iterable[Source]) -> Iterator[tuple[Source, Part, int, int]]:
    """All parts in order, each with its first place and the first place of what follows it."""
    parts = []
    num_inputs = 0
    for source in sources:
        parts += [(source, part, num_inputs + part.input) for part in source.parts]
        num_inputs += len(source.inputs)
    begins = [place_of(input_index, part.first) for _, part, input_index in parts]
    for (source, part, _), begin, end in zip(
        parts, begins, [*begins[1:], place_of(num_inputs, 0)], strict=True
    ):
        yield source, part, begin, end


def num_cores() -> int:
    """Cores that this process may use; all of the machine where the system does not say."""
    known = hasattr(os, "sched_getaffinity")
    return len(os.sched_getaffinity(0)) if known else os.cpu_count() or 1


def tasks_of(raws: Iterable[RawDocument]) -> Iterator[list[RawDocument]]:
    """Consecutive documents of about 256,000 characters together."""
    task: list[RawDocument] = []
    size = 0
    for raw in raws:
        task.append(raw)
        size += len(raw.text)
        if size >= TASK_CHARACTERS:
            yield task
            task, size = [], 0
    if task:
        yield task
