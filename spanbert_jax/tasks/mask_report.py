"""What a masking scheme hides, in numbers. In: counts of data/mask_statistics.py, and what was
asked. Out: figures, as JSON and as a table in plain text.
"""

import dataclasses
import textwrap
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int64

from spanbert_jax.config.inspect import InspectConfig
from spanbert_jax.data.mask_statistics import Kind, MaskStatistics
from spanbert_jax.data.spans import span_length_law

MAX_LENGTH_SHOWN = 20
"""Spans longer than this are shown as one group."""
WIDTH, WIDTH_OF_BARS = 80, 30
DRAWN_NOTE = (
    "In words are the words that a span touches. Drawn is the law of lengths{beside}, before "
    "touching spans become one and the last span of a text is cut by its budget."
)


class Figure(NamedTuple):
    """One measured number: its name in JSON, in the table, and how it is written."""

    name: str
    label: str
    value: float
    form: str
    note: str = ""

    @property
    def text(self) -> str:
        return self.form.format(self.value)


def figures(statistics: MaskStatistics) -> list[Figure]:
    """The measured numbers, in the order of the table; `statistics` hold at least one span."""
    hidden, spans, rows = statistics.num_hidden, statistics.num_spans, int(statistics.num_rows)
    mask, random, kept = (
        int(statistics.num_by_kind[kind]) / hidden for kind in (Kind.MASK, Kind.RANDOM, Kind.KEPT)
    )
    share = "{:.1%}"
    return [
        Figure("rows", "rows", rows, "{:,}"),
        Figure("tokens_per_row", "tokens of text a row", int(statistics.num_tokens) / rows,
               "{:,.1f}", _spread(statistics.row_tokens)),
        Figure("padding_share", "padding", int(statistics.num_padding) / int(statistics.num_places),
               share, "of all places"),
        Figure("hidden_share", "hidden tokens", hidden / int(statistics.num_tokens),
               share, "of the text"),
        Figure("mask_share", "  replaced by [MASK]", mask, share, "of the hidden"),
        Figure("random_share", "  replaced at random", random, share, ""),
        Figure("kept_share", "  kept", kept, share, ""),
        Figure("boundary_target_share", "  with a span-boundary target",
               int(statistics.num_boundary_targets) / hidden, share, ""),
        Figure("spans_per_row", "spans a row", spans / rows, "{:,.2f}", "touching ones are one"),
        Figure("words_per_span", "words a span", _mean(statistics.span_words), "{:,.2f}",
               _spread(statistics.span_words)),
        Figure("tokens_per_span", "tokens a span", _mean(statistics.span_tokens), "{:,.2f}",
               _spread(statistics.span_tokens)),
    ]  # fmt: skip


def _mean(histogram: Int64[np.ndarray, " n"]) -> float:
    return float(np.average(np.arange(len(histogram)), weights=histogram))


def _spread(histogram: Int64[np.ndarray, " n"]) -> str:
    """_spread([0, 3, 1]) -> "1 to 2, median 1"."""
    found = np.flatnonzero(histogram)
    median = int(np.searchsorted(np.cumsum(histogram), histogram.sum() / 2))
    return f"{found[0]:,} to {found[-1]:,}, median {median:,}"


def as_json(statistics: MaskStatistics, *, config: InspectConfig) -> dict[str, Any]:
    """Everything that was asked and measured; histograms by length, lengths that occur alone."""
    return {
        "shards": config.shards,
        "split": config.split,
        "blocks": config.blocks,
        "sequence_length": config.sequence_length,
        "seed": config.seed,
        "masking": dataclasses.asdict(config.resolved_masking),
        **{figure.name: float(figure.value) for figure in figures(statistics)},
        "rows": int(statistics.num_rows),
        "spans_by_words": by_length(statistics.span_words),
        "spans_by_tokens": by_length(statistics.span_tokens),
    }


def by_length(histogram: Int64[np.ndarray, " n"]) -> dict[str, int]:
    """by_length([0, 5, 0, 2]) -> {"1": 5, "3": 2}; JSON has no keys that are numbers."""
    return {str(n): int(histogram[n]) for n in np.flatnonzero(histogram)}


def headline(config: InspectConfig) -> str:
    return (
        f"{config.mask} on the {config.split} split of {config.shards}: {config.blocks} blocks of "
        f"{config.sequence_length} tokens, seed {config.seed}"
    )


def note(config: InspectConfig) -> str:
    """What the columns of lengths mean."""
    beside = " beside annotated spans" if config.mask == "tagged_span" else ""
    return DRAWN_NOTE.format(beside=beside)


def render_table(statistics: MaskStatistics, *, config: InspectConfig) -> str:
    """The figures and the histogram of span lengths as aligned columns of plain text."""
    lines = [headline(config), ""]
    shown = figures(statistics)
    width = max(len(figure.label) for figure in shown)
    lines += [f"{f.label:<{width}}  {f.text:>9}  {f.note}".rstrip() for f in shown]
    lines += ["", f"{'length':>8}{'in tokens':>12}{'in words':>12}{'drawn':>9}"]
    shares = length_shares(statistics, config=config)
    largest = max(length.words for length in shares)
    for length in shares:
        drawn = "" if length.drawn is None else f"{length.drawn:.1%}"
        bar = "█" * round(WIDTH_OF_BARS * length.words / largest)
        columns = f"{length.label:>8}{length.tokens:>12.1%}{length.words:>12.1%}{drawn:>9}"
        lines.append(f"{columns}  {bar}".rstrip())
    return "\n".join([*lines, "", *textwrap.wrap(f"Bars: in words. {note(config)}", WIDTH)])


class LengthShare(NamedTuple):
    """Of one length, or of all above, the share of the spans."""

    label: str
    tokens: float
    words: float
    drawn: float | None
    """Probability that a draw asks for so many words; None where no draw does."""


def length_shares(statistics: MaskStatistics, *, config: InspectConfig) -> list[LengthShare]:
    """Shares by length, from 1 to the longest that occurs; beyond `MAX_LENGTH_SHOWN` as one."""
    law = np.diff(span_length_law(config.resolved_masking), prepend=0.0)
    drawn = np.pad(law, [1, 0])
    tokens, words = (_shares(h) for h in (statistics.span_tokens, statistics.span_words))
    longest = max(np.flatnonzero(tokens)[-1], np.flatnonzero(words)[-1], len(law))
    shares = []
    for n in range(1, min(longest, MAX_LENGTH_SHOWN) + 1):
        probability = float(drawn[n]) if n < len(drawn) else None
        shares.append(LengthShare(str(n), _at(tokens, n), _at(words, n), probability))
    if longest > MAX_LENGTH_SHOWN:
        beyond = slice(MAX_LENGTH_SHOWN + 1, None)
        rest = float(drawn[beyond].sum()) if len(drawn) > MAX_LENGTH_SHOWN + 1 else None
        label = f"{MAX_LENGTH_SHOWN + 1}+"
        shares.append(
            LengthShare(label, float(tokens[beyond].sum()), float(words[beyond].sum()), rest)
        )
    return shares


def _shares(histogram: Int64[np.ndarray, " n"]) -> np.ndarray:
    return histogram / histogram.sum()


def _at(shares: np.ndarray, n: int) -> float:
    return float(shares[n]) if n < len(shares) else 0.0
