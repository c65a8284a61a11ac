"""From raw text to shards: the corpus layer from end to end.

In: PrepareConfig. Out: a folder of shards with its manifest. Documents are read in this process
and cleaned, split and tokenized in several; the shards are the same bytes whatever their number.
"""

import time
from collections import deque
from collections.abc import Iterator
from contextlib import closing

import numpy as np

from spanbert_jax.config import PrepareConfig
from spanbert_jax.corpus.documents import RawDocument
from spanbert_jax.corpus.encoding import (
    EncodedDocuments,
    encode_documents,
    sentences_of,
    start_encoder,
)
from spanbert_jax.corpus.files import as_path, sha256_of
from spanbert_jax.corpus.held_out import held_out_limit
from spanbert_jax.corpus.job import Job, ReadDocument, units_of
from spanbert_jax.corpus.output_folder import (
    complete_manifest,
    earlier_record,
    nothing_half_written,
)
from spanbert_jax.corpus.progress import Progress
from spanbert_jax.corpus.record import check_same, make_record
from spanbert_jax.corpus.shard_writer import ShardWriter
from spanbert_jax.corpus.shards import (
    SPLITS,
    UNIGRAM_FILE,
    Manifest,
    ShardInfo,
    TokenizerInfo,
    count_unigrams,
    token_dtype,
    write_array,
    write_manifest,
)
from spanbert_jax.corpus.sources import find_source, inputs_at_hand
from spanbert_jax.corpus.summary import summary
from spanbert_jax.corpus.tagging import Tagger, find_tagging, identity_at_hand
from spanbert_jax.corpus.tokenizer_sample import sample_documents
from spanbert_jax.corpus.tokenizers import Tokenizer, load_tokenizer, train_tokenizer
from spanbert_jax.corpus.tokenizers.loading import TRAINED_KINDS, find_tokenizer_file
from spanbert_jax.corpus.workers import map_in_order
from spanbert_jax.errors import UserError


def prepare(config: PrepareConfig, *, progress: Progress) -> Manifest:
    """Write the shards that `config` asks for, or find them complete.

    A run that was stopped goes on behind its last complete shard. Raises `UserError` where a
    source, the tokenizer or the folder cannot be used, before time is spent where that can be
    known, and leaves nothing half-written.
    """
    _check_named(config)
    loaded = _loaded_tokenizer(config)
    folder = as_path(config.out)
    before = earlier_record(folder)
    if before is not None and (manifest := complete_manifest(folder)) is not None:
        # What the sources name may be gone, or on another machine: the shards hold its text.
        inputs = before.inputs | inputs_at_hand(config.source, recorded=before.inputs)
        recorded = str(before.options.get("tag_model", ""))
        tag_model = identity_at_hand(config, recorded=recorded)
        now = make_record(config, inputs, loaded, tag_model=tag_model)
        check_same(folder, before=before, now=now)
        progress.say(f"{folder}: found complete, nothing to do")
        return manifest
    sources = [find_source(spec) for spec in config.source]
    inputs = {item.name: item.size for source in sources for item in source.inputs}
    tagging = find_tagging(config)
    tag_model = "" if tagging is None else tagging.identity
    record = make_record(config, inputs, loaded, tag_model=tag_model)
    if before is not None:
        check_same(folder, before=before, now=record)
    if tagging is not None:
        Tagger(tagging)  # fails here, before text is read for hours
    job = Job(config, folder, sources, record, progress, tagging)
    with nothing_half_written(folder, resumed=before is not None):
        job.held_out_limit = _choose_held_out(job)
        tokenizer = _tokenizer_in_folder(job, loaded, resumed=before is not None)
        return _write_shards(job, tokenizer)


def _loaded_tokenizer(config: PrepareConfig) -> Tokenizer | None:
    """The tokenizer that a path names; None where one is to be trained."""
    if config.tokenizer not in TRAINED_KINDS:
        return load_tokenizer(config.tokenizer, lowercase=config.lowercase)
    if config.lowercase and config.tokenizer != "wordpiece":
        raise UserError(
            f"--lowercase: needs --tokenizer wordpiece or a vocab.txt, found {config.tokenizer}; "
            "leave --lowercase out"
        )
    return None


def _check_named(config: PrepareConfig) -> None:
    if not config.source:
        raise UserError("--source: must name where text comes from; use for instance text:*.txt")
    if not config.out:
        raise UserError("--out: must name the folder for the shards; use for instance --out shards")


def _choose_held_out(job: Job) -> int:
    """The limit below which a document's key means held out; `UserError` for an empty corpus."""
    stage = "looking for documents"
    # Left early as a rule: closing the reader closes its file.
    with closing(job.read(stage)) as documents:
        keys = (document.key for document in documents)
        limit, seen = held_out_limit(keys, job.config.held_out)
    job.progress.update(stage, 1.0, 1.0)
    if not seen:
        raise UserError(
            f"--source {' '.join(job.config.source)}: must hold text, found no document in "
            f"{len(job.record.inputs)} files; check the files and the kind of source"
        )
    return limit


def _tokenizer_in_folder(job: Job, loaded: Tokenizer | None, *, resumed: bool) -> Tokenizer:
    """The tokenizer, its file written beside the shards; trained first where none was loaded."""
    names = [name for name in ("tokenizer.model", "tokenizer.json") if (job.folder / name).exists()]
    if loaded is None and resumed and names:
        return load_tokenizer(job.folder / names[0])
    tokenizer = loaded if loaded is not None else _train_tokenizer(job)
    # First: whatever lies beside a record is ours, wherever this run may be killed.
    job.record.write(job.folder)
    tokenizer.save(job.folder)
    return tokenizer


def _train_tokenizer(job: Job) -> Tokenizer:
    documents = job.read("sampling text for the tokenizer")
    train = (item for item in documents if job.split_of(item) == "train")
    sample = sample_documents(
        ((item.key, item.num_bytes, item.raw) for item in train),
        max_bytes=job.config.tokenizer_sample_mb * 1e6,
    )
    parts = map_in_order(
        sentences_of, units_of(sample), num_workers=job.num_workers,
        start=start_encoder, start_arguments=(None, job.config.split, job.config.language),
    )  # fmt: skip
    sentences = [sentence for part in parts for sentence in part]
    kind, size = job.config.tokenizer, sum(map(len, sentences)) / 1e6
    job.progress.say(f"training a {kind} tokenizer on {size:.1f} MB of text")
    return train_tokenizer(job.config, iter(sentences))


def _write_shards(job: Job, tokenizer: Tokenizer) -> Manifest:
    writers = {
        split: ShardWriter(
            job.folder, split, shard_tokens=job.config.shard_tokens,
            dtype=token_dtype(tokenizer.vocab_size), tokenizer=tokenizer.fingerprint,
        )
        for split in SPLITS
    }  # fmt: skip
    if found := sum(writer.num_found for writer in writers.values()):
        job.progress.say(f"{job.folder}: going on, {found} shards are complete")
    began = time.monotonic()
    _encode_all(job, writers)
    complete = {split: writer.finish(job.counts["documents"]) for split, writer in writers.items()}
    for split, writer in writers.items():
        job.counts += writer.dropped
        for shard in complete[split]:
            job.counts.update(shard.dropped)
    if not complete["train"]:
        raise UserError(
            f"--source {' '.join(job.config.source)}: must leave text to train on, but nothing is "
            f"left of its {job.counts['documents']} documents; lower --held-out "
            f"{job.config.held_out}, or check the files and the kind of source"
        )
    megabytes, seconds = job.counts["text bytes"] / 1e6, time.monotonic() - began
    job.progress.say(
        f"made shards of {megabytes:.1f} MB of text in {seconds:.1f} s "
        f"({megabytes / seconds:.1f} MB/s, {job.num_workers} processes)"
    )
    splits = {split: tuple(each.info for each in shards) for split, shards in complete.items()}
    manifest = _finish(job, tokenizer, splits)
    for line in summary(manifest):
        job.progress.say(line)
    return manifest


def _encode_all(job: Job, writers: dict[str, ShardWriter]) -> None:
    """Encode every document that is in no complete shard, and hand it to its split's writer."""
    in_flight: deque[ReadDocument] = deque()
    results = map_in_order(
        encode_documents, units_of(_documents_to_encode(job, writers, in_flight)),
        num_workers=job.num_workers, start=start_encoder,
        start_arguments=(
            find_tokenizer_file(job.folder), job.config.split, job.config.language, job.tagging,
        ),
    )  # fmt: skip
    for encoded in results:
        _hand_out(encoded, job, writers, in_flight)


def _documents_to_encode(
    job: Job, writers: dict[str, ShardWriter], in_flight: deque[ReadDocument]
) -> Iterator[RawDocument]:
    """Raw documents that are still to be encoded; `in_flight` remembers where they belong."""
    for document in job.read("making shards", job.counts):
        job.counts["documents"] += 1
        job.counts["text bytes"] += document.num_bytes
        if not writers[job.split_of(document)].covers(document.number):
            in_flight.append(document)
            yield document.raw


def _hand_out(
    encoded: EncodedDocuments,
    job: Job,
    writers: dict[str, ShardWriter],
    in_flight: deque[ReadDocument],
) -> None:
    sentence_ends = np.cumsum(encoded.document_lengths)
    token_ends = np.concatenate([[0], np.cumsum(encoded.sentence_lengths)])[sentence_ends]
    sentence = token = span = 0
    for sentence_end, token_end, dropped in zip(
        sentence_ends.tolist(), token_ends.tolist(), encoded.dropped, strict=True
    ):
        document = in_flight.popleft()
        span_end = int(np.searchsorted(encoded.spans[:, 0], token_end))
        writers[job.split_of(document)].add(
            encoded.tokens[token:token_end],
            sentence_lengths=encoded.sentence_lengths[sentence:sentence_end],
            index=document.number,
            dropped=dropped,
            spans=encoded.spans[span:span_end] - token,
        )
        sentence, token, span = sentence_end, token_end, span_end


def _finish(job: Job, tokenizer: Tokenizer, splits: dict[str, tuple[ShardInfo, ...]]) -> Manifest:
    """Count the unigrams and write the manifest, last of all."""
    unigram = count_unigrams(job.folder, splits["train"], vocab_size=tokenizer.vocab_size)
    file = find_tokenizer_file(job.folder)
    manifest = Manifest(
        splits=splits,
        tokenizer=TokenizerInfo(
            file=file.name,
            kind=tokenizer.kind,
            vocab_size=tokenizer.vocab_size,
            fingerprint=tokenizer.fingerprint,
            sha256=sha256_of(file),
        ),
        unigram_sha256=write_array(job.folder / UNIGRAM_FILE, unigram),
        sources=tuple(job.record.sources),
        inputs=job.record.inputs,
        options=job.record.options,
        counts=dict(sorted(job.counts.items())),
    )
    write_manifest(job.folder, manifest)
    return manifest
