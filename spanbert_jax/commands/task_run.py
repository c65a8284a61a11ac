"""One run of fine-tuning, from its weights to its last step. In: config, weights, data. Out: a
folder with its best checkpoint, predictions and scores.
"""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from etils import epath

from spanbert_jax.config import FinetuneConfig, ModelConfig
from spanbert_jax.config.experiment import check_batch, check_model
from spanbert_jax.corpus.files import write_json, write_texts
from spanbert_jax.data.batch import TaskBatch
from spanbert_jax.data.task_batches import Chosen
from spanbert_jax.errors import UserError, require
from spanbert_jax.tasks.objective import objective_of
from spanbert_jax.tasks.splits import TaskData, TaskSplit, judge
from spanbert_jax.tasks.task import Settings, Task, Verdict
from spanbert_jax.training.activity import COMPILING, TRAINING, Activity
from spanbert_jax.training.checkpoint import (
    Checkpoints,
    DataPosition,
    Ranking,
    TaskOrigin,
    saved_step,
)
from spanbert_jax.training.compiling import Compiler, OfManyShapes
from spanbert_jax.training.console import Console
from spanbert_jax.training.fine_tuning import (
    build,
    even_batch_size,
    rhythm,
    tokens_to_compile,
    workload,
)
from spanbert_jax.training.host_memory import give_back_freed_memory
from spanbert_jax.training.interrupts import StopRequest
from spanbert_jax.training.loop import Drive, Progress, run_loop
from spanbert_jax.training.mesh import make_mesh
from spanbert_jax.training.meter import Meter
from spanbert_jax.training.metrics import DEV
from spanbert_jax.training.processes import any_of_all, are_several, is_first, wait_for_all
from spanbert_jax.training.profiling import Profiler
from spanbert_jax.training.read_ahead import ReadAhead
from spanbert_jax.training.recovery import restore_newest
from spanbert_jax.training.report import write_report
from spanbert_jax.training.saved_run import load_run
from spanbert_jax.training.train_step import TrainState
from spanbert_jax.training.votes import accord, batches_in_reserve, stopping
from spanbert_jax.training.watching import watching
from spanbert_jax.weights.loading import Pretrained
from spanbert_jax.weights.starting import with_start

RESULTS_FILE = "results.json"
PREDICTIONS_FOLDER = "dev"


class Result(NamedTuple):
    """What a run came to, as results.json keeps it."""

    step: int
    """Of the best checkpoint."""
    score: float
    """Its score on dev, by which it is the best."""
    scores: dict[str, float]
    settings: dict[str, Any]


def check_fits(config: FinetuneConfig, model: ModelConfig) -> None:
    """Raise `UserError` where rows or batches do not fit the model or the devices."""
    length, positions = config.task.max_length, model.max_positions
    require(
        length <= positions, "--task.max-length", length,
        f"is longer than the {positions} positions of --init-from {config.init_from}",
        f"use at most {positions}",
    )  # fmt: skip
    require(
        model.encoder == "bert" or not config.compute.scan_layers,
        "--compute.scan-layers", config.compute.scan_layers,
        f"wants layers that are all alike, which those of the {model.encoder} encoder of "
        f"--init-from {config.init_from} are not", "leave it out",
    )  # fmt: skip
    mesh, training = config.mesh.resolve(jax.device_count()), config.training
    for flag, size, parts in (
        ("--training.batch-size", training.batch_size, training.num_microbatches),
        ("--training.eval-batch-size", training.eval_batch_size, 1),
    ):
        check_batch(flag, size, num_microbatches=parts, mesh=mesh)
    check_model(model, mesh=mesh)


class TaskRun:
    """One run: its steps, its evaluations, its checkpoints."""

    def __init__(
        self,
        config: FinetuneConfig,
        start: Pretrained,
        data: TaskData,
        *,
        console: Console,
        activity: Activity,
    ) -> None:
        self._config, self._start, self._data = config, start, data
        self._console, self._activity = console, activity
        self._ranking = Ranking(DEV + data.task.metric, higher_is_better=True)
        self._loop, self._keep = rhythm(config, num_rows=len(data.train.rows.rows))
        self._per_epoch = config.training.steps_per_epoch(len(data.train.rows.rows))
        self._mesh = make_mesh(config.mesh)
        objective = objective_of(data.task, data.tables, start.model, config.compute)
        plan = self._planned()
        self._rows = data.train.rows.with_lengths(
            plan, batch_size=config.training.batch_size,
            tokens_to_compile=tokens_to_compile(self._mesh),
        )  # fmt: skip
        # The same rows, padded to the lengths that suit the run.
        self._plan = [self._rows.padded(chosen.row_numbers) for chosen in plan]
        self._eval_size = even_batch_size(
            len(data.dev.rows.rows), at_most=config.training.eval_batch_size, mesh=self._mesh
        )
        self._dev = self._padded_dev()
        with jax.set_mesh(self._mesh):
            self._assembly = build(
                config, objective, self._mesh, num_steps=self._loop.num_steps,
                example=self._batch(self._plan[0]),
            )  # fmt: skip
        self._train_step = OfManyShapes(self._assembly.train_step)
        self._eval_step = OfManyShapes(self._assembly.eval_step)
        # What the last evaluation tuned.
        self._settings: Settings = {}

    @property
    def num_steps(self) -> int:
        return self._loop.num_steps

    @property
    def opening(self) -> str:
        """What is about to happen."""
        config, training, model = self._config, self._config.training, self._start.model
        rows, device = self._data.train.rows, jax.devices()[0]
        return (
            f"model: {self._assembly.num_parameters:,} parameters, {model.num_layers} layers of "
            f"width {model.hidden_size}, for {config.task.name}\n"
            f"data: {len(rows.rows):,} rows of {rows.num_tokens / len(rows.rows):.0f} tokens on "
            f"average, {rows.num_full_rows:,} of them of all {config.task.max_length}; "
            f"{len(self._data.dev.rows.rows):,} rows of dev\n"
            f"steps: {self._loop.num_steps:,} of {training.batch_size} rows, dev every "
            f"{self._loop.eval_every:,}; learning rate {config.optimizer.learning_rate:g}, seed "
            f"{training.seed}\n"
            f"devices: {self._mesh.size} x {device.device_kind}\nrun: {config.workdir}"
        )

    def go(self, stop: StopRequest) -> Progress:
        """Train from the newest checkpoint, or from the weights, to the end or to a stop."""
        config, data = self._config, self._data
        with (
            jax.set_mesh(self._mesh),
            Checkpoints(
                config.workdir, config, tokenizer_fingerprint=self._start.tokenizer.fingerprint,
                text_fingerprint=data.train.rows.fingerprint,
                task=TaskOrigin(self._start.model, data.tables), ranking=self._ranking,
            ) as checkpoints,
        ):  # fmt: skip
            taken = checkpoints.latest_step() or 0
            with self._activity.at(COMPILING), Compiler() as compiler:
                self._compile(compiler, self._plan[taken:])
                start = self._beginning(checkpoints)
            give_back_freed_memory()
            if start.step == self._loop.num_steps:
                return start
            rows = map(self._batch, self._plan[start.step :])
            with (
                watching(
                    config, start_step=start.step, console=self._console, activity=self._activity
                ) as watcher,
                ReadAhead(
                    self._assembly.on_devices(rows), in_reserve=batches_in_reserve()
                ) as batches,
                Profiler(
                    self._train_step, run_dir=config.workdir, steps=config.profile.range,
                    start_step=start.step, console=self._console,
                ) as train_step,
                self._activity.at(TRAINING),
            ):  # fmt: skip
                drive = self._drive(batches, train_step)
                return run_loop(
                    start, drive=drive, training=self._loop, checkpoint=self._keep,
                    checkpoints=checkpoints, meter=Meter(self._workload(), self._activity),
                    watcher=watcher, accord=accord(self._mesh),
                    should_stop=stopping(self._mesh, stop, trouble=drive.trouble),
                )  # fmt: skip

    def _compile(self, compiler: Compiler, plan: Sequence[Chosen]) -> None:
        """Begin to compile what a run of these steps, and what scores dev, will need."""
        if not plan:
            return
        first_of = {chosen.length: chosen for chosen in reversed(plan)}
        self._console.message(
            f"compiling for rows of {', '.join(map(str, sorted(first_of)))} tokens"
        )
        state, dev = self._assembly.abstract_state, self._dev.rows
        # The longest take longest.
        lengths = sorted(first_of, reverse=True)
        batches = [self._batch(first_of[length]) for length in lengths]
        self._train_step.compile_for(compiler, state, batches)
        size = self._eval_size
        of_dev = (dev.batch(each, batch_size=size) for each in dev.longest_first(batch_size=size))
        self._eval_step.compile_for(compiler, state.params, of_dev)

    def _beginning(self, checkpoints: Checkpoints) -> Progress:
        say = self._console.message
        found = restore_newest(
            checkpoints, self._assembly.abstract_state, say=say, agree=any_of_all
        )
        if found is not None:
            if checkpoints.is_of_other_text(found.step):
                raise UserError(
                    f"--workdir {self._config.workdir}: a run goes on with the rows that it began "
                    f"with, found others in --task.train {self._config.task.train}; put the file "
                    "back, or start a new run in another --workdir"
                )
            # Until the next evaluation, what is saved is used with these.
            self._settings = saved_step(self._config.workdir, found.step).item("settings")
            say(f"going on from the checkpoint of step {found.step:,}")
            return Progress(found.step, found.state)
        state = self._assembly.init()
        # Copied: the first step takes the state's memory over, and a grid begins again.
        copy = self._start._replace(params=jax.tree.map(np.array, self._start.params))
        params, summary = with_start(state.params, copy)
        say(summary)
        return Progress(0, state.replace(params=params))

    def _padded_dev(self) -> TaskSplit:
        """Dev, padded to lengths that are worth it by how often it is scored."""
        dev, size = self._data.dev, self._eval_size
        times = self._loop.num_steps // self._loop.eval_every + 1
        rows = dev.rows.with_lengths(
            dev.rows.longest_first(batch_size=size), batch_size=size,
            tokens_to_compile=tokens_to_compile(self._mesh) // times,
        )  # fmt: skip
        return dataclasses.replace(dev, rows=rows)

    def _planned(self) -> list[Chosen]:
        """The rows of every step of the run."""
        training, rows = self._config.training, self._data.train.rows
        epochs = (
            rows.epoch(
                epoch, batch_size=training.batch_size, seed=training.seed, order=training.order
            )
            for epoch in itertools.count()
        )
        steps = itertools.islice(itertools.chain.from_iterable(epochs), self._loop.num_steps)
        return list(steps)

    def _batch(self, chosen: Chosen) -> TaskBatch:
        return self._rows.batch(chosen, batch_size=self._config.training.batch_size)

    def _workload(self) -> Any:
        return workload(
            self._config, self._start.model, lengths=[chosen.length for chosen in self._plan],
            steps_per_epoch=self._per_epoch,
        )  # fmt: skip

    def _drive(self, batches: ReadAhead[TaskBatch], train_step: Profiler) -> Drive:
        length, size = self._config.task.max_length, self._config.training.batch_size
        return Drive(
            train_step=train_step,
            batches=batches,
            evaluate=self._evaluate,
            position=lambda step: DataPosition(step * size, length),
            settings=lambda step: self._settings,
            evaluates_start=False,
            saves_best=True,
            diagnose=self._assembly.diagnose,
            is_alone=not are_several(),
            trouble=lambda: batches.failure,
        )

    def _evaluate(self, step: int, state: TrainState) -> dict[str, float]:
        verdict = self._judge(state.params, None)
        self._settings = verdict.settings
        # How many examples there are is no score of this step.
        return {
            DEV + name: value
            for name, value in verdict.scores.items()
            if not name.endswith("total")
        }

    def _judge(self, params: Any, settings: Settings | None) -> Verdict:
        """Predictions and scores on dev, with `settings` or tuned on it."""

        def run(batch: TaskBatch) -> dict[str, jax.Array]:
            (on_devices,) = self._assembly.on_devices([batch])
            return self._eval_step(params, on_devices)

        verdict = judge(
            self._dev, self._data.task, tables=self._data.tables, settings=settings,
            batch_size=self._eval_size, run=run,
        )  # fmt: skip
        _check_scored(verdict, self._data.task)
        return verdict

    def finish(self) -> Result:
        """Ask the best checkpoint as it is on disk; write its predictions on dev, its scores and
        the page of curves.
        """
        best = load_run(self._config.workdir)
        with jax.set_mesh(self._mesh):
            verdict = self._judge(self._assembly.placed(best.params), best.settings)
        metric = self._data.task.metric
        result = Result(best.step, verdict.scores[metric], verdict.scores, verdict.settings)
        if is_first():
            self._write(verdict, result)
        wait_for_all("results are written")
        return result

    def _write(self, verdict: Verdict, result: Result) -> None:
        """What a run leaves behind beside its checkpoints."""
        folder, data = epath.Path(self._config.workdir), self._data
        files = data.task.prediction_files(data.dev.examples, verdict, tables=data.tables)
        write_texts(folder / PREDICTIONS_FOLDER, files)
        write_report(self._config.workdir, kind="Fine-tuning")
        # Last: by it a run is done.
        write_json(folder / RESULTS_FILE, result._asdict())


def _check_scored(verdict: Verdict, task: Task[Any]) -> None:
    """Raise `UserError` where there is no figure by which the best checkpoint could be chosen."""
    if task.metric not in verdict.scores:
        raise UserError(
            f"task {task.config.name}: must give the score that it names as its metric, "
            f"{task.metric!r}, found {', '.join(map(repr, verdict.scores)) or 'none'}; mend its "
            "`metric`, or its `judge`"
        )
