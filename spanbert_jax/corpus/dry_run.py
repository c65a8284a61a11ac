"""Says what prepare would do, from a sample of the text; writes nothing.

In: PrepareConfig. Out: lines for the terminal. Sizes and times are estimates: what the first
documents of the files are like, the rest is taken to be.
"""

import dataclasses
import os
import time
from collections import Counter
from dataclasses import dataclass

import numpy as np

from spanbert_jax.config import PrepareConfig
from spanbert_jax.corpus.document_table import is_duplicate, sorted_order, table_of
from spanbert_jax.corpus.documents import RawDocument, Reading, Source
from spanbert_jax.corpus.encoding import EncodedDocuments, Encoder
from spanbert_jax.corpus.files import as_path
from spanbert_jax.corpus.filters import keep_document
from spanbert_jax.corpus.job import num_cores, parts_of
from spanbert_jax.corpus.near_duplicates import bands, is_near_duplicate
from spanbert_jax.corpus.output_folder import earlier_record
from spanbert_jax.corpus.prepare import found_complete
from spanbert_jax.corpus.record import check_same, make_record
from spanbert_jax.corpus.scanning import scan
from spanbert_jax.corpus.shards import token_dtype
from spanbert_jax.corpus.sources import find_source
from spanbert_jax.corpus.survey import mark_shared
from spanbert_jax.corpus.tagging import Tagger, find_tagging
from spanbert_jax.corpus.tfds import TfdsSource
from spanbert_jax.corpus.tokenizers import Tokenizer, train_tokenizer
from spanbert_jax.errors import UserError

_SAMPLE_CHARACTERS = 4_000_000
_FILES_IN_SAMPLE = 64
_SMALL_VOCABULARIES = (4_000, 1_000, 300, 100)


@dataclass
class _Sample:
    """The first documents of some files, and how much of the source they are."""

    source: Source
    raws: list[RawDocument]
    size: int
    """Bytes of all files."""
    share: float
    """Of them, read for the sample."""


def dry_run(config: PrepareConfig, tokenizer: Tokenizer | None) -> list[str]:
    """What would happen, as lines; a tokenizer that would be trained is replaced by a small one."""
    if found_complete(config, tokenizer) is not None:
        return [f"{config.out}: is complete; prepare would do nothing"]
    tagging = find_tagging(config)
    tagger = None if tagging is None else Tagger(tagging)
    sources = [find_source(spec) for spec in config.source]
    _check_resumable(config, sources, tokenizer, tag_model=tagging.identity if tagging else "")
    absent = [it for it in sources if isinstance(it, TfdsSource) and not it.is_prepared]
    lines = [f"{it.spec}: would be downloaded and prepared first, not looked at" for it in absent]
    samples = [_take_sample(it, len(sources)) for it in sources if it not in absent]
    raws = [raw for sample in samples for raw in sample.raws]
    if not raws:
        return [*lines, "no document was found: prepare would stop with an error"]
    lines += [_describe(sample) for sample in samples]
    small = tokenizer or _small_tokenizer(config, raws)
    if small is None:
        reasons = Counter[str]()
        for raw in raws:
            keep_document(raw, config, reasons)
        return [*lines, f"nothing is left of the sample: {_listed(reasons)}"]
    # One process is timed, as each of those that would work.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    began = time.perf_counter()
    encoded = Encoder(small, config, tagger=tagger).encode(raws)
    seconds = time.perf_counter() - began
    dropped, kept_share = _dropped(encoded, raws, config)
    lines.append(f"left out of the {len(raws):,} documents of the sample: {_listed(dropped)}")
    if config.exact_duplicates == "drop" or config.near_duplicates:
        lines.append("duplicates were looked for in the sample alone: expect more in the whole")
    characters = sum(len(raw.text) for raw in raws)
    whole = _whole_over_sample(samples) * _kept_by_mixture(samples, config)
    return lines + _estimates(
        config, encoded, small, trained=tokenizer is None, scale=whole * kept_share,
        seconds=seconds * _whole_over_sample(samples), speed=characters / seconds,
    )  # fmt: skip


def _check_resumable(
    config: PrepareConfig, sources: list[Source], loaded: Tokenizer | None, *, tag_model: str
) -> None:
    """Raise `UserError` where prepare would not go on in the folder, begun with other options."""
    folder = as_path(config.out)
    before = earlier_record(folder)
    if before is not None and not any(isinstance(it, TfdsSource) for it in sources):
        inputs = {item.name: item.size for source in sources for item in source.inputs}
        now = make_record(config, inputs, loaded, tag_model=tag_model)
        check_same(folder, before=before, now=now)


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in sorted(counts.items())) or "nothing"


def _take_sample(source: Source, num_sources: int) -> _Sample:
    parts = [(part, begin) for _, part, begin, _ in parts_of([source])]
    parts = parts[:: -(-len(parts) // _FILES_IN_SAMPLE)] if parts else []
    limit = _SAMPLE_CHARACTERS // num_sources // max(1, len(parts))
    raws: list[RawDocument] = []
    size_done = 0.0
    for part, _ in parts:
        size = seen = 0.0
        reading = Reading()
        for raw in source.read_part(part, reading):
            # Files are read ahead: up to there, all of what was read is in the sample.
            if size >= limit and reading.size_done > seen:
                break
            raws.append(raw)
            size, seen = size + len(raw.text), reading.size_done
        else:
            seen = reading.size_done
        size_done += seen
    whole = sum(it.size for it in source.inputs)
    return _Sample(source, raws, whole, min(1.0, size_done / max(1, whole)))


def _describe(sample: _Sample) -> str:
    documents = len(sample.raws) / max(sample.share, 1e-9)
    about = "" if sample.share == 1.0 else "about "
    return (
        f"{sample.source.spec}: {len(sample.source.inputs):,} files, {sample.size / 1e6:,.1f} MB, "
        f"{about}{documents:,.0f} documents"
    )


def _small_tokenizer(config: PrepareConfig, raws: list[RawDocument]) -> Tokenizer | None:
    """A tokenizer of the kind that would be trained, on some of the sample; None without text."""
    encoder = Encoder(None, config)
    kept = (encoder.keep(raw, Counter()) for raw in raws[:: max(1, len(raws) // 2_000)])
    sentences = [sentence for document in kept for sentence in encoder.sentences(document)]
    sizes = [size for size in _SMALL_VOCABULARIES if size <= config.vocab_size]
    for size in sizes if sentences else ():
        try:
            return train_tokenizer(dataclasses.replace(config, vocab_size=size), iter(sentences))
        except UserError:
            # The text is too short for so many entries, or its letters are more than that.
            if size == sizes[-1]:
                raise
    return None


def _dropped(
    encoded: EncodedDocuments, raws: list[RawDocument], config: PrepareConfig
) -> tuple[Counter[str], float]:
    """What would go from the sample, by reason, and the share of its tokens that stays."""
    table, dropped = table_of(encoded, range(len(raws)))
    dropped.update(dict(zip(table.reasons, table.counts.sum(axis=0).tolist(), strict=True)))
    order = sorted_order(table.rows)
    if config.exact_duplicates == "drop":
        copies = is_duplicate(table.rows[order])
        dropped["exact duplicates"], order = int(copies.sum()), order[~copies]
    if config.near_duplicates:
        scanned = scan([raws[place] for place in table.rows["place"][order].tolist()], config)
        by_band = bands(scanned.signatures, threshold=config.near_duplicates).T
        candidates = np.logical_or.reduce([mark_shared(band) for band in by_band])
        near = np.zeros(len(order), bool)
        near[candidates] = is_near_duplicate(
            scanned.signatures[candidates], threshold=config.near_duplicates
        )
        dropped["near duplicates"], order = int(near.sum()), order[~near]
    tokens = table.rows["num_tokens"]
    share = float(tokens[order].sum() / max(1, tokens.sum(dtype=np.int64)))
    return Counter({reason: count for reason, count in dropped.items() if count}), share


def _whole_over_sample(samples: list[_Sample]) -> float:
    """How many times the sample the whole is."""
    sampled = [sum(len(raw.text) for raw in sample.raws) for sample in samples]
    whole = sum(size / max(it.share, 1e-9) for size, it in zip(sampled, samples, strict=True))
    return whole / max(1, sum(sampled))


def _kept_by_mixture(samples: list[_Sample], config: PrepareConfig) -> float:
    """Share of the text that a mixture keeps, where all sources were looked at."""
    if len(config.mixture) != len(samples) or not config.mixture:
        return 1.0
    sizes = [sum(len(raw.text) for raw in it.raws) / max(it.share, 1e-9) for it in samples]
    unit = min(size / weight for size, weight in zip(sizes, config.mixture, strict=True))
    return unit / max(1.0, sum(sizes))


def _estimates(
    config: PrepareConfig, encoded: EncodedDocuments, tokenizer: Tokenizer, *, trained: bool,
    scale: float, seconds: float, speed: float,
) -> list[str]:  # fmt: skip
    tokens = len(encoded.tokens) * scale
    rows = len(encoded.sentence_lengths) + int((encoded.document_lengths > 0).sum())
    width = token_dtype(config.vocab_size if trained else tokenizer.vocab_size).itemsize
    size = tokens * width + 4 * rows * scale
    cores = config.num_workers or num_cores()
    passes = 1.0 + (0.5 if config.near_duplicates or config.mixture else 0.0)
    how = f"with a small tokenizer of {tokenizer.vocab_size:,} entries, trained on the sample"
    return [
        f"about {tokens:,.0f} tokens ({how if trained else 'with the tokenizer given'})",
        f"{max(1, -(-int(tokens) // config.shard_tokens)):,} shards of {config.shard_tokens:,} "
        f"tokens, about {size / 1e6:,.1f} MB on disk, and twice that while they are made",
        f"about {_duration(seconds * passes / cores)} with {cores} processes, at "
        f"{speed / 1e6:.1f} MB/s each",
        f"nothing was written; {config.out} is as it was",
    ]


def _duration(seconds: float) -> str:
    """_duration(5) -> "5 s", _duration(7_260) -> "2.0 hours"."""
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 6_000 else f"{seconds / 3600:.1f} hours"
