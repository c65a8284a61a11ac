"""The steps of preparing as functions on elements of a Beam pipeline; Beam itself is not needed.

In: parts of sources, and documents in lists of about 256,000 characters. Out: rows, encoded tables,
and shards, by the same functions that the local runner calls.
"""

import dataclasses
import functools
import json
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from etils import epath

from spanbert_jax.config import PrepareConfig
from spanbert_jax.corpus import job
from spanbert_jax.corpus.document_table import DocumentTable, concatenate, table_of, take
from spanbert_jax.corpus.documents import Part, RawDocument, Reading, Source
from spanbert_jax.corpus.encoding import Encoder, KeyRange
from spanbert_jax.corpus.files import write_file
from spanbert_jax.corpus.filters import keep_document
from spanbert_jax.corpus.held_out import document_key
from spanbert_jax.corpus.json_lines import JsonLinesSource
from spanbert_jax.corpus.near_duplicates import bands, is_near_duplicate
from spanbert_jax.corpus.plain_text import TextSource
from spanbert_jax.corpus.scanning import ScannedDocuments, scan
from spanbert_jax.corpus.shard_writer import write_complete_shard
from spanbert_jax.corpus.sharding import ShardPlan
from spanbert_jax.corpus.survey import PlaceSet
from spanbert_jax.corpus.tagging import Tagger, Tagging
from spanbert_jax.corpus.tokenizer_sample import TokenizerSample
from spanbert_jax.corpus.tokenizers import load_tokenizer
from spanbert_jax.corpus.wikipedia import WikipediaSource

# The sources that read files, each file alone.
_OfFiles = TextSource | JsonLinesSource | WikipediaSource


def alone(source: Source, part: Part, begin: int) -> tuple[Source, Part, int]:
    """A part as an element of a pipeline: with its own file, not with all that its source names.

    A graph holds every part, and must not grow with the square of their number.
    """
    if not isinstance(source, _OfFiles):
        return source, part, begin
    only = dataclasses.replace(source, files=(source.files[part.input],))
    return only, part._replace(input=0), begin


class Batch(NamedTuple):
    """A few documents with their places, and what the source skipped on its way to them."""

    places: list[int]
    raws: list[RawDocument]
    counts: Counter[str]


def read_batches(element: tuple[Source, Part, int]) -> Iterator[Batch]:
    """The documents of a part, the first of them at a place; the last batch counts the rest."""
    source, part, begin = element
    reading = Reading()
    places: list[int] = []
    raws: list[RawDocument] = []
    counts: Counter[str] = Counter()
    size = 0
    for place, raw in enumerate(source.read_part(part, reading), begin):
        places.append(place)
        raws.append(raw)
        counts["documents"] += 1
        counts["text bytes"] += len(raw.text.encode())
        size += len(raw.text)
        if size >= job.TASK_CHARACTERS:
            yield Batch(places, raws, counts)
            places, raws, counts, size = [], [], Counter(), 0
    yield Batch(places, raws, counts + reading.counts)


def without(batch: Batch, left_out: PlaceSet) -> Batch:
    """The documents of a batch that are not left out; all are counted as read."""
    kept = [number for number, place in enumerate(batch.places) if place not in left_out]
    raws = [batch.raws[number] for number in kept]
    return Batch([batch.places[number] for number in kept], raws, batch.counts)


class SavedFile(NamedTuple):
    """A file that a worker loads once for all that it does."""

    path: str
    content: str
    """Checksum or fingerprint: a later run in the same process may write another to its path."""


@functools.lru_cache(maxsize=1)
def left_out_places(file: SavedFile) -> PlaceSet:
    """Places that the survey left out, kept in a file: they may be too many for a graph."""
    return PlaceSet(np.frombuffer(epath.Path(file.path).read_bytes(), np.uint64))


# Threads that start together would each load the tokenizer, and the pipeline that tags.
_LOADING = threading.Lock()


@functools.lru_cache(maxsize=1)
def _encoder(
    tokenizer: SavedFile, config: PrepareConfig, wanted: tuple[KeyRange, ...],
    tagging: Tagging | None,
) -> Encoder:  # fmt: skip
    tagger = None if tagging is None else Tagger(tagging)
    return Encoder(load_tokenizer(tokenizer.path), config, wanted=wanted, tagger=tagger)


def encode_batch(
    batch: Batch, tokenizer: SavedFile, config: PrepareConfig, wanted: tuple[KeyRange, ...],
    tagging: Tagging | None, left_out_file: SavedFile,
) -> tuple[DocumentTable, Counter[str]]:  # fmt: skip
    """The table of a batch, and counts of what was read and is not in it."""
    places, raws, counts = without(batch, left_out_places(left_out_file))
    with _LOADING:
        encoder = _encoder(tokenizer, config, wanted, tagging)
    table, others = table_of(encoder.encode(raws), places)
    return table, counts + others


def identity(row: np.void) -> bytes:
    """What two documents with the same text have in common: key and check."""
    return row["key"].tobytes() + row["check"].tobytes()


def tokens_by_text(table: DocumentTable) -> Iterator[tuple[bytes, tuple[int, int]]]:
    """(identity, (key, tokens)) of every document."""
    for row in table.rows:
        yield identity(row), (int(row["key"]), int(row["num_tokens"]))


def by_shard(table: DocumentTable, plan: dict[str, Any]) -> Iterator[tuple[str, DocumentTable]]:
    """The table cut by the shards that its documents belong to."""
    shard_plan = ShardPlan(**plan)
    names = np.array([_shard_name(shard_plan, int(key)) for key in table.rows["key"]])
    for name in np.unique(names).tolist():
        yield name, take(table, np.flatnonzero(names == name))


def _shard_name(plan: ShardPlan, key: int) -> str:
    split, number = plan.shard_of(key)
    return f"{split}-{number:05d}"


def write_named_shard(
    element: tuple[str, Iterable[DocumentTable]], plan: dict[str, Any], folder: str,
    tokenizer: str, drop_duplicates: bool,
) -> None:  # fmt: skip
    name, tables = element
    split, _, number = name.rpartition("-")
    write_complete_shard(
        epath.Path(folder), concatenate(list(tables)), split=split, number=int(number),
        plan=ShardPlan(**plan),
        tokenizer=tokenizer, drop_duplicates=drop_duplicates,
    )  # fmt: skip


def scan_batch(batch: Batch, config: PrepareConfig) -> tuple[ScannedDocuments, Counter[str]]:
    """Rows with the places of the documents, not their numbers in the batch; and counts."""
    scanned = scan(batch.raws, config)
    scanned.rows["place"] = np.array(batch.places, np.uint64)[scanned.rows["place"].astype(int)]
    return scanned, batch.counts + scanned.dropped


def one_by_one(
    element: tuple[ScannedDocuments, Counter[str]],
) -> Iterator[ScannedDocuments]:
    scanned, _ = element
    for number in range(len(scanned.rows)):
        here = slice(number, number + 1)
        yield ScannedDocuments(scanned.rows[here], scanned.signatures[here])


def by_text(scanned: ScannedDocuments) -> tuple[bytes, ScannedDocuments]:
    return identity(scanned.rows[0]), scanned


def place(scanned: ScannedDocuments) -> int:
    return int(scanned.rows["place"][0])


def by_band(
    scanned: ScannedDocuments, threshold: float
) -> Iterator[tuple[bytes, ScannedDocuments]]:
    """A document under each of its bands."""
    for number, band in enumerate(bands(scanned.signatures, threshold=threshold)[0]):
        yield b"%d:%s" % (number, band.tobytes()), scanned


def near_places(group: tuple[bytes, Iterable[ScannedDocuments]], threshold: float) -> Iterator[int]:
    """Places of those, of documents that share a band, that are alike to one with a smaller key."""
    found = list(group[1])
    if len(found) < 2:
        return
    rows = np.concatenate([document.rows for document in found])
    order = np.lexsort((rows["place"], rows["key"]))
    signatures = np.concatenate([document.signatures for document in found])[order]
    near = is_near_duplicate(signatures, threshold=threshold)
    yield from rows["place"][order[near]].tolist()


class SampleBatches:
    """Gathers the tokenizer's sample: a combiner in Beam's words."""

    def __init__(
        self, config: PrepareConfig, *, held_out_limit: int, left_out_file: SavedFile
    ) -> None:
        self._config = config
        self._limit = held_out_limit
        self._left_out_file = left_out_file

    def create(self) -> TokenizerSample:
        return TokenizerSample(self._config.tokenizer_sample_mb * 1e6)

    def add(self, sample: TokenizerSample, batch: Batch) -> TokenizerSample:
        for raw in without(batch, left_out_places(self._left_out_file)).raws:
            content = raw.text.encode()
            key = document_key(content)
            if sample.may_take(key):
                kept = keep_document(raw, self._config, Counter())
                if kept is not None and kept.key >= self._limit:
                    sample.add(key, len(content), raw)
        return sample

    def merge(self, samples: Iterable[TokenizerSample]) -> TokenizerSample:
        merged = self.create()
        for sample in samples:
            merged.merge(sample)
        return merged

    def sentences(self, sample: TokenizerSample) -> list[str]:
        encoder = Encoder(None, self._config)
        kept = (encoder.keep(raw, Counter()) for raw in sample.documents)
        return [sentence for document in kept for sentence in encoder.sentences(document)]


def add_up(counters: Iterable[Counter[str]]) -> Counter[str]:
    return sum(counters, Counter())


def write_json(content: Any, path: str) -> None:
    write_file(epath.Path(path), json.dumps(content).encode())
