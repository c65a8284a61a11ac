"""One answer of a model, shown. In: a prediction as JSON has it. Out: a table for a terminal, plain
columns elsewhere.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

WIDTH = 100


class Shown(NamedTuple):
    """What is said first, and the table below it."""

    headline: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


def print_answer(described: Mapping[str, Any]) -> None:
    """Print one prediction on standard output."""
    shown = shown_of(described)
    if shown is None:
        print(json.dumps(described, ensure_ascii=False, indent=2))
        return
    is_terminal = sys.stdout.isatty()
    console = Console() if is_terminal else Console(file=sys.stdout, width=WIDTH, color_system=None)
    # `Text`, not strings: rich would take [brackets] for markup.
    console.print(Text(shown.headline, style="bold green" if is_terminal else ""))
    if shown.rows:
        table = Table(box=box.ROUNDED if is_terminal else None)
        for column in shown.columns:
            table.add_column(column)
        for row in shown.rows:
            table.add_row(*map(Text, row))
        console.print(table)


def shown_of(described: Mapping[str, Any]) -> Shown | None:
    """By what a prediction holds: an answer, a label, a relation, entities; None for another one.

    {"label": "a", "probabilities": {"a": 0.75, "b": 0.25}, ...}
    -> "a", ("probability", "label"), [("75%", "a"), ("25%", "b")]
    """
    if "n_best" in described:
        candidates = [
            (percent(each["probability"]), _place(each), each["text"] or "(no answer)")
            for each in described["n_best"]
        ]
        columns = ("probability", "characters", "answer")
        return Shown(described["answer"] or "(no answer)", columns, candidates)
    if "entities" in described:
        entities = [
            (each["type"], _place(each), percent(each["probability"]), each["text"])
            for each in described["entities"]
        ]
        number = len(entities)
        headline = f"{number} {'entity' if number == 1 else 'entities'}"
        return Shown(headline, ("type", "place", "probability", "text"), entities)
    if "score" in described:
        return Shown(f"{described['score']:.4g}", (), [])
    if set(described) == {"prediction"}:
        return Shown(str(described["prediction"]), (), [])
    for name in ("label", "labels", "relation"):
        if name in described:
            value = described[name]
            found = value if isinstance(value, str) else ", ".join(value) or "(no label)"
            odds = described.get("probabilities", {}).items()
            ranked = [(percent(probability), label) for label, probability in odds]
            return Shown(found, ("probability", name.removesuffix("s")), ranked)
    return None


def _place(span: Mapping[str, Any]) -> str:
    """{"start": 16, "end": 22} -> "16-22"; of no answer "-"."""
    return "-" if span["start"] is None else f"{span['start']}-{span['end']}"


def percent(probability: float) -> str:
    """percent(0.4856) -> "48.6%"; percent(0.0000182) -> "0.00182%"."""
    return f"{100 * probability:.3g}%"
