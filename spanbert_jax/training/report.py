"""A page of curves and figures of a run. In: metrics.jsonl, config.json. Out: report.html."""

import html
import io
import math
from collections.abc import Sequence
from pathlib import Path
from string import Template
from typing import NamedTuple

import numpy as np
from etils import epath
from jaxtyping import Float64

from spanbert_jax.errors import UserError
from spanbert_jax.training.console import duration
from spanbert_jax.training.metrics import DEV, METRICS_FILE, read_metrics
from spanbert_jax.training.run_folder import CONFIG_FILE

REPORT_FILE = "report.html"

# A curve of a long run is averaged to this many points: what the eye can tell apart.
MAX_POINTS = 500

# Readable on white and on black. Text and axes take the colour of the page instead.
TRAIN, HELD_OUT, TRAIN_2, HELD_OUT_2 = "#3b82f6", "#f97316", "#14b8a6", "#e0559c"
PAGE_COLOUR = "#010203"


class Curve(NamedTuple):
    """A metric, how it is called in the legend, and its colour."""

    metric: str
    label: str
    colour: str


# Title of a panel, and its curves.
PANELS: tuple[tuple[str, tuple[Curve, ...]], ...] = (
    ("Masked language model: loss", (
        Curve("mlm_loss", "training", TRAIN),
        Curve("held_out_mlm_loss", "held out", HELD_OUT))),
    ("Span boundary: loss", (
        Curve("sbo_loss", "training", TRAIN),
        Curve("held_out_sbo_loss", "held out", HELD_OUT))),
    ("Next sentence: loss", (
        Curve("nsp_loss", "training", TRAIN),
        Curve("held_out_nsp_loss", "held out", HELD_OUT))),
    ("Accuracy on masked tokens", (
        Curve("mlm_accuracy", "MLM, training", TRAIN),
        Curve("held_out_mlm_accuracy", "MLM, held out", HELD_OUT),
        Curve("sbo_accuracy", "SBO, training", TRAIN_2),
        Curve("held_out_sbo_accuracy", "SBO, held out", HELD_OUT_2))),
    ("Training loss", (Curve("task_loss", "training", TRAIN),)),
    ("Accuracy", (Curve("task_accuracy", "training", TRAIN),)),
    ("Learning rate", (Curve("learning_rate", "learning rate", TRAIN),)),
    ("Gradient norm", (Curve("grad_norm", "gradient norm", TRAIN),)),
    ("Tokens per second", (Curve("tokens_per_second", "tokens per second", TRAIN),)),
)  # fmt: skip

# Rows of the table, and how their numbers are written.
FIGURES = (
    ("held_out_loss", "Held-out loss", "{:.3f}"),
    ("held_out_mlm_loss", "Held-out MLM loss", "{:.3f}"),
    ("held_out_mlm_accuracy", "Held-out MLM accuracy", "{:.1%}"),
    ("held_out_sbo_loss", "Held-out SBO loss", "{:.3f}"),
    ("held_out_sbo_accuracy", "Held-out SBO accuracy", "{:.1%}"),
    ("held_out_nsp_loss", "Held-out next-sentence loss", "{:.3f}"),
    ("held_out_nsp_accuracy", "Held-out next-sentence accuracy", "{:.1%}"),
    ("mlm_loss", "Training MLM loss", "{:.3f}"),
    ("sbo_loss", "Training SBO loss", "{:.3f}"),
    ("nsp_loss", "Training next-sentence loss", "{:.3f}"),
    ("task_loss", "Training loss", "{:.3f}"),
    ("task_accuracy", "Training accuracy", "{:.1%}"),
    ("tokens_per_second", "Tokens per second", "{:,.0f}"),
    ("data_wait", "Share of time waiting for data", "{:.1%}"),
    ("mfu", "Model FLOP/s utilisation", "{:.1%}"),
    ("skipped_steps", "Steps skipped", "{:.0f}"),
)

# Panels whose axis starts at 0: small swings of a steady figure would look large.
FROM_ZERO = ("tokens_per_second", "grad_norm", "learning_rate")

Records = Sequence[dict[str, float]]


def write_report(run_dir: str | Path, *, kind: str = "Pretraining", filled: str = "") -> epath.Path:
    """Write report.html of a run: one file that needs no network, light and dark.

    Args:
        run_dir: holds metrics.jsonl and, if the config is to be shown, config.json.
        kind: of the run, for the title.
        filled: sentences that the model filled in, shown as they are.

    Raises:
        UserError: there are no metrics, or they are damaged.
    """
    folder = epath.Path(run_dir)
    metrics, config = folder / METRICS_FILE, folder / CONFIG_FILE
    if not metrics.exists():
        raise UserError(f"{metrics} does not exist; a report needs a run that has logged a step")
    records = read_metrics(metrics)
    if not records:
        raise UserError(f"{metrics} is empty; a report needs a run that has logged a step")
    page = render_page(
        records,
        title=f"{kind} run {folder.name}",
        config=config.read_text() if config.exists() else "",
        filled=filled,
    )
    report = folder / REPORT_FILE
    temporary = folder / f"{REPORT_FILE}.tmp"
    temporary.write_text(page)
    return temporary.replace(report)


def render_page(records: Records, *, title: str, config: str, filled: str) -> str:
    """The whole page as HTML."""
    sections = [f"<section class=panels>{''.join(_panels(records))}</section>", _table(records)]
    if filled:
        sections.append(f"<h2>Masked spans filled in</h2><pre>{html.escape(filled)}</pre>")
    if config:
        sections.append(
            f"<details><summary>Configuration</summary><pre>{html.escape(config)}</pre></details>"
        )
    return PAGE.substitute(
        title=html.escape(title), summary=html.escape(_summary(records)), body="\n".join(sections)
    )


def _summary(records: Records) -> str:
    """Interruptions count: the clock on the wall is what a log keeps."""
    seconds = records[-1].get("time", 0.0) - records[0].get("time", 0.0)
    return f"{int(records[-1]['step']):,} steps in {duration(seconds)}"


class Series(NamedTuple):
    """Finite values of one metric and the steps they belong to."""

    steps: Float64[np.ndarray, " points"]
    values: Float64[np.ndarray, " points"]


def series(records: Records, metric: str) -> Series:
    """series([{"step": 1, "a": 2.0}, {"step": 2}], "a") -> Series([1.0], [2.0])."""
    points = [
        (record["step"], record[metric])
        for record in records
        if metric in record and math.isfinite(record[metric])
    ]
    array = np.array(points, dtype=np.float64).reshape(-1, 2)
    return Series(array[:, 0], array[:, 1])


def averaged(points: Series, *, max_points: int) -> Series:
    """Average neighbours so that at most `max_points` are left.

    steps = [1, 2, 3, 4], values = [1, 3, 5, 7], max_points = 2 -> [1.5, 3.5], [2, 6]
    """
    if len(points.steps) <= max_points:
        return points
    steps, values = (
        np.array([part.mean() for part in np.array_split(array, max_points)]) for array in points
    )
    return Series(steps, values)


def _panels(records: Records) -> list[str]:
    panels = []
    for title, curves in (*_score_panels(records), *PANELS):
        drawn = [(curve, series(records, curve.metric)) for curve in curves]
        drawn = [(curve, points) for curve, points in drawn if len(points.steps)]
        if drawn:
            panels.append(f"<figure>{draw_panel(title, drawn)}</figure>")
    return panels


def _scores(records: Records) -> list[str]:
    """Names of the scores of a task on dev, in their order."""
    return list(dict.fromkeys(name for each in records for name in each if name.startswith(DEV)))


def _score_panels(records: Records) -> list[tuple[str, tuple[Curve, ...]]]:
    """A panel for each score of a task: their scales differ."""
    return [
        (f"Dev: {name.removeprefix(DEV)}", (Curve(name, "dev", HELD_OUT),))
        for name in _scores(records)
    ]


def draw_panel(title: str, curves: Sequence[tuple[Curve, Series]]) -> str:
    """One panel as an SVG element that takes text and axis colours from the page."""
    import matplotlib
    from matplotlib.figure import Figure

    style = {
        "svg.fonttype": "none",  # text stays text: small, selectable, in the page's font
        "svg.hashsalt": title,  # the same run draws the same bytes; panels share no ids
        **{key: PAGE_COLOUR for key in
           ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color")},
    }  # fmt: skip
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(5.2, 3.2), layout="constrained")
        axes = figure.add_subplot()
        for curve, points in curves:
            steps, values = averaged(points, max_points=MAX_POINTS)
            marker = "o" if curve.metric.startswith("held_out") or len(steps) == 1 else ""
            axes.plot(
                steps, values, color=curve.colour, label=curve.label, marker=marker, markersize=3,
                linewidth=1.4,
            )  # fmt: skip
        if curves[0][0].metric in FROM_ZERO:
            axes.set_ylim(bottom=0)
        axes.set_title(title, fontsize=11, loc="left")
        axes.set_xlabel("step")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#888888", alpha=0.25, linewidth=0.6)
        if len(curves) > 1:
            axes.legend(frameon=False, fontsize=9)
        drawing = io.StringIO()
        figure.savefig(drawing, format="svg", transparent=True, metadata={"Date": None})
    svg = drawing.getvalue()
    return svg[svg.index("<svg") :].replace(PAGE_COLOUR, "currentColor")


def _table(records: Records) -> str:
    rows = []
    scores = [(name, f"Dev: {name.removeprefix(DEV)}", "{:.2f}") for name in _scores(records)]
    for metric, name, form in (*scores, *FIGURES):
        points = series(records, metric)
        if len(points.steps):
            cells = "".join(
                f"<td>{form.format(points.values[i])}</td><td>{points.steps[i]:,.0f}</td>"
                for i in (0, -1)
            )
            rows.append(f"<tr><th scope=row>{name}</th>{cells}</tr>")
    head = "<tr><th></th><th>first</th><th>at step</th><th>last</th><th>at step</th></tr>"
    return f"<h2>First and last figures</h2><table>{head}{''.join(rows)}</table>"


PAGE = Template("""\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1180px; margin: 2rem auto;
  padding: 0 1rem; background: Canvas; color: CanvasText; }
h1 { margin-bottom: 0; }
h1 + p { margin-top: 0.2rem; opacity: 0.7; }
h2 { font-size: 1.1rem; margin-top: 2rem; }
.panels { display: grid; grid-template-columns: repeat(auto-fit, minmax(340px, 1fr)); gap: 1rem; }
figure { margin: 0; }
figure svg { width: 100%; height: auto; }
svg text { font-family: system-ui, sans-serif !important; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 0.25rem 0.9rem 0.25rem 0; text-align: right; }
th { font-weight: 500; }
th[scope=row] { text-align: left; }
tr + tr > * { border-top: 1px solid #8884; }
pre { overflow-x: auto; padding: 0.8rem; background: #8881; border-radius: 6px; font-size: 13px; }
summary { cursor: pointer; margin-top: 2rem; font-size: 1.1rem; font-weight: 600; }
</style>
</head>
<body>
<h1>$title</h1>
<p>$summary</p>
$body
</body>
</html>
""")
