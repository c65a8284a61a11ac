"""A document on its way in: raw as its source holds it, then as paragraphs."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

from spanbert_jax.corpus.wikitext import clean_wikitext


class RawDocument(NamedTuple):
    """A document as read: cheap to make and to send to another process, not cleaned yet."""

    text: str
    where: str
    """file:line, or file:title, of its beginning."""
    markup: Literal["plain", "wikitext"]


class Document(NamedTuple):
    """A document as paragraphs, each without line breaks."""

    paragraphs: list[str]
    where: str


@dataclass
class Reading:
    """How far a source has been read, and what it left out."""

    size_done: float = 0.0
    """Of the sizes that `Source.inputs` names."""
    counts: Counter[str] = field(default_factory=Counter)
    """What was skipped, by reason."""


class Input(NamedTuple):
    """One file, or another thing read whole; size in bytes."""

    name: str
    size: int


class Part(NamedTuple):
    """Documents of one input that are read one after the other, by whichever machine."""

    input: int
    """Index in the inputs of its source."""
    first: int = 0
    """Number, in its input, of the part's first document."""
    stop: int | None = None
    """Number behind its last one; None for all that follow."""


class Source(Protocol):
    """Where documents come from. Made from its specification, it has found its inputs."""

    @property
    def spec(self) -> str: ...

    @property
    def inputs(self) -> list[Input]: ...

    @property
    def parts(self) -> list[Part]:
        """All of the source, in order."""

    def read_part(self, part: Part, reading: Reading) -> Iterator[RawDocument]:
        """Documents in order; bad input is a `UserError` with file and line."""


def read_source(source: Source, reading: Reading) -> Iterator[RawDocument]:
    """Every document of a source, in order."""
    for part in source.parts:
        yield from source.read_part(part, reading)


def clean_document(raw: RawDocument, counts: Counter[str]) -> Document:
    """Paragraphs of a raw document; what cleaning drops is added to `counts`."""
    if raw.markup == "wikitext":
        paragraphs = clean_wikitext(raw.text, counts)
    else:
        paragraphs = [line for line in raw.text.split("\n") if line and not line.isspace()]
    return Document(paragraphs, raw.where)
