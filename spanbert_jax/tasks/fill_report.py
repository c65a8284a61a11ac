"""Shows filled texts. In: what tasks/fill.py found. Out: tables for a terminal, text elsewhere."""

import io
from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from spanbert_jax.config import PretrainConfig
from spanbert_jax.corpus.tokenizers import Tokenizer
from spanbert_jax.tasks.fill import Candidate, FilledSpan, FilledText, Opinions, fill_with_model

WIDTH = 100


def fill_report(
    texts: Sequence[str],
    *,
    config: PretrainConfig,
    params: Any,
    tokenizer: Tokenizer,
    top: int = 3,
) -> str:
    """Fill in `texts` with the model of a run and lay out the candidates as plain text.

    Raises:
        UserError: a text without [MASK], or longer than the model was trained on.
    """
    return render_plain(
        fill_with_model(texts, config=config, params=params, tokenizer=tokenizer, top=top)
    )


def render_plain(filled: Sequence[FilledText]) -> str:
    """Aligned columns without lines or colours, for logs, pipes and reports."""
    page = io.StringIO()
    console = Console(file=page, width=WIDTH, color_system=None, force_terminal=False)
    print_filled(filled, console)
    return "\n".join(line.rstrip() for line in page.getvalue().splitlines())


def print_filled(filled: Sequence[FilledText], console: Console) -> None:
    """Print each text, filled, and a table for each of its spans."""
    for text in filled:
        console.print(Text(text.text, style="bold"))
        console.print(Text(f"-> {text.filled}", style="green"))
        for span in text.spans:
            console.print(_table(span, lines=console.is_terminal))
        console.print()


def _table(span: FilledSpan, *, lines: bool) -> Table:
    """One row for the whole span where it is longer than a token, and one for each token."""
    tokens = "1 token" if span.length == 1 else f"{span.length} tokens"
    table = Table(
        title=Text(f"{tokens} between '{span.left}' and '{span.right}'"),
        title_justify="left",
        caption=Text(f"({span.note})") if span.note else None,
        caption_justify="left",
        box=box.ROUNDED if lines else None,
        show_lines=lines,
    )
    for heading in ("", "combined", "masked language model", "span boundary"):
        table.add_column(heading, justify="left")
    if span.length > 1:
        table.add_row("span", *_cells(span.spans))
    for i, opinions in enumerate(span.tokens, start=1):
        table.add_row(f"token {i}", *_cells(opinions))
    return table


def _cells(opinions: Opinions) -> tuple[Text, Text, Text]:
    return (
        _cell(opinions.combined),
        _cell(opinions.mlm),
        _cell(opinions.span_boundary or []),
    )


def _cell(candidates: Sequence[Candidate]) -> Text:
    """A candidate a line. `Text`, not a string: rich would take [brackets] for markup."""
    lines = [f"{percent(candidate.probability):>8}  {candidate.text}" for candidate in candidates]
    return Text("\n".join(lines) or "-")


def percent(probability: float) -> str:
    """Three digits that count: percent(0.4856) -> "48.6%"; percent(0.0000182) -> "0.00182%"."""
    return f"{100 * probability:.3g}%"
