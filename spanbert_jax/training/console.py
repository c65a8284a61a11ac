"""What a run says while it goes: live figures in a terminal, plain lines elsewhere, on stderr."""

import sys
from collections.abc import Mapping
from typing import IO, TYPE_CHECKING, Self

from spanbert_jax.training.line_writer import LineWriter, is_pipe
from spanbert_jax.training.metrics import DEV, METRICS_FILE

if TYPE_CHECKING:
    import rich.console
    import rich.live

SEPARATOR = " · "
# Of a task that has more, such as one for every type of entity, the first ones say enough.
SCORES_SHOWN = 6


class Console:
    """Plain lines: for log files, pipes and terminals without cursor movement."""

    def __init__(self, num_steps: int, stream: IO[str] | LineWriter) -> None:
        self._num_steps = num_steps
        self._stream = stream

    def message(self, text: str) -> None:
        """Say something that stays."""
        self._stream.write(f"{text}\n")
        self._stream.flush()

    def say_here(self, text: str) -> None:
        """Say what this very process meets, such as a signal; others cannot know it."""
        self.message(text)

    def train(self, step: int, metrics: Mapping[str, float], *, slowest: str = "") -> None:
        """Show the figures of a training step; slowest: the process that the others wait for."""
        self.message(train_line(step, self._num_steps, metrics, slowest=slowest))

    def evaluation(self, step: int, metrics: Mapping[str, float]) -> None:
        """Show the figures of an evaluation on held-out documents."""
        self.message(evaluation_line(step, self._num_steps, metrics))

    def close(self) -> None:
        """Leave the terminal as it was."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class TerminalConsole(Console):
    """Live figures at the bottom; evaluations and messages scroll away above them."""

    def __init__(self, num_steps: int, console: "rich.console.Console") -> None:
        super().__init__(num_steps, console.file)
        self._console = console
        self._live: rich.live.Live | None = None

    def message(self, text: str) -> None:
        # No markup: rich would take [MASK] for a tag.
        self._console.print(text, markup=False, highlight=False)

    def train(self, step: int, metrics: Mapping[str, float], *, slowest: str = "") -> None:
        from rich.live import Live
        from rich.text import Text

        line = train_line(step, self._num_steps, metrics, slowest=slowest)
        text = Text(wrapped(line, self._console.width), style="cyan")
        if self._live is None:
            # Starts with the first step: until then others may draw, such as a progress bar.
            self._live = Live(text, console=self._console, auto_refresh=False)
            self._live.start()
        self._live.update(text, refresh=True)

    def close(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None


class PipeConsole(Console):
    """Plain lines for a reader that may be slow: the run does not wait for it."""

    def __init__(self, num_steps: int, lines: LineWriter) -> None:
        super().__init__(num_steps, lines)
        self._lines = lines

    def close(self) -> None:
        self._lines.close()


class Silence(PipeConsole):
    """Of a process that leaves speaking to another one, but for what it alone meets: that is said
    in the middle of anything, by a signal, and so by a thread that nobody waits for.
    """

    def __init__(self, num_steps: int, lines: LineWriter, *, name: str) -> None:
        super().__init__(num_steps, lines)
        self._name = name

    def message(self, text: str) -> None:
        pass

    def say_here(self, text: str) -> None:
        self._lines.write(f"{self._name}: {text}\n")


def open_console(
    num_steps: int, stream: IO[str] | None = None, *, speaks: bool = True, name: str = ""
) -> Console:
    """The console that suits `stream` (stderr by default) for a run of `num_steps`.

    speaks: whether this process is the one that says what the run does. name: of one that is not.
    """
    stream = sys.stderr if stream is None else stream
    if not speaks:
        return Silence(num_steps, LineWriter(stream), name=name)
    if stream.isatty():
        import rich.console

        terminal = rich.console.Console(file=stream)
        if not terminal.is_dumb_terminal:
            return TerminalConsole(num_steps, terminal)
    if is_pipe(stream):
        return PipeConsole(num_steps, LineWriter(stream))
    return Console(num_steps, stream)


def train_line(
    step: int, num_steps: int, metrics: Mapping[str, float], *, slowest: str = ""
) -> str:
    """The figures that are there, the more important ones first.

    train_line(1200, 4000, {"loss": 9.1, "mlm_loss": 4.5, "mlm_accuracy": 0.25, "sbo_loss": 4.6,
                            "tokens_per_second": 52_100, "eta_seconds": 130})
    -> "step 1,200/4,000 · loss 9.100 · MLM 4.500 25.0% · SBO 4.600 · 52.1k tokens/s · ETA 2m 10s"
    slowest="process 3 on host-3, 41 ms a step"
    -> "step 1,200/4,000 · ... · slowest: process 3 on host-3, 41 ms a step"
    """
    parts = [f"step {step:,}/{num_steps:,}", *_losses(metrics, "")]
    if "tokens_per_second" in metrics:
        parts.append(f"{_thousands(metrics['tokens_per_second'])} tokens/s")
    if "eta_seconds" in metrics:
        parts.append(f"ETA {duration(metrics['eta_seconds'])}")
    if metrics.get("skipped_steps"):
        parts.append(f"{metrics['skipped_steps']:.0f} steps skipped")
    formats = {
        "data_wait": "data wait {:.0%}",
        "goodput": "goodput {:.0%}",
        "mfu": "MFU {:.1%}",
        "learning_rate": "lr {:.2e}",
        "grad_norm": "grad {:.2g}",
        "epoch": "epoch {:.2f}",
    }
    parts += [text.format(metrics[name]) for name, text in formats.items() if name in metrics]
    if slowest:
        parts.append(f"slowest: {slowest}")
    return SEPARATOR.join(parts)


def evaluation_line(step: int, num_steps: int, metrics: Mapping[str, float]) -> str:
    """evaluation_line(0, 9, {"held_out_mlm_loss": 8.3}) -> "held out at step 0/9 · MLM 8.300".

    evaluation_line(4, 9, {"dev_f1": 71.25}) -> "dev at step 4/9 · f1 71.25"
    """
    scores = [
        f"{name.removeprefix(DEV)} {value:.2f}"
        for name, value in metrics.items()
        if name.startswith(DEV)
    ]
    if scores:
        shown, more = scores[:SCORES_SHOWN], len(scores) - SCORES_SHOWN
        rest = [f"{more} more in {METRICS_FILE}"] if more > 0 else []
        return SEPARATOR.join([f"dev at step {step:,}/{num_steps:,}", *shown, *rest])
    return SEPARATOR.join(
        [f"held out at step {step:,}/{num_steps:,}", *_losses(metrics, "held_out_")]
    )


def wrapped(line: str, width: int) -> str:
    """Break a line between figures, never within one that fits into `width` columns.

    wrapped("step 1/9 · loss 9.100 · ETA 2m 10s", 24) -> "step 1/9 · loss 9.100\\nETA 2m 10s"
    """
    first, *others = line.split(SEPARATOR)
    lines = [first]
    for part in others:
        longer = lines[-1] + SEPARATOR + part
        if len(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(part)
    return "\n".join(lines)


def _losses(metrics: Mapping[str, float], prefix: str) -> list[str]:
    parts = [f"loss {metrics[prefix + 'loss']:.3f}"] if prefix + "loss" in metrics else []
    for name in ("mlm", "sbo", "nsp"):
        loss, accuracy = (metrics.get(f"{prefix}{name}_{kind}") for kind in ("loss", "accuracy"))
        if loss is not None:
            share = "" if accuracy is None else f" {accuracy:.1%}"
            parts.append(f"{name.upper()} {loss:.3f}{share}")
    if prefix + "task_accuracy" in metrics:
        # Its loss is the whole loss.
        parts.append(f"accuracy {metrics[prefix + 'task_accuracy']:.1%}")
    return parts


def _thousands(value: float) -> str:
    """_thousands(52_100) -> "52.1k"; _thousands(1_520_000) -> "1.52M"; _thousands(870) -> "870"."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.0f}"


def duration(seconds: float) -> str:
    """Two units. duration(130) -> "2m 10s"; duration(100_000) -> "1d 3h"; duration(9) -> "9s"."""
    left = round(seconds)
    units = []
    for size, letter in ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")):
        units.append(f"{left // size}{letter}")
        left %= size
    while len(units) > 1 and units[0].startswith("0"):
        units.pop(0)
    return " ".join(units[:2])
