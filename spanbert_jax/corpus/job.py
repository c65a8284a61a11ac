"""One run of prepare: what it reads, where it writes, and how its documents are dealt out."""

import os
from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from etils import epath

from spanbert_jax.config import PrepareConfig
from spanbert_jax.corpus.documents import RawDocument, Reading, Source
from spanbert_jax.corpus.held_out import document_key
from spanbert_jax.corpus.progress import Progress
from spanbert_jax.corpus.record import Record
from spanbert_jax.corpus.tagging import Tagging

# Text that one worker takes at a time: large beside the cost of a message, small beside memory.
_UNIT_CHARACTERS = 1 << 18


class ReadDocument(NamedTuple):
    """A raw document with its place in the sources and the key that decides its split."""

    number: int
    key: int
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
    held_out_limit: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    """Of the pass that makes the shards: bytes and documents read, pages the sources skipped."""

    @property
    def num_workers(self) -> int:
        if self.config.num_workers:
            return self.config.num_workers
        # A small corpus is done before many processes have started.
        useful = sum(self.record.inputs.values()) // _UNIT_CHARACTERS
        return max(1, min(_num_cores(), useful))

    def split_of(self, document: ReadDocument) -> str:
        return "held_out" if document.key < self.held_out_limit else "train"

    def read(
        self, stage: str, counts: Counter[str] | None = None
    ) -> Generator[ReadDocument, None, None]:
        """Every document of every source, in order."""
        reading = Reading()
        total = sum(self.record.inputs.values())
        number = 0
        for source in self.sources:
            for raw in source.read(reading):
                content = raw.text.encode()
                yield ReadDocument(number, document_key(content), len(content), raw)
                self.progress.update(stage, reading.size_done, total)
                number += 1
        self.progress.update(stage, total, total)
        if counts is not None:
            counts.update(reading.counts)


def _num_cores() -> int:
    """Cores that this process may use; all of the machine where the system does not say."""
    known = hasattr(os, "sched_getaffinity")
    return len(os.sched_getaffinity(0)) if known else os.cpu_count() or 1


def units_of(raws: Iterable[RawDocument]) -> Iterator[list[RawDocument]]:
    """Consecutive documents of about 256,000 characters together."""
    unit: list[RawDocument] = []
    size = 0
    for raw in raws:
        unit.append(raw)
        size += len(raw.text)
        if size >= _UNIT_CHARACTERS:
            yield unit
            unit, size = [], 0
    if unit:
        yield unit
