"""`spanbert finetune`: a task learnt from pretrained weights; one run, or a grid of them.

Everything that can be checked without a device is checked before JAX starts.
"""

import dataclasses
import os
import sys
import tempfile
from collections.abc import Iterable
from typing import TYPE_CHECKING

from etils import epath

from spanbert_jax.commands.task_files import check_files
from spanbert_jax.config import DistributedConfig, FinetuneConfig
from spanbert_jax.errors import UserError
from spanbert_jax.training import run_folder
from spanbert_jax.training.activity import FINISHING, STARTING, Activity
from spanbert_jax.training.host_memory import keep_freed_memory
from spanbert_jax.training.leaving import ending
from spanbert_jax.training.surroundings import is_one_of_several
from spanbert_jax.training.weights_and_biases import check_installed

if TYPE_CHECKING:
    from spanbert_jax.commands.task_grid import GridRun
    from spanbert_jax.commands.task_run import Result
    from spanbert_jax.tasks.splits import TaskData
    from spanbert_jax.training.interrupts import StopRequest
    from spanbert_jax.weights.loading import Pretrained


def run(config: FinetuneConfig) -> int:
    """Fine-tune, keep the best checkpoint on dev, write its predictions; return the exit code."""
    keep_freed_memory()
    home = os.path.expanduser
    config = dataclasses.replace(
        config, workdir=home(config.workdir), init_from=home(config.init_from.removeprefix("hf:"))
    )
    activity = Activity()
    if not is_one_of_several(config.distributed):
        _check(config)
        return _tune(config, activity)

    from spanbert_jax.training.processes import joined, together

    with joined(config.distributed, activity):
        # Where this process stands among them is none of the run's settings.
        config = dataclasses.replace(config, distributed=DistributedConfig())
        together(lambda: _check(config))
        return _tune(config, activity)


def _check(config: FinetuneConfig) -> None:
    """All that needs no device."""
    run_folder.check_writable(config.workdir)
    run_folder.check_not_imported(config.workdir)
    run_folder.check_weights_exist(config.init_from)
    check_installed(config.metrics.wandb)
    check_files(config.task)
    _check_one_kind(config)


def _tune(config: FinetuneConfig, activity: Activity) -> int:
    """Read weights and data, and run what is to be run."""
    # Imported here: the checks before this answer while JAX is still down.
    from spanbert_jax.commands.task_grid import runs_of
    from spanbert_jax.commands.task_run import check_fits
    from spanbert_jax.tasks.splits import read_task_data
    from spanbert_jax.tasks.task import load_task
    from spanbert_jax.training.compilation_cache import keep_compiled
    from spanbert_jax.training.interrupts import StopRequest
    from spanbert_jax.training.processes import check_same_run, own_console, together
    from spanbert_jax.weights.loading import read_pretrained
    from spanbert_jax.weights.starting import with_dropout

    runs = runs_of(config)

    def started() -> "Pretrained":
        for each in runs:
            _check_resumable(each.config)
        start = with_dropout(read_pretrained(config.init_from), config.training.dropout_rate)
        for each in runs:
            check_fits(each.config, start.model)
        return start

    start = together(started)
    with (
        own_console(0) as console,
        StopRequest(console.say_here) as stop,
    ):
        keep_compiled(config.compute.compilation_cache, say=console.message)
        data = together(
            lambda: read_task_data(
                load_task(config.task), tokenizer=start.tokenizer, say=console.message
            )
        )
        facts = {"code of the task": data.task.code_digest, **data.fingerprints}
        check_same_run(config, facts, weights=start.params)
        together(lambda: _check_same_data(runs, data))
        return _go(config, runs, start, data, stop, activity)


def _go(
    config: FinetuneConfig,
    runs: Iterable["GridRun"],
    start: "Pretrained",
    data: "TaskData",
    stop: "StopRequest",
    activity: Activity,
) -> int:
    """Every run that is not done yet, then what they came to."""
    from spanbert_jax.commands.task_grid import Grid
    from spanbert_jax.training.processes import together

    grid = Grid(config, metric=data.task.metric)
    together(grid.begin)
    for each in runs:
        result = grid.result_of(each) or _one_run(each.config, start, data, stop, activity)
        if result is None:
            return _farewell(config, stop)
        grid.add(each, result)
    if not grid.keeps_best:
        # It had lost to a run that this grid does not have.
        lost = grid.best
        grid.reopen(lost)
        result = _one_run(lost.config, start, data, stop, activity)
        if result is None:
            return _farewell(config, stop)
        grid.add(lost, result)
    return _ended(grid.report(), 0)


def _farewell(config: FinetuneConfig, stop: "StopRequest") -> int:
    said = f"stopped; the same command goes on from what is saved in {config.workdir}"
    return _ended(said, stop.exit_code)


def _ended(said: str, exit_code: int) -> int:
    """The exit code, once the first process has said how it went."""
    from spanbert_jax.training.processes import is_first

    if is_first():
        with ending(exit_code, sys.stdout):
            print(said)
    return exit_code


def _one_run(
    config: FinetuneConfig,
    start: "Pretrained",
    data: "TaskData",
    stop: "StopRequest",
    activity: Activity,
) -> "Result | None":
    """Train to the end and write what came out; None where a signal stopped it."""
    from spanbert_jax.commands.task_run import TaskRun
    from spanbert_jax.training.checkpoint import newest_step
    from spanbert_jax.training.processes import claim_together, holding_together, own_console

    changes, newest = "", newest_step(config.workdir)
    if newest is not None:
        changes = run_folder.describe_changes(config.workdir, config)
    num_steps = config.training.num_steps(len(data.train.rows.rows))
    with (
        holding_together(config.workdir, newest=newest),
        own_console(num_steps) as console,
    ):
        with tempfile.TemporaryDirectory() as folder:
            name = start.tokenizer.save(folder)
            # What it began with stays, also where an earlier version has not said it.
            begins_with = data.fingerprints if newest is None else None
            claim_together(config, tokenizer_file=epath.Path(folder) / name, data=begins_with)
        task_run = TaskRun(config, start, data, console=console, activity=activity)
        console.message(task_run.opening)
        if changes:
            console.message(changes)
        progress = task_run.go(stop)
        if progress.step < num_steps:
            return None
        with activity.at(FINISHING):
            result = task_run.finish()
        # A further run of a grid has times of its own.
        activity.begin(STARTING)
        return result


def _check_one_kind(config: FinetuneConfig) -> None:
    """Raise `UserError` for a grid over a single run, or the other way round: of the two in one
    folder, whoever asks that folder would get the wrong one.
    """
    folder = epath.Path(config.workdir)
    grid, single = folder / run_folder.GRID_FILE, folder / run_folder.CHECKPOINT_FOLDER
    if (single if config.is_grid else grid).exists():
        asked, found = ("a grid", "a single run") if config.is_grid else ("a single run", "a grid")
        raise UserError(
            f"--workdir {config.workdir}: must be a new folder or that of {asked}, found {found}; "
            "use another --workdir"
        )


def _check_resumable(config: FinetuneConfig) -> None:
    """Raise `UserError` where a run has begun with another task, optimizer or weights."""
    if _has_begun(config):
        run_folder.check_resumable(config.workdir, config)


def _check_same_data(runs: Iterable["GridRun"], data: "TaskData") -> None:
    """Raise `UserError` where a run has begun, or is done, with other data: its scores and those to
    come would not compare.
    """
    task = data.task.config
    beside = [f"{flag} {path}" for flag, path in task.files.items() if flag != "--task.train"]
    files = {"train": f"--task.train {task.train}", "dev": ", ".join(beside)}
    for each in runs:
        if _has_begun(each.config):
            run_folder.check_same_data(each.config.workdir, data.fingerprints, files=files)


def _has_begun(config: FinetuneConfig) -> bool:
    """Whether a run has anything to go on from, or is done."""
    from spanbert_jax.commands.task_run import RESULTS_FILE
    from spanbert_jax.training.checkpoint import newest_step

    # Of a grid, only the best run that is done has a checkpoint.
    is_done = (epath.Path(config.workdir) / RESULTS_FILE).exists()
    return is_done or newest_step(config.workdir) is not None
