"""A page that shows what a masking scheme hides. In: statistics and rows in pieces. Out: HTML."""

import html
from collections.abc import Sequence

from spanbert_jax.config.inspect import InspectConfig
from spanbert_jax.data.mask_statistics import MaskStatistics
from spanbert_jax.tasks.mask_lines import HIDDEN_KINDS, Piece
from spanbert_jax.tasks.mask_report import figures, headline, length_shares, note
from spanbert_jax.training.report import PAGE

LEGEND = (
    ("mask", "[MASK]", "hidden, replaced by [MASK]"),
    ("random", "token", "hidden, replaced at random"),
    ("kept", "token", "hidden, kept as it was"),
    ("boundary", "token", "observed beside a span: the span boundary predicts from it"),
)
MEANINGS = {kind: meaning for kind, _, meaning in LEGEND} | {"special": "no text"}

# Colours that are readable on white and on black; the text keeps the colour of the page.
STYLE = """\
<style>
.mask, .random, .kept { border-radius: 3px; padding: 0 2px; }
.mask { background: #3b82f655; } .random { background: #f9731666; } .kept { background: #14b8a655; }
.boundary { border-bottom: 2px solid #e0559c; }
.special { opacity: 0.5; }
.line { line-height: 2.6; overflow-wrap: anywhere; }
.line + .line { border-top: 1px solid #8884; }
ruby rt { font-size: 70%; opacity: 0.85; }
.legend span { margin-right: 0.5rem; } .legend i { margin-right: 1.5rem; opacity: 0.8; }
.note { opacity: 0.7; max-width: 46rem; }
</style>"""

# Of the drawing, in its own units.
HEIGHT, BASE, STEP, BAR, LEFT = 190, 160, 22, 16, 34
LAW_COLOUR = "#f97316"
BAR_COLOUR = "#3b82f6"


def render_page(
    statistics: MaskStatistics, *, lines: Sequence[Sequence[Piece]], config: InspectConfig
) -> str:
    """One file that needs no network, light and dark: figures, histograms, and lines of text."""
    shares = length_shares(statistics, config=config)
    labels = [share.label for share in shares]
    drawn = [share.drawn for share in shares]
    histograms = [
        draw_histogram("Words a span", labels, [share.words for share in shares], drawn),
        draw_histogram("Tokens a span", labels, [share.tokens for share in shares], []),
    ]
    figures_drawn = "".join(f"<figure>{svg}</figure>" for svg in histograms)
    sections = [
        STYLE,
        f"<section class=panels>{figures_drawn}</section>",
        f"<p class=note>Bars: shares of the spans. Dots: drawn. {html.escape(note(config))}</p>",
        _table(statistics),
        f"<h2>What the model sees</h2>{_legend()}",
        *(f"<p class=line>{render_line(line)}</p>" for line in lines),
    ]
    return PAGE.substitute(
        title=f"Masks of {html.escape(config.mask)}",
        summary=html.escape(headline(config)),
        body="\n".join(sections),
    )


def render_line(pieces: Sequence[Piece]) -> str:
    """A row as HTML; what is hidden stands small above what the model sees in its place."""
    return "".join(map(_render_piece, pieces)).strip()


def _render_piece(piece: Piece) -> str:
    seen = piece.seen.lstrip(" ")
    space = " " * (len(piece.seen) > len(seen) or piece.kind == "special")
    text = html.escape(seen)
    if piece.kind == "observed":
        return space + text
    if piece.kind in HIDDEN_KINDS and piece.kind != "kept":
        text = f"<ruby>{text}<rt>{html.escape(piece.original.strip())}</rt></ruby>"
    meaning = MEANINGS[piece.kind]
    return f'{space}<span class="{piece.kind}" title="{meaning}">{text}</span>'


def _legend() -> str:
    parts = [
        f'<span class="{kind}">{word}</span><i>{meaning}</i>' for kind, word, meaning in LEGEND
    ]
    return (
        f"<p class=legend>{' '.join(parts)}</p>"
        "<p class=note>Small above a replaced span: the text that stood there.</p>"
    )


def _table(statistics: MaskStatistics) -> str:
    rows = [
        f"<tr><th scope=row>{html.escape(figure.label.strip())}</th><td>{figure.text}</td>"
        f"<td>{html.escape(figure.note)}</td></tr>"
        for figure in figures(statistics)
    ]
    return f"<h2>Figures</h2><table>{''.join(rows)}</table>"


def draw_histogram(
    title: str, labels: Sequence[str], shares: Sequence[float], law: Sequence[float | None]
) -> str:
    """Bars of `shares` and dots of `law`, as an SVG element in the colours of the page.

    law: one for each bar, or empty; None draws no dot.
    """
    top = max([*shares, *(p for p in law if p is not None)])
    scale = (BASE - 30) / top
    parts = [
        f'<text x="{LEFT}" y="14" font-size="12" font-weight="600">{html.escape(title)}</text>'
    ]
    for value in (top / 2, top):
        y = BASE - value * scale
        parts.append(
            f'<line x1="{LEFT}" x2="{LEFT + STEP * len(labels)}" y1="{y:.1f}" y2="{y:.1f}" '
            f'stroke="#888" stroke-opacity="0.35"/>'
            f'<text x="{LEFT - 4}" y="{y + 3:.1f}" text-anchor="end">{value:.0%}</text>'
        )
    for i, (label, share) in enumerate(zip(labels, shares, strict=True)):
        x, height = LEFT + STEP * i + (STEP - BAR) / 2, share * scale
        parts.append(
            f'<rect x="{x:.1f}" y="{BASE - height:.1f}" width="{BAR}" height="{height:.1f}" '
            f'fill="{BAR_COLOUR}"><title>{label}: {share:.1%}</title></rect>'
            f'<text x="{x + BAR / 2:.1f}" y="{BASE + 13}" text-anchor="middle">{label}</text>'
        )
    for i, probability in enumerate(law):
        if probability is not None:
            parts.append(
                f'<circle cx="{LEFT + STEP * (i + 0.5):.1f}" cy="{BASE - probability * scale:.1f}" '
                f'r="3" fill="{LAW_COLOUR}"><title>drawn: {probability:.1%}</title></circle>'
            )
    width = LEFT + STEP * len(labels) + 6
    return (
        f'<svg viewBox="0 0 {width} {HEIGHT}" role="img" aria-label="{html.escape(title)}" '
        f'fill="currentColor" font-size="9">{"".join(parts)}</svg>'
    )
