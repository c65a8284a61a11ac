"""From raw text to shards: the corpus layer from end to end.

In: PrepareConfig. Out: a folder of shards with its manifest. Documents are read in this process
and cleaned, split and tokenized in several; the shards are the same bytes whatever their number.
"""

import itertools
import time
from collections import Counter
from types import ModuleType

from spanbert_jax.config import PrepareConfig
from spanbert_jax.corpus import beam_runner, local_runner
from spanbert_jax.corpus.files import as_path, sha256_of
from spanbert_jax.corpus.job import Job
from spanbert_jax.corpus.local_survey import survey_beginning
from spanbert_jax.corpus.near_duplicates import check_datasketch
from spanbert_jax.corpus.output_folder import (
    complete_manifest,
    earlier_record,
    nothing_half_written,
    remove_progress,
)
from spanbert_jax.corpus.progress import Progress
from spanbert_jax.corpus.record import check_same, make_record
from spanbert_jax.corpus.shard_set import find_shards
from spanbert_jax.corpus.shards import (
    UNIGRAM_FILE,
    Manifest,
    ShardInfo,
    TokenizerInfo,
    count_unigrams,
    write_array,
    write_manifest,
)
from spanbert_jax.corpus.sources import find_source, inputs_at_hand
from spanbert_jax.corpus.summary import summary
from spanbert_jax.corpus.survey import Survey
from spanbert_jax.corpus.tagging import Tagger, find_tagging, identity_at_hand
from spanbert_jax.corpus.tokenizers import Tokenizer, load_tokenizer, train_tokenizer
from spanbert_jax.corpus.tokenizers.loading import TRAINED_KINDS, find_tokenizer_file
from spanbert_jax.errors import UserError


def prepare(config: PrepareConfig, *, progress: Progress) -> Manifest:
    """Write the shards that `config` asks for, or find them complete.

    A run that was stopped goes on behind its last complete shard. Raises `UserError` where a
    source, the tokenizer or the folder cannot be used, before time is spent where that can be
    known, and leaves nothing half-written.
    """
    loaded = check_config(config)
    if config.dry_run:
        raise UserError("--dry-run: is of `spanbert prepare` alone; leave it out here")
    folder = as_path(config.out)
    before = earlier_record(folder)
    if (manifest := found_complete(config, loaded)) is not None:
        remove_progress(folder)  # of a run that was killed behind its manifest
        progress.say(f"{folder}: found complete, nothing to do")
        return manifest
    sources = [find_source(spec) for spec in config.source]
    if config.runner == "beam":
        sources = [beam_runner.prepared_by_beam(source, config) for source in sources]
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
        # First: whatever lies beside a record is ours, wherever this run may be killed.
        record.write(folder)
        # A few documents tell what is held out; what others hold needs a look at all of them.
        looks_at_all = bool(config.near_duplicates or config.mixture)
        survey = _runner(config).survey(job) if looks_at_all else survey_beginning(job)
        tokenizer = _tokenizer_in_folder(job, survey, loaded, resumed=before is not None)
        return _make_shards(job, survey, tokenizer)


def found_complete(config: PrepareConfig, loaded: Tokenizer | None) -> Manifest | None:
    """The manifest of the shards that `config` asks for, where they are complete.

    Raises `UserError` where the folder holds complete shards of something else.
    """
    folder = as_path(config.out)
    before = earlier_record(folder)
    if before is None or (manifest := complete_manifest(folder)) is None:
        return None
    # What the sources name may be gone, or on another machine: the shards hold its text.
    inputs = before.inputs | inputs_at_hand(config.source, recorded=before.inputs)
    tag_model = identity_at_hand(config, recorded=str(before.options.get("tag_model", "")))
    now = make_record(config, inputs, loaded, tag_model=tag_model)
    check_same(folder, before=before, now=now)
    return manifest


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


def check_config(config: PrepareConfig) -> Tokenizer | None:
    """Check what needs no look at the text. Returns the tokenizer, None where one is trained."""
    _check_named(config)
    if config.near_duplicates:
        check_datasketch()
    if config.runner == "beam":
        beam_runner.check_beam(config)
    return _loaded_tokenizer(config)


def _check_named(config: PrepareConfig) -> None:
    if not config.source:
        raise UserError("--source: must name where text comes from; use for instance text:*.txt")
    if not config.out:
        raise UserError("--out: must name the folder for the shards; use for instance --out shards")


def _tokenizer_in_folder(
    job: Job, survey: Survey, loaded: Tokenizer | None, *, resumed: bool
) -> Tokenizer:
    """The tokenizer, its file written beside the shards; trained first where none was loaded."""
    names = [name for name in ("tokenizer.model", "tokenizer.json") if (job.folder / name).exists()]
    if loaded is None and resumed and names:
        return load_tokenizer(job.folder / names[0])
    tokenizer = loaded if loaded is not None else _train_tokenizer(job, survey)
    tokenizer.save(job.folder)
    return tokenizer


def _runner(config: PrepareConfig) -> ModuleType:
    """What carries the steps out: `survey`, `tokenizer_sentences` and `make_shards`."""
    return beam_runner if config.runner == "beam" else local_runner


def _train_tokenizer(job: Job, survey: Survey) -> Tokenizer:
    sentences = _runner(job.config).tokenizer_sentences(job, survey)
    kind, size = job.config.tokenizer, sum(map(len, sentences)) / 1e6
    job.progress.say(f"training a {kind} tokenizer on {size:.1f} MB of text")
    return train_tokenizer(job.config, iter(sentences))


def _make_shards(job: Job, survey: Survey, tokenizer: Tokenizer) -> Manifest:
    found = find_shards(job.folder, tokenizer=tokenizer.fingerprint)
    if found.num_complete:
        job.progress.say(f"{job.folder}: going on, {found.num_complete} shards are complete")
    began = time.monotonic()
    made, counts = _runner(job.config).make_shards(job, survey, tokenizer, found)
    complete = made.in_order()
    for shard in itertools.chain.from_iterable(complete.values()):
        counts.update(shard.dropped)
    megabytes, seconds = counts["text bytes"] / 1e6, time.monotonic() - began
    job.progress.say(
        f"made shards of {megabytes:.1f} MB of text in {seconds:.1f} s "
        f"({megabytes / seconds:.1f} MB/s, {job.num_workers} processes)"
    )
    splits = {
        split: tuple(it.info for it in shards if it.info) for split, shards in complete.items()
    }
    manifest = _finish(job, tokenizer, splits, counts, shares=survey.source_shares)
    for line in summary(manifest):
        job.progress.say(line)
    return manifest


def _finish(
    job: Job, tokenizer: Tokenizer, splits: dict[str, tuple[ShardInfo, ...]],
    counts: Counter[str], *, shares: tuple[float, ...],
) -> Manifest:  # fmt: skip
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
        source_shares=shares,
        counts={reason: count for reason, count in sorted(counts.items()) if count},
    )
    write_manifest(job.folder, manifest)
    remove_progress(job.folder)
    return manifest
