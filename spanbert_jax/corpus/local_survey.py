"""Looks at a corpus on this machine: at its beginning for what is held out, at all of it for near
duplicates and a mixture.

Memory: about 80 bytes for each document, and 512 for each that shares a band with another one.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing

import numpy as np
from jaxtyping import Bool, Int64

from spanbert_jax.config import PrepareConfig
from spanbert_jax.corpus.document_table import is_duplicate, sorted_order
from spanbert_jax.corpus.filters import keep_document
from spanbert_jax.corpus.held_out import held_out_limit
from spanbert_jax.corpus.job import Job
from spanbert_jax.corpus.mixture import (
    check_no_source_is_empty,
    histogram,
    is_beyond_mixture,
    mixture_limits,
    shares,
)
from spanbert_jax.corpus.near_duplicates import NUM_HASHES, band_shape, bands, is_near_duplicate
from spanbert_jax.corpus.scanning import SCANNED, ScannedDocuments, scan_documents, start_scan
from spanbert_jax.corpus.spilling import Step, UnitContent, make_units
from spanbert_jax.corpus.survey import PlaceSet, Survey, mark_shared, sources_of
from spanbert_jax.corpus.units import Unit


def survey_beginning(job: Job) -> Survey:
    """Look at documents until the held-out limit is known: at a few hundred of them as a rule."""
    stage = "looking for documents"
    read: Counter[str] = Counter()

    def keys() -> Iterator[int]:
        for document in documents:
            read["documents"] += 1
            if kept := keep_document(document.raw, job.config, read):
                yield kept.key

    # Left early as a rule: closing the reader closes its file.
    with closing(job.read(stage)) as documents:
        limit, seen = held_out_limit(keys(), job.config.held_out)
    job.progress.update(stage, 1.0, 1.0)
    if not seen:
        raise job.nothing_left(read)
    return Survey(limit)


def survey_corpus(job: Job) -> Survey:
    """Scan all documents, and find those to leave out: copies, then near ones, then too many."""
    config = job.config

    def collect(results: list[tuple[ScannedDocuments, list[int]]]) -> UnitContent:
        return _collect(results, config)

    step = Step(
        "scanned", "looking at all documents", scan_documents, start_scan, (config,), collect,
        about={}, accepts=lambda about: True,
    )  # fmt: skip
    units = make_units(job, step)
    rows = np.concatenate([unit.read("rows") for unit in units])
    dropped: dict[str, np.ndarray] = {}
    order = sorted_order(rows)
    if config.exact_duplicates == "drop":
        copies = is_duplicate(rows[order])
        dropped["exact duplicates"], order = rows["place"][order[copies]], order[~copies]
    if config.near_duplicates:
        job.progress.say(f"comparing {len(order):,} documents for near duplicates")
        near = _near_duplicates(units, order, threshold=config.near_duplicates)
        dropped["near duplicates"], order = rows["place"][order[near]], order[~near]
    source_shares: tuple[float, ...] = ()
    if config.mixture:
        source_of = sources_of(rows["place"][order], job.num_inputs)
        checks = rows["check"][order]
        totals = histogram(
            source_of, checks, rows["num_bytes"][order], num_sources=len(config.mixture)
        )
        if len(order):
            check_no_source_is_empty(totals, config)
        limits = mixture_limits(totals, config.mixture)
        beyond = is_beyond_mixture(source_of, checks, limits)
        dropped["documents beyond the mixture"] = rows["place"][order[beyond]]
        order, source_shares = order[~beyond], shares(totals, limits)
    counts = Counter({reason: len(places) for reason, places in dropped.items()})
    if not len(order):
        raise job.nothing_left(sum((Counter(unit.counts) for unit in units), counts))
    kept = rows["key"][order]
    limit, _ = held_out_limit(map(int, (kept.min(), kept.max())), config.held_out)
    left_out = np.sort(np.concatenate([*dropped.values(), np.zeros(0, np.uint64)]))
    return Survey(limit, PlaceSet(left_out), counts, source_shares)


def _collect(
    results: list[tuple[ScannedDocuments, list[int]]], config: PrepareConfig
) -> UnitContent:
    rows = np.concatenate([scanned.rows for scanned, _ in results])
    rows["place"] = np.concatenate(
        [np.array(places, np.uint64)[it.rows["place"].astype(int)] for it, places in results]
    )
    arrays = {"rows": rows.astype(SCANNED)}
    if config.near_duplicates:
        signatures = np.concatenate([scanned.signatures for scanned, _ in results])
        arrays["signatures"] = signatures
        for number, band in enumerate(bands(signatures, threshold=config.near_duplicates).T):
            arrays[f"band {number}"] = band
    return UnitContent(arrays, (), sum((scanned.dropped for scanned, _ in results), Counter()))


def _near_duplicates(
    units: Sequence[Unit], order: Int64[np.ndarray, " documents"], *, threshold: float
) -> Bool[np.ndarray, " documents"]:
    """Which documents go; `order` are their numbers in the units, in the order of (key, place)."""
    num_bands, _ = band_shape(threshold)

    def band(number: int) -> np.ndarray:
        return np.concatenate([unit.read(f"band {number}") for unit in units])[order]

    candidates = np.zeros(len(order), bool)
    for number in range(num_bands):
        candidates |= mark_shared(band(number))
    signatures = _signatures(units, order[candidates])
    near = np.zeros(len(signatures), bool)
    for number in range(num_bands):
        values = band(number)[candidates]
        by_band = np.argsort(values, kind="stable")
        borders = np.flatnonzero(np.diff(values[by_band])) + 1
        for group in np.split(by_band, borders):
            if len(group) > 1:
                near[group] |= is_near_duplicate(signatures[group], threshold=threshold)
    found = np.zeros(len(order), bool)
    found[np.flatnonzero(candidates)] = near
    return found


def _signatures(units: Sequence[Unit], numbers: Int64[np.ndarray, " documents"]) -> np.ndarray:
    """Signatures of documents by their numbers in the units, a unit at a time."""
    found = np.zeros((len(numbers), NUM_HASHES), np.uint32)
    begin = 0
    for unit in units:
        end = begin + unit.shapes["rows"][0]
        here = (begin <= numbers) & (numbers < end)
        if here.any():
            found[here] = unit.read("signatures")[numbers[here] - begin]
        begin = end
    return found
