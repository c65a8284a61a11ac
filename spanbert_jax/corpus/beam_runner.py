"""Prepares a corpus on Apache Beam: Dataflow, Flink, Spark, or processes of one machine.

The same steps as in the local runner, so the shards are the same bytes. This process draws the
graph, waits, and does what is small: it trains the tokenizer and writes the manifest. Every worker
must have the package installed, and reach the sources and --out.
"""

import dataclasses
import json
import os
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
from etils import epath

from spanbert_jax.config import PrepareConfig
from spanbert_jax.corpus import beam_steps as steps
from spanbert_jax.corpus.beam_options import checked_options, refused
from spanbert_jax.corpus.beam_survey import draw_survey
from spanbert_jax.corpus.document_table import table_of
from spanbert_jax.corpus.documents import Source
from spanbert_jax.corpus.encoding import Encoder, KeyRange
from spanbert_jax.corpus.files import FullDisk, write_file
from spanbert_jax.corpus.held_out import held_out_limit
from spanbert_jax.corpus.job import Job, parts_of
from spanbert_jax.corpus.shard_set import ShardSet
from spanbert_jax.corpus.shard_writer import read_complete_shards, write_complete_shard
from spanbert_jax.corpus.sharding import ShardPlan, plan_shards
from spanbert_jax.corpus.shards import SPLITS
from spanbert_jax.corpus.survey import PlaceSet, Survey
from spanbert_jax.corpus.tfds import TfdsSource
from spanbert_jax.corpus.tokenizers import Tokenizer
from spanbert_jax.corpus.tokenizers.loading import find_tokenizer_file
from spanbert_jax.corpus.units import FOLDER
from spanbert_jax.errors import UserError

# How Beam ends the message of an error that a step raised, on whatever machine.
_RAISED = re.compile(
    r"(?P<kind>UserError|ConfigError|FullDisk): (?P<message>[^\n]*?) \[while running"
)


def check_beam(config: PrepareConfig) -> None:
    """Raise `UserError` where Beam is not installed or does not accept its options."""
    try:
        import apache_beam  # noqa: F401
    except ImportError as error:
        raise UserError(
            "--runner beam: needs the package apache-beam, which is not installed; run "
            "`pip install 'spanbert_jax[beam]'`, or leave --runner out to use this machine"
        ) from error
    new_pipeline(config)


def new_pipeline(config: PrepareConfig) -> Any:
    """An empty pipeline; `UserError` where the options are none, or cannot work."""
    import apache_beam as beam

    options = checked_options(config)
    try:
        return beam.Pipeline(options=options)
    except Exception as error:  # each runner raises its own
        raise refused(config, " ".join(str(error).split())) from error


def prepared_by_beam(source: Source, config: PrepareConfig) -> Source:
    """The source; if it is a dataset of TFDS that is not prepared yet, Beam is to prepare it."""
    if not isinstance(source, TfdsSource):
        return source
    return dataclasses.replace(source, beam_options=config.beam_options or "--runner=DirectRunner")


def survey(job: Job) -> Survey:
    """Look at all documents, in a pipeline."""
    for path in job.folder.glob(f"{FOLDER}/left_out-*"):
        path.unlink()
    folder = _folder(job)
    _run(job, lambda pipeline: draw_survey(_batches(pipeline, job), job, folder))
    figures = json.loads(_read(folder, "survey.json"))
    if figures["smallest"] is None:
        raise job.nothing_left(Counter(json.loads(_read(folder, "scanned.json"))))
    counts: Counter[str] = Counter()
    left_out = []
    for path in sorted(job.folder.glob(f"{FOLDER}/left_out-*")):
        for line in path.read_text().splitlines():
            reason, _, place = line.rpartition("\t")
            counts[reason] += 1
            left_out.append(int(place))
    keys = (figures["smallest"], figures["largest"])
    limit, _ = held_out_limit(keys, job.config.held_out)
    places = np.sort(np.array(left_out, np.uint64))
    return Survey(limit, PlaceSet(places), counts, tuple(figures["source_shares"]))


def tokenizer_sentences(job: Job, survey: Survey) -> list[str]:
    """Sentences of the documents that a tokenizer is trained on, in the order of their keys."""
    import apache_beam as beam

    sample = steps.SampleBatches(
        job.config, held_out_limit=survey.held_out_limit, left_out_file=_left_out_file(job, survey)
    )

    class Sample(beam.CombineFn):
        create_accumulator, merge_accumulators = sample.create, sample.merge
        add_input, extract_output = sample.add, sample.sentences

    path = os.path.join(_folder(job), "sample.json")

    def draw(pipeline: Any) -> None:
        sentences = _batches(pipeline, job) | "sample" >> beam.CombineGlobally(
            Sample()
        ).with_output_types(Any)
        _ = sentences | "write sample" >> beam.Map(steps.write_json, path)

    _run(job, draw)
    return json.loads(_read(_folder(job), "sample.json"))


def make_shards(
    job: Job, survey: Survey, tokenizer: Tokenizer, found: ShardSet
) -> tuple[ShardSet, Counter[str]]:
    """Make the shards that were not found. Returns all, and what was read and left out."""
    folder = _folder(job)
    _run(job, lambda pipeline: _draw_shards(pipeline, job, survey, tokenizer, found))
    plan = ShardPlan(**json.loads(_read(folder, "plan.json")))
    counts = Counter(json.loads(_read(folder, "counts.json"))) + survey.counts
    made = ShardSet(
        {
            split: read_complete_shards(job.folder, split, tokenizer=tokenizer.fingerprint)
            for split in SPLITS
        }
    )
    if not any(shard.info for shard in made.complete["train"].values()):
        raise job.nothing_left(counts)
    nothing, _ = table_of(Encoder(tokenizer, job.config).encode([]), [])
    for split, number, _ in made.missing(plan):
        made.complete[split][number] = write_complete_shard(
            job.folder, nothing, split=split, number=number, plan=plan,
            tokenizer=tokenizer.fingerprint, drop_duplicates=True,
        )  # fmt: skip
    return made, counts


def _draw_shards(
    pipeline: Any, job: Job, survey: Survey, tokenizer: Tokenizer, found: ShardSet
) -> None:
    """read -> encode -> count the tokens of each split -> deal out by shard -> write."""
    import apache_beam as beam

    folder = _folder(job)
    tables, counts = _draw_encoded(pipeline, job, survey, tokenizer, found.wanted)
    if (known := found.plan) is None:
        plan = _draw_plan(tables, job, held_out_limit=survey.held_out_limit)
    else:
        plan = pipeline | "known plan" >> beam.Create([known._asdict()]).with_output_types(Any)
    _draw_writing(tables, plan, job, tokenizer=tokenizer.fingerprint)
    _ = plan | "write plan" >> beam.Map(steps.write_json, os.path.join(folder, "plan.json"))
    _ = counts | "write counts" >> beam.Map(steps.write_json, os.path.join(folder, "counts.json"))


def _draw_encoded(
    pipeline: Any, job: Job, survey: Survey, tokenizer: Tokenizer,
    wanted: tuple[KeyRange, ...],
) -> tuple[Any, Any]:  # fmt: skip
    """Tables of the documents with a wanted key, and one count of what was read and left out."""
    import apache_beam as beam

    encoded = _batches(pipeline, job) | "encode" >> beam.Map(
        steps.encode_batch,
        steps.SavedFile(os.fspath(find_tokenizer_file(job.folder)), tokenizer.fingerprint),
        job.config, wanted, job.tagging, _left_out_file(job, survey),
    ).with_output_types(Any)  # fmt: skip
    tables = encoded | "tables" >> beam.Map(lambda element: element[0]).with_output_types(Any)
    counts = (
        encoded
        | "counts" >> beam.Map(lambda element: element[1]).with_output_types(Any)
        | "add counts" >> beam.CombineGlobally(steps.add_up).with_output_types(Any)
    )
    return tables, counts


def _draw_plan(tables: Any, job: Job, *, held_out_limit: int) -> Any:
    """The plan of the shards, from the tokens of each split."""
    import apache_beam as beam

    limit, shard_tokens = held_out_limit, job.config.shard_tokens

    def split_of(text: tuple[bytes, tuple[int, int]]) -> tuple[str, int]:
        _, (key, num_tokens) = text
        return "held_out" if key < limit else "train", num_tokens

    def plan_of(totals: dict[str, int]) -> dict[str, Any]:
        every = dict.fromkeys(SPLITS, 0) | totals
        return plan_shards(every, held_out_limit=limit, shard_tokens=shard_tokens)._asdict()

    texts = tables | "tokens" >> beam.FlatMap(steps.tokens_by_text).with_output_types(
        tuple[bytes, Any]
    )
    if job.config.exact_duplicates == "drop":
        texts = texts | "one of each text" >> beam.CombinePerKey(max)
    return (
        texts
        | "split" >> beam.Map(split_of).with_output_types(tuple[str, int])
        | "add tokens" >> beam.CombinePerKey(sum)
        | "totals" >> beam.combiners.ToDict()
        | "plan" >> beam.Map(plan_of).with_output_types(Any)
    )


def _draw_writing(tables: Any, plan: Any, job: Job, *, tokenizer: str) -> None:
    import apache_beam as beam

    side, drop = beam.pvalue.AsSingleton(plan), job.config.exact_duplicates == "drop"
    _ = (
        tables
        | "deal out" >> beam.FlatMap(steps.by_shard, side).with_output_types(tuple[str, Any])
        | "gather" >> beam.GroupByKey()
        | "write shards"
        >> beam.Map(steps.write_named_shard, side, os.fspath(job.folder), tokenizer, drop)
    )


def _batches(pipeline: Any, job: Job) -> Any:
    """All documents, a few in each element, spread over the workers."""
    import apache_beam as beam

    parts = [steps.alone(source, part, begin) for source, part, begin, _ in parts_of(job.sources)]
    return (
        pipeline
        | "parts" >> beam.Create(parts).with_output_types(Any)
        | "spread parts" >> beam.Reshuffle()
        | "read" >> beam.FlatMap(steps.read_batches).with_output_types(Any)
        | "spread documents" >> beam.Reshuffle()
    )


def _run(job: Job, draw: Callable[[Any], None]) -> None:
    """Run a pipeline; an error of a step is the user's to read, as if it were raised here."""
    pipeline = new_pipeline(job.config)
    options = job.config.beam_options or "--runner=DirectRunner"
    job.progress.say(f"running on Apache Beam: {options}")
    try:
        with pipeline:
            draw(pipeline)
    except Exception as error:
        if (raised := _raised_by_step(error)) is None:
            raise
        raise raised from error


def _raised_by_step(error: Exception) -> UserError | None:
    """What a step raised for the user, without what Beam adds; None where it was another error."""
    if isinstance(error, UserError):
        kind = FullDisk if isinstance(error, FullDisk) else UserError
        return kind(str(error).partition(" [while running")[0])
    found = _RAISED.search(str(error))
    if found is None:
        return None
    return (FullDisk if found["kind"] == "FullDisk" else UserError)(found["message"])


def _folder(job: Job) -> str:
    folder = job.folder / FOLDER
    folder.mkdir(exist_ok=True)
    return os.fspath(folder)


def _read(folder: str, name: str) -> str:
    return (epath.Path(folder) / name).read_text()


def _left_out_file(job: Job, survey: Survey) -> steps.SavedFile:
    path = epath.Path(_folder(job)) / "places.bin"
    return steps.SavedFile(os.fspath(path), write_file(path, survey.left_out.places.tobytes()))
