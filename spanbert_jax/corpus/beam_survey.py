"""The part of a Beam graph that finds copies, near duplicates and what is beyond the mixture.

In: batches of documents. Out: files of places to leave out, and one of global figures.
"""

import os
from collections.abc import Iterable
from typing import Any

import numpy as np

from spanbert_jax.corpus import beam_steps as steps
from spanbert_jax.corpus.job import Job
from spanbert_jax.corpus.mixture import (
    add_to_histogram,
    empty_histogram,
    is_beyond_mixture,
    mixture_limits,
    shares,
)
from spanbert_jax.corpus.scanning import ScannedDocuments
from spanbert_jax.corpus.survey import sources_of


def draw_survey(batches: Any, job: Job, folder: str) -> None:
    """batches -> a row for each document -> without copies -> without near ones -> mixture."""
    import apache_beam as beam

    config = job.config
    scanned = batches | "scan" >> beam.Map(steps.scan_batch, config).with_output_types(Any)
    documents = scanned | "one by one" >> beam.FlatMap(steps.one_by_one).with_output_types(Any)
    _ = (
        scanned
        | "counts" >> beam.Map(lambda element: element[1]).with_output_types(Any)
        | "add counts" >> beam.CombineGlobally(steps.add_up).with_output_types(Any)
        | "write counts" >> beam.Map(steps.write_json, os.path.join(folder, "scanned.json"))
    )
    left_out = []
    if config.exact_duplicates == "drop":
        documents, copies = _first_of_each_text(documents)
        left_out.append(("exact duplicates", copies))
    if config.near_duplicates:
        documents, near = _far_from_each_other(documents, config.near_duplicates)
        left_out.append(("near duplicates", near))
    shared: Any = None
    if config.mixture:
        documents, beyond, shared = _mixed(documents, config.mixture, job.num_inputs)
        left_out.append(("documents beyond the mixture", beyond))
    for number, (reason, places) in enumerate(left_out):
        _ = (
            places
            | f"name {reason}" >> beam.Map(lambda place, reason: f"{reason}\t{place}", reason)
            | f"write {reason}" >> beam.io.WriteToText(os.path.join(folder, f"left_out-{number}"))
        )
    figures = (
        documents
        | "keys" >> beam.Map(_figures_of).with_output_types(Any)
        | "figures" >> beam.CombineGlobally(_merge).with_output_types(Any)
    )
    sides = () if shared is None else (beam.pvalue.AsSingleton(shared),)
    _ = figures | "write figures" >> beam.Map(
        _write_figures, os.path.join(folder, "survey.json"), *sides
    )


def _first_of_each_text(documents: Any) -> tuple[Any, Any]:
    """The document in the first place of each text, and the places of the others."""
    import apache_beam as beam

    texts = (
        documents
        | "by text" >> beam.Map(steps.by_text).with_output_types(tuple[bytes, Any])
        | "equal texts" >> beam.GroupByKey()
        | "by place"
        >> beam.Map(lambda group: sorted(group[1], key=steps.place)).with_output_types(Any)
    )
    first = texts | "first" >> beam.Map(lambda group: group[0]).with_output_types(Any)
    others = texts | "copies" >> beam.FlatMap(
        lambda group: [steps.place(it) for it in group[1:]]
    ).with_output_types(int)
    return first, others


def _far_from_each_other(documents: Any, threshold: float) -> tuple[Any, Any]:
    """Documents that are no near duplicates, and the places of those that are."""
    import apache_beam as beam

    near = (
        documents
        | "by band" >> beam.FlatMap(steps.by_band, threshold).with_output_types(tuple[bytes, Any])
        | "equal bands" >> beam.GroupByKey()
        | "compare" >> beam.FlatMap(steps.near_places, threshold).with_output_types(int)
        | "once" >> beam.Distinct()
    )
    keyed = documents | "rows by place" >> beam.Map(
        lambda it: (steps.place(it), it._replace(signatures=it.signatures[:, :0]))
    ).with_output_types(tuple[int, Any])
    marked = near | "mark" >> beam.Map(lambda place: (place, None)).with_output_types(
        tuple[int, Any]
    )
    far = (
        {"documents": keyed, "near": marked}
        | "join" >> beam.CoGroupByKey()
        | "far"
        >> beam.FlatMap(
            lambda found: [] if list(found[1]["near"]) else list(found[1]["documents"])
        ).with_output_types(Any)
    )
    return far, near


def _mixed(documents: Any, weights: tuple[float, ...], num_inputs: list[int]) -> tuple[Any, ...]:
    """Documents of the mixture, places of those beyond it, and the limits and shares."""
    import apache_beam as beam

    class AddUp(beam.CombineFn):
        def create_accumulator(self) -> np.ndarray:
            return empty_histogram(len(weights))

        def add_input(self, total: np.ndarray, document: ScannedDocuments) -> np.ndarray:
            rows = document.rows
            sources = sources_of(rows["place"], num_inputs)
            add_to_histogram(total, sources, rows["check"], rows["num_bytes"])
            return total

        def merge_accumulators(self, totals: Iterable[np.ndarray]) -> np.ndarray:
            return sum(totals, self.create_accumulator())

        def extract_output(self, total: np.ndarray) -> tuple[np.ndarray, tuple[float, ...]]:
            limits = mixture_limits(total, weights)
            return limits, shares(total, limits)

    shared = documents | "limits" >> beam.CombineGlobally(AddUp()).with_output_types(Any)

    def is_beyond(document: ScannedDocuments, limits: tuple[np.ndarray, Any]) -> bool:
        rows = document.rows
        sources = sources_of(rows["place"], num_inputs)
        return bool(is_beyond_mixture(sources, rows["check"], limits[0])[0])

    side = beam.pvalue.AsSingleton(shared)
    beyond = (
        documents
        | "beyond" >> beam.Filter(is_beyond, side).with_output_types(Any)
        | "places beyond" >> beam.Map(steps.place).with_output_types(int)
    )
    kept = documents | "mixed" >> beam.Filter(
        lambda document, limits: not is_beyond(document, limits), side
    ).with_output_types(Any)
    return kept, beyond, shared


def _figures_of(document: ScannedDocuments) -> dict[str, Any]:
    key = int(document.rows["key"][0])
    return {"smallest": key, "largest": key}


def _merge(figures: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The smallest and the largest key; None where there is no document."""
    keys = [key for each in figures for key in each.values() if key is not None]
    return {"smallest": min(keys, default=None), "largest": max(keys, default=None)}


def _write_figures(figures: dict[str, Any], path: str, shared: Any = (None, ())) -> None:
    steps.write_json(figures | {"source_shares": shared[1]}, path)
