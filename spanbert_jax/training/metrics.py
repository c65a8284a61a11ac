"""What a run measured, on disk. In: step and numbers. Out: metrics.jsonl and TensorBoard files."""

import json
import math
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, Self

from etils import epath

from spanbert_jax.errors import UserError
from spanbert_jax.training.patient_file import PatientFile
from spanbert_jax.training.run_folder import write_whole

METRICS_FILE = "metrics.jsonl"
TENSORBOARD_FOLDER = "tensorboard"
HELD_OUT = "held_out_"
DEV = "dev_"
"""Before the names of the scores of a task."""


class MetricSink(Protocol):
    """A place that numbers of a step are written to."""

    def write(self, step: int, metrics: Mapping[str, float]) -> None: ...

    def close(self) -> None: ...


class MetricsWriter:
    """Writes the numbers of a step to every sink; a context manager."""

    def __init__(self, sinks: Iterable[MetricSink]) -> None:
        self._sinks = list(sinks)

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """`metrics` may hold any number, on the device too: it is read here, and so waited for."""
        values = {name: float(value) for name, value in metrics.items()}
        for sink in self._sinks:
            sink.write(step, values)

    def close(self) -> None:
        for sink in self._sinks:
            sink.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def to_stderr(text: str) -> None:
    """Say something where there is no console."""
    print(text, file=sys.stderr)


def open_metrics(
    run_dir: str | Path,
    *,
    start_step: int = 0,
    writes: bool = True,
    say: Callable[[str], None] = to_stderr,
    more: Sequence[Callable[[], MetricSink]] = (),
) -> MetricsWriter:
    """Write to metrics.jsonl and to tensorboard/ of a run that starts or goes on at `start_step`.

    What a crashed run wrote for later steps is dropped: these steps come again. At step 0 nothing
    is kept. A disk that is full stops no run: it is said, and written later. writes: whether this
    process is the one that does. more: sinks elsewhere.
    """
    if not writes:
        return MetricsWriter([])
    folder = epath.Path(run_dir)
    folder.mkdir(parents=True, exist_ok=True)
    return MetricsWriter(
        [
            JsonLines(folder / METRICS_FILE, start_step=start_step, say=say),
            TensorBoard(folder / TENSORBOARD_FOLDER, start_step=start_step, say=say),
            *(make() for make in more),
        ]
    )


class JsonLines:
    """One JSON object a line: step, time in seconds since 1970, and the numbers."""

    def __init__(
        self,
        path: epath.Path,
        *,
        start_step: int = 0,
        clock: Callable[[], float] = time.time,
        say: Callable[[str], None] = to_stderr,
    ) -> None:
        drop_later_steps(path, step=start_step)
        self._clock = clock
        self._file = PatientFile(path, say=say)

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        # JSON knows no NaN: null stands for a number that is not finite.
        numbers = {name: x if math.isfinite(x) else None for name, x in metrics.items()}
        line = {"step": step, "time": round(self._clock(), 3), **numbers}
        self._file.write((json.dumps(line) + "\n").encode())
        self._file.flush()

    def close(self) -> None:
        self._file.close()


class TensorBoard:
    """Event files, with training and held-out figures of the same name side by side."""

    def __init__(
        self, folder: epath.Path, *, start_step: int = 0, say: Callable[[str], None] = to_stderr
    ) -> None:
        from tensorboardX import SummaryWriter
        from tensorboardX.record_writer import register_writer_factory

        register_writer_factory(_EventFiles.SCHEME, _EventFiles(say))
        # Events of later steps, from before a crash, are hidden by the event that this writes.
        purge = {"purge_step": start_step + 1} if start_step else {}
        self._writer = SummaryWriter(f"{_EventFiles.SCHEME}:{folder}", **purge)

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        for name, value in metrics.items():
            self._writer.add_scalar(tensorboard_tag(name), value, step)

    def close(self) -> None:
        self._writer.close()


class _EventFiles:
    """Opens event files with what the rest of a run is written with, on gs:// too.

    tensorboardX writes them in a thread, which an error would end: the run would wait for it.
    """

    SCHEME = "run"
    """Before a path, by which tensorboardX finds this."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say

    def open(self, path: str) -> PatientFile:
        return PatientFile(self._path(path), say=self._say)

    def directory_check(self, path: str) -> None:
        self._path(path).mkdir(parents=True, exist_ok=True)

    def _path(self, path: str) -> epath.Path:
        return epath.Path(path.removeprefix(f"{self.SCHEME}:"))


def tensorboard_tag(name: str) -> str:
    """tensorboard_tag("held_out_loss") -> "loss/held_out"; "loss" -> "loss/train";
    "dev_f1" -> "f1/dev"
    """
    for prefix in (HELD_OUT, DEV):
        if name.startswith(prefix):
            return f"{name.removeprefix(prefix)}/{prefix.rstrip('_')}"
    return f"{name}/train"


def read_metrics(path: str | Path) -> list[dict[str, float]]:
    """Read metrics.jsonl: one dict a line, with NaN for null.

    A last line that a crash cut short is left out.

    Raises:
        UserError: another line is no JSON object with a step.
    """
    lines = epath.Path(path).read_text().split("\n")
    records = []
    for number, line in enumerate(lines, start=1):
        record = _parsed(line)
        if record is not None:
            records.append(record)
        elif number < len(lines):
            raise UserError(
                f"{path}:{number} is no JSON object with a step; mend the line or delete it"
            )
    return records


def _parsed(line: str) -> dict[str, float] | None:
    try:
        record = json.loads(line)
        record["step"]
    except (ValueError, TypeError, KeyError):
        return None
    return {name: math.nan if x is None else x for name, x in record.items()}


def drop_later_steps(path: epath.Path, *, step: int) -> None:
    """Keep the lines up to `step`, none where it is 0; all of it happens or nothing."""
    if not path.exists():
        return
    text = path.read_text()
    kept = "".join(
        line
        for line, record in zip(text.splitlines(keepends=True), read_metrics(path), strict=False)
        if step and record["step"] <= step
    )
    if kept != text:
        write_whole(path, kept.encode())
