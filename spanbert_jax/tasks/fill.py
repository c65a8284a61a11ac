"""Fills in the [MASK] tokens of texts. In: texts and a model. Out: ranked candidates as strings.

Each masked span is judged by the masked language model, by the span-boundary objective, and by
both combined. The span-boundary objective predicts token i of a span s..e from its observed
neighbours alone, y_i = f(x_{s-1}, x_{e+1}, p_{i-s+1}) (SpanBERT sec. 3.2), and was trained only
where both are tokens of the text: beside [CLS] or [SEP] it says nothing here.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float, Float64

from spanbert_jax.config import ModelConfig, PretrainConfig
from spanbert_jax.corpus.tokenizers import Tokenizer
from spanbert_jax.data.batch import PretrainBatch, empty_batch
from spanbert_jax.errors import UserError
from spanbert_jax.model.pretraining import SpanBert
from spanbert_jax.tasks.candidates import (
    MaskedSpan,
    combine,
    log_probabilities,
    masked_spans,
    top_spans,
)
from spanbert_jax.training.objective import model_inputs


class Logits(NamedTuple):
    """Vocabulary logits at prediction slots, on the host."""

    mlm: Float[np.ndarray, "*batch predictions vocab"]
    span_boundary: Float[np.ndarray, "*batch predictions vocab"] | None


LogitsFunction = Callable[[PretrainBatch], Logits]

# Rows of a batch: few enough that vocabulary logits of long texts stay small.
ROWS = 8


@dataclass(frozen=True)
class Candidate:
    """A token or a whole span, as text, with its probability among all candidates."""

    text: str
    probability: float


@dataclass(frozen=True)
class Opinions:
    """Candidates, best first, of each judge; None where the span-boundary head has no say."""

    mlm: list[Candidate]
    span_boundary: list[Candidate] | None
    combined: list[Candidate]


@dataclass(frozen=True)
class FilledSpan:
    """One masked span of a text."""

    length: int
    left: str
    """The observed token before the span, as a piece of the vocabulary."""
    right: str
    note: str
    """Why the span-boundary objective has no say about some or all of its tokens, or empty."""
    spans: Opinions
    tokens: list[Opinions]


@dataclass(frozen=True)
class FilledText:
    """A text, and what may stand in its masked spans."""

    text: str
    filled: str
    """The text with the best combined candidate in every span."""
    spans: list[FilledSpan]


def fill_with_model(
    texts: Sequence[str],
    *,
    config: PretrainConfig,
    params: Any,
    tokenizer: Tokenizer,
    top: int = 5,
) -> list[FilledText]:
    """`fill_masks` with the model of a run, as long as the sequences it was trained on."""
    model = dataclasses.replace(
        config.model, vocab_size=config.model.vocab_size or tokenizer.vocab_size
    )
    return fill_masks(
        texts,
        logits=model_logits(SpanBert(model, config.compute), params),
        tokenizer=tokenizer,
        model=model,
        max_length=config.data.sequence_length,
        top=top,
    )


def model_logits(model: SpanBert, params: Any) -> LogitsFunction:
    """The compiled model, from the fields of a batch that it sees to its logits."""

    @jax.jit
    def apply(params: Any, inputs: dict[str, Any]) -> Any:
        return model.apply({"params": params}, **inputs)

    def logits(batch: PretrainBatch) -> Logits:
        judged = jax.device_get(apply(params, model_inputs(batch)))
        return Logits(judged.mlm, judged.span_boundary)

    return logits


def fill_masks(
    texts: Sequence[str],
    *,
    logits: LogitsFunction,
    tokenizer: Tokenizer,
    model: ModelConfig,
    max_length: int,
    top: int = 5,
) -> list[FilledText]:
    """Rank what may stand in each run of [MASK] tokens.

    Args:
        texts: each with at least one [MASK]; neighbouring ones are one span.
        logits: the model, from a batch to logits (batch, predictions, vocab).
        max_length: longest row in tokens, [CLS] and [SEP] included.
        top: candidates per token and per span.

    Raises:
        UserError: a text without [MASK], or longer than `max_length`.
    """
    rows = [masked_row(text, tokenizer=tokenizer, max_length=max_length) for text in texts]
    filled: list[FilledText] = []
    for batch, part in _batches(rows, tokenizer=tokenizer, model=model):
        mlm, boundary = logits(batch)
        for i, row in enumerate(part):
            of_row = Logits(mlm[i], None if boundary is None else boundary[i])
            text = texts[len(filled)]
            filled.append(_fill_row(text, row, of_row, tokenizer=tokenizer, model=model, top=top))
    return filled


def masked_row(text: str, *, tokenizer: Tokenizer, max_length: int) -> list[int]:
    """[CLS] text [SEP] as token ids; `UserError` where there is no [MASK] or the text too long."""
    ids = [tokenizer.cls_id, *tokenizer.encode_with_masks(text), tokenizer.sep_id]
    if tokenizer.mask_id not in ids:
        raise UserError(f"{text!r} has no [MASK] to fill in; write [MASK] once for every token")
    if len(ids) > max_length:
        raise UserError(
            f"{text[:60]!r}... has {len(ids)} tokens, [CLS] and [SEP] included, and the model was "
            f"trained on at most {max_length}; shorten the text around its [MASK] tokens"
        )
    return ids


def has_both_neighbours(span: MaskedSpan, row: Sequence[int]) -> bool:
    """Whether neither neighbour is [CLS], the first of a row, or [SEP], the last."""
    return span.left > 0 and span.right < len(row) - 1


def _batches(
    rows: Sequence[list[int]], *, tokenizer: Tokenizer, model: ModelConfig
) -> Iterator[tuple[PretrainBatch, Sequence[list[int]]]]:
    """Batches of one shape, so that the model compiles once; the last is filled with padding."""
    length = max((len(row) for row in rows), default=0)
    predictions = max((row.count(tokenizer.mask_id) for row in rows), default=0)
    size = min(ROWS, len(rows))
    for start in range(0, len(rows), ROWS):
        part = rows[start : start + ROWS]
        batch = empty_batch(size, length, predictions)
        batch.token_ids[:] = tokenizer.pad_id
        for i, row in enumerate(part):
            _write_row(batch, i, row, mask_id=tokenizer.mask_id, model=model)
        yield batch, part


def _write_row(
    batch: PretrainBatch, i: int, row: Sequence[int], *, mask_id: int, model: ModelConfig
) -> None:
    batch.token_ids[i, : len(row)] = row
    batch.document_ids[i, : len(row)] = 1
    batch.position_ids[i, : len(row)] = np.arange(len(row))
    slot = 0
    for span in masked_spans(row, mask_id=mask_id):
        offsets = np.arange(span.length)
        slots = slice(slot, slot + span.length)
        batch.masked_positions[i, slots] = span.start + offsets
        batch.masked_weights[i, slots] = 1
        if has_both_neighbours(span, row):
            batch.boundary_left[i, slots] = span.left
            batch.boundary_right[i, slots] = span.right
            # Deeper tokens have no row in the table; their logits are not looked at.
            batch.boundary_offset[i, slots] = np.minimum(offsets, model.max_boundary_offsets - 1)
            batch.boundary_weights[i, slots] = offsets < model.max_boundary_offsets
        slot += span.length


def _fill_row(
    text: str,
    row: list[int],
    logits: Logits,
    *,
    tokenizer: Tokenizer,
    model: ModelConfig,
    top: int,
) -> FilledText:
    candidates = _candidates(tokenizer, vocab_size=logits.mlm.shape[-1])
    filled, spans, slot = list(row), [], 0
    for span in masked_spans(row, mask_id=tokenizer.mask_id):
        slots = slice(slot, slot + span.length)
        slot += span.length
        num_known, note = _boundary_reach(span, row, model)
        mlm = log_probabilities(logits.mlm[slots], candidates=candidates)
        boundary = mlm[:0]
        if num_known and logits.span_boundary is not None:
            known = logits.span_boundary[slots][:num_known]
            boundary = log_probabilities(known, candidates=candidates)
        judged = _Judged(mlm, boundary)
        filled[span.start : span.right] = top_spans(judged.combined, top=1)[0].token_ids
        spans.append(
            FilledSpan(
                length=span.length,
                left=tokenizer.id_to_piece(row[span.left]),
                right=tokenizer.id_to_piece(row[span.right]),
                note=note,
                spans=_span_opinions(judged, tokenizer=tokenizer, top=top),
                tokens=_token_opinions(judged, tokenizer=tokenizer, top=top),
            )
        )
    return FilledText(text=text, filled=tokenizer.decode(filled), spans=spans)


def _candidates(tokenizer: Tokenizer, *, vocab_size: int) -> Bool[np.ndarray, " vocab"]:
    """Every entry of the vocabulary but the special ones; rows beyond it are padding."""
    allowed = np.arange(vocab_size) < tokenizer.vocab_size
    special = ("pad_id", "unk_id", "cls_id", "sep_id", "mask_id")
    allowed[[getattr(tokenizer, name) for name in special]] = False
    return allowed


def _boundary_reach(span: MaskedSpan, row: Sequence[int], model: ModelConfig) -> tuple[int, str]:
    """How many tokens of a span, from its start, the span-boundary head knows, and why not all."""
    limit = model.max_boundary_offsets
    if not model.span_boundary_head:
        return 0, "the model was trained without the span-boundary objective"
    if not has_both_neighbours(span, row):
        return 0, "the span touches an end of the text: the span-boundary objective has no say"
    if span.length > limit:
        return limit, f"the span-boundary objective knows the first {limit} tokens of a span"
    return span.length, ""


class _Judged(NamedTuple):
    """Log-probabilities of one span; the span-boundary head knows its first `known` tokens."""

    mlm: Float64[np.ndarray, "tokens vocab"]
    boundary: Float64[np.ndarray, "known vocab"]

    @property
    def combined(self) -> Float64[np.ndarray, "tokens vocab"]:
        """Both, where both speak; else the masked language model alone."""
        known = len(self.boundary)
        return np.concatenate([combine(self.mlm[:known], self.boundary), self.mlm[known:]])


def _span_opinions(judged: _Judged, *, tokenizer: Tokenizer, top: int) -> Opinions:
    """Whole spans; the span-boundary head speaks only where it knows every token."""

    def ranked(log_probs: np.ndarray) -> list[Candidate]:
        spans = top_spans(log_probs, top=top)
        return [Candidate(tokenizer.decode(span.token_ids), span.probability) for span in spans]

    whole = len(judged.boundary) == len(judged.mlm)
    return Opinions(
        mlm=ranked(judged.mlm),
        span_boundary=ranked(judged.boundary) if whole else None,
        combined=ranked(judged.combined),
    )


def _token_opinions(judged: _Judged, *, tokenizer: Tokenizer, top: int) -> list[Opinions]:
    """Every token by itself, as a piece of the vocabulary: with its mark of a word's start."""

    def ranked(log_probs: np.ndarray) -> list[Candidate]:
        spans = top_spans(log_probs[None], top=top)
        pieces = [tokenizer.id_to_piece(span.token_ids[0]) for span in spans]
        return [Candidate(p, s.probability) for p, s in zip(pieces, spans, strict=True)]

    combined = judged.combined
    return [
        Opinions(
            mlm=ranked(judged.mlm[i]),
            span_boundary=ranked(judged.boundary[i]) if i < len(judged.boundary) else None,
            combined=ranked(combined[i]),
        )
        for i in range(len(judged.mlm))
    ]
