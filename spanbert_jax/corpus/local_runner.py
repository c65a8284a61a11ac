"""Prepares a corpus on this machine: read here, encoded in several processes, gathered here.

Memory: some 256,000 characters for each of three tasks a process, one unit of 64 MB of text as
token ids, and then one shard; nothing grows with the corpus but a few bytes for each document.
"""

from collections import Counter, deque
from collections.abc import Iterator
from itertools import chain
from typing import Any

from spanbert_jax.corpus.document_table import concatenate, table_of
from spanbert_jax.corpus.documents import RawDocument
from spanbert_jax.corpus.encoding import (
    EncodedDocuments,
    KeyRange,
    encode_documents,
    keys_of,
    sentences_of,
    start_encoder,
)
from spanbert_jax.corpus.gathering import arrays_of, count_tokens, gather
from spanbert_jax.corpus.held_out import document_key
from spanbert_jax.corpus.job import Job, ReadDocument, tasks_of
from spanbert_jax.corpus.local_survey import survey_corpus
from spanbert_jax.corpus.shard_set import ShardSet
from spanbert_jax.corpus.shard_writer import write_complete_shard
from spanbert_jax.corpus.sharding import plan_shards
from spanbert_jax.corpus.spilling import Step, UnitContent, make_units
from spanbert_jax.corpus.survey import Survey
from spanbert_jax.corpus.tokenizer_sample import TokenizerSample
from spanbert_jax.corpus.tokenizers import Tokenizer
from spanbert_jax.corpus.tokenizers.loading import find_tokenizer_file
from spanbert_jax.corpus.units import Unit
from spanbert_jax.corpus.workers import map_in_order


def survey(job: Job) -> Survey:
    """Look at all documents."""
    return survey_corpus(job)


def tokenizer_sentences(job: Job, survey: Survey) -> list[str]:
    """Sentences of the documents that a tokenizer is trained on, in the order of their keys."""
    sample = TokenizerSample(job.config.tokenizer_sample_mb * 1e6)
    pending: deque[tuple[int, ReadDocument]] = deque()

    def candidates() -> Iterator[RawDocument]:
        for document in job.read("sampling text for the tokenizer"):
            key = document_key(document.raw.text.encode())
            if sample.may_take(key) and document.place not in survey.left_out:
                pending.append((key, document))
                yield document.raw

    start: dict[str, Any] = {
        "num_workers": job.num_workers, "start": start_encoder,
        "start_arguments": (None, job.config),
    }  # fmt: skip
    for content_key in chain.from_iterable(map_in_order(keys_of, tasks_of(candidates()), **start)):
        key, document = pending.popleft()
        if content_key is not None and content_key >= survey.held_out_limit:
            sample.add(key, document.num_bytes, document.raw)
    parts = map_in_order(sentences_of, tasks_of(sample.documents), **start)
    return [sentence for part in parts for sentence in part]


def make_shards(
    job: Job, survey: Survey, tokenizer: Tokenizer, found: ShardSet
) -> tuple[ShardSet, Counter[str]]:
    """Make the shards that were not found. Returns all, and what was read and left out."""
    units = _encode(job, survey, tokenizer, found.wanted)
    counts = sum((Counter(unit.counts) for unit in units), Counter(survey.counts))
    drop, plan = job.config.exact_duplicates == "drop", found.plan
    if plan is None:
        limit = survey.held_out_limit
        totals = count_tokens(units, held_out_limit=limit, drop_duplicates=drop)
        if not totals["train"]:
            raise job.nothing_left(counts)
        plan = plan_shards(totals, held_out_limit=limit, shard_tokens=job.config.shard_tokens)
    missing = found.missing(plan)
    made = {split: dict(shards) for split, shards in found.complete.items()}
    tables = gather(units, [keys for _, _, keys in missing])
    for done, ((split, number, _), table) in enumerate(zip(missing, tables, strict=True), 1):
        made[split][number] = write_complete_shard(
            job.folder, table, split=split, number=number, plan=plan,
            tokenizer=tokenizer.fingerprint, drop_duplicates=drop,
        )  # fmt: skip
        job.progress.update("writing shards", done, len(missing))
    return ShardSet(made), counts


def _encode(
    job: Job, survey: Survey, tokenizer: Tokenizer, wanted: tuple[KeyRange, ...]
) -> list[Unit]:
    """Encode every document with a wanted key."""

    def accepts(about: dict[str, Any]) -> bool:
        return about["tokenizer"] == tokenizer.fingerprint and all(
            any(begin <= key[0] and key[1] <= end for begin, end in about["wanted"])
            for key in wanted
        )

    step = Step(
        "encoded", "encoding", encode_documents, start_encoder,
        (find_tokenizer_file(job.folder), job.config, wanted, job.tagging), _collect,
        about={"tokenizer": tokenizer.fingerprint, "wanted": list(wanted)}, accepts=accepts,
    )  # fmt: skip
    return make_units(job, step, left_out=survey.left_out)


def _collect(results: list[tuple[EncodedDocuments, list[int]]]) -> UnitContent:
    tables, counts = zip(*(table_of(*result) for result in results), strict=True)
    table = concatenate(tables)
    return UnitContent(arrays_of(table), table.reasons, sum(counts, Counter()))
