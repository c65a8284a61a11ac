"""A grid of fine-tuning runs: learning rates x batch sizes x seeds. In: a config, the results of
runs. Out: the best run, grid.json, a table.
"""

import dataclasses
import json
import math
import statistics
from typing import Any, NamedTuple

from etils import epath

from spanbert_jax.commands.task_run import RESULTS_FILE, Result
from spanbert_jax.config import FinetuneConfig
from spanbert_jax.corpus.files import write_json
from spanbert_jax.training.checkpoint import delete_checkpoints, newest_step
from spanbert_jax.training.processes import is_first, wait_for_all
from spanbert_jax.training.run_folder import GRID_FILE, not_writable


class GridRun(NamedTuple):
    """One run of a grid."""

    name: str
    """Of its folder in the grid's; "" for a run that is no grid."""
    learning_rate: float
    batch_size: int
    seed: int
    config: FinetuneConfig


def runs_of(config: FinetuneConfig) -> list[GridRun]:
    """The runs that a config asks for, cell by cell, seed by seed: one where it asks for no grid.

    Learning rate 2e-5 and 3e-5, batches of 16, two seeds
    -> lr2e-05_batch16_seed42, lr2e-05_batch16_seed43, lr3e-05_batch16_seed42, ...
    """
    return [
        _run_of(config, rate, size, config.training.seed + number)
        for rate, size in config.cells
        for number in range(config.seeds)
    ]


def _run_of(config: FinetuneConfig, rate: float, size: int, seed: int) -> GridRun:
    name = f"lr{rate:g}_batch{size}_seed{seed}" if config.is_grid else ""
    one = dataclasses.replace(
        config, grid="none", learning_rates=(), batch_sizes=(), seeds=1,
        workdir=f"{config.workdir}/{name}" if name else config.workdir,
        optimizer=dataclasses.replace(config.optimizer, learning_rate=rate),
        training=dataclasses.replace(config.training, batch_size=size, seed=seed),
    )  # fmt: skip
    return GridRun(name, rate, size, seed, one)


class Grid:
    """What the runs of a grid came to; the checkpoints of all but the best are deleted."""

    def __init__(self, config: FinetuneConfig, *, metric: str) -> None:
        self._config = config
        self._metric = metric
        # By name: a run holds a config, and one of a user's task may hold lists, which hash not.
        self._done: dict[str, tuple[GridRun, Result]] = {}

    def begin(self) -> None:
        """Mark the folder of a grid as one, before any run is done.

        Raises:
            UserError: it cannot be written.
        """
        folder = epath.Path(self._config.workdir)
        if not (self._config.is_grid and is_first()) or (folder / GRID_FILE).exists():
            return
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_json(folder / GRID_FILE, self._content())
        except OSError as error:
            raise not_writable(folder, error) from error

    def result_of(self, run: GridRun) -> Result | None:
        """What a run came to, if it is done."""
        path = epath.Path(run.config.workdir) / RESULTS_FILE
        return Result(**json.loads(path.read_text())) if path.exists() else None

    def add(self, run: GridRun, result: Result) -> None:
        """Take the result of a run; keep the better checkpoint of it and the best one before."""
        before = self.best if self._done else None
        self._done[run.name] = run, result
        loser = None if before in (None, run) else before if self.best == run else run
        if is_first():
            if loser is not None:
                delete_checkpoints(loser.config.workdir)
            if self._config.is_grid:
                write_json(epath.Path(self._config.workdir) / GRID_FILE, self._content())
        wait_for_all("the grid is written")

    @property
    def best(self) -> GridRun:
        """The run with the highest score on dev, the first of equal ones."""
        return self._best[0]

    @property
    def _best(self) -> tuple[GridRun, Result]:
        return max(self._done.values(), key=lambda done: _rank(done[1].score))

    @property
    def keeps_best(self) -> bool:
        """Whether the best run still has its checkpoint."""
        return newest_step(self.best.config.workdir) is not None

    def reopen(self, run: GridRun) -> None:
        """Let a run be one that is not done yet, also for whoever goes on after a stop."""
        if is_first():
            (epath.Path(run.config.workdir) / RESULTS_FILE).unlink()
        wait_for_all("a run is open again")

    def _content(self) -> dict[str, Any]:
        best, result = self._best if self._done else (None, None)
        return {
            "metric": self._metric,
            "best": best and best.name,
            "scores": result.scores if result else {},
            "runs": [
                {"name": run.name, "learning_rate": run.learning_rate,
                 "batch_size": run.batch_size, "seed": run.seed, "score": result.score}
                for run, result in self._done.values()
            ],
        }  # fmt: skip

    def report(self) -> str:
        """The table of a grid, and the scores of its best run."""
        run, best = self._best
        scores = " · ".join(f"{name} {value:.2f}" for name, value in best.scores.items())
        folder = run.config.workdir
        lines = [] if not self._config.is_grid else [*self._table(), ""]
        lines += [
            f"best on dev, step {best.step:,}: {scores}",
            f"predictions, scores and curves (report.html): {folder}",
            f"next: spanbert evaluate {folder} --task.dev FILE",
        ]
        return "\n".join(lines)

    def _table(self) -> list[str]:
        """A line for each cell: mean, spread and best of its seeds.

        "learning rate  batch  runs  f1 mean  spread   best"
        """
        cells: dict[tuple[float, int], list[float]] = {}
        for run, result in self._done.values():
            cells.setdefault((run.learning_rate, run.batch_size), []).append(result.score)
        title = f"{self._metric} mean"
        lines = [f"learning rate  batch  runs  {title:>{len(title)}}  spread    best"]
        for (rate, size), scores in cells.items():
            mean, spread = statistics.fmean(scores), _spread(scores)
            shown = "     -" if spread is None else f"{spread:6.2f}"
            lines.append(
                f"{rate:13g}  {size:5d}  {len(scores):4d}  {mean:{len(title)}.2f}  {shown}  "
                f"{max(scores):6.2f}"
            )
        return lines


def _spread(scores: list[float]) -> float | None:
    """Standard deviation of the sample; None of a single run."""
    return statistics.stdev(scores) if len(scores) > 1 else None


def _rank(score: float) -> float:
    return -math.inf if math.isnan(score) else score
