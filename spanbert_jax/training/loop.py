"""The loop of every run: evaluate, save, read, step, log. It knows no model and opens no file."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from spanbert_jax.config import CheckpointConfig, TrainingConfig
from spanbert_jax.errors import UserError, storage_error
from spanbert_jax.training.activity import EVALUATING, SAVING
from spanbert_jax.training.checkpoint import Checkpoints, DataPosition
from spanbert_jax.training.meter import Meter, Record
from spanbert_jax.training.saving import Saving
from spanbert_jax.training.train_step import Metrics
from spanbert_jax.training.votes import Accord


class Watcher(Protocol):
    """Where the loop's figures go, and its words."""

    def message(self, text: str) -> None: ...

    def train(self, record: Record) -> None: ...

    def evaluation(self, step: int, metrics: dict[str, float]) -> None: ...


@dataclass(frozen=True)
class Drive:
    """What the loop drives; to it, states and batches are opaque."""

    train_step: Callable[[Any, Any], tuple[Any, Metrics]]
    batches: Iterator[Any]
    evaluate: Callable[[int, Any], dict[str, float]]
    """Of the state after a step: its held-out figures."""
    position: Callable[[int], DataPosition]
    """Position in the data before the batch of a step."""
    settings: Callable[[int], dict[str, Any]] | None = None
    """What is kept beside the state after a step, such as a threshold its evaluation tuned."""
    diagnose: Callable[[Any, Any], str] | None = None
    """Of a state and a batch whose steps are skipped: where numbers cease to be finite."""
    evaluates_start: bool = True
    """Whether a new run is evaluated before its first step."""
    saves_best: bool = False
    """Whether a state is saved, beside the regular ones, when its evaluation is the best so far."""
    is_alone: bool = True
    """Whether this process can save by itself; of several, none can without the others."""
    trouble: Callable[[], BaseException | None] = lambda: None
    """What will keep the next batches from being read, known before they are due: the reason of a
    stop that several processes agreed on."""


class Progress(NamedTuple):
    """Where a run stands: its state after `step` steps."""

    step: int
    state: Any


def run_loop(
    start: Progress,
    *,
    drive: Drive,
    training: TrainingConfig,
    checkpoint: CheckpointConfig,
    checkpoints: Checkpoints,
    meter: Meter,
    watcher: Watcher,
    should_stop: Callable[[], bool],
    accord: Accord | None = None,
) -> Progress:
    """Train from `start` to the last step, or to where `should_stop`, asked once a step, says so.

    Evaluates at step 0, every `eval_every` steps and at the end; saves every `every_steps` steps,
    at the end and when stopped, and what is best where `drive` says so. What a run did at the step
    it resumes from is not done again. A stop ends the log window early: its steps are logged then,
    as a shorter window, and the resumed run's first window covers the rest. Data that cannot be
    read stop a run in the same way, before the error is raised. A save that fails does not.

    Raises:
        UserError: the last `max_skipped_steps` steps were all skipped, data cannot be read, or the
            last state cannot be saved.
    """
    step, state = start
    saving = Saving(
        checkpoints, checkpoint, start_step=start.step, say=watcher.message, accord=accord,
        best=checkpoints.best_score() if drive.saves_best else None,
    )  # fmt: skip
    failure: BaseException | None = None
    while True:
        finished = step == training.num_steps
        with meter.waiting_for_all():
            stopped = failure is not None or should_stop()
        fresh = step > start.step
        evaluate = failure is None and (finished or step % training.eval_every == 0)
        # Also when stopped: a resumed run does not come back to this step, but for the first one.
        begins = step == 0 and drive.evaluates_start
        evaluate = evaluate and (fresh or (begins and not stopped))
        ends = finished or stopped
        due = ends or step % checkpoint.every_steps == 0 or saving.is_due_again()
        if evaluate or due:
            meter.settle()
        if stopped:
            meter.end_window(step)
        for record in meter.records():
            watcher.train(record)
            if record.skipped_in_a_row >= training.max_skipped_steps:
                saving.settle()
                raise _diverged(record, training, checkpoints, _diagnosis(drive, state))
        score = None
        if ends:
            # What has failed in the background is saved again.
            with meter.paused(SAVING):
                saving.settle()
        save = due and step > saving.saved_step
        if evaluate:
            with meter.paused(EVALUATING):
                try:
                    evaluation = drive.evaluate(step, state)
                except Exception as error:
                    if not drive.is_alone:
                        raise
                    failure = error
                    continue
                score = evaluation[checkpoints.ranking.metric]
                watcher.evaluation(step, evaluation)
                save = save or (drive.saves_best and fresh and saving.is_best(score))
        if save:
            with meter.paused(SAVING):
                (saving.save_at_end if ends else saving.save)(
                    step, state, position=drive.position(step), score=score,
                    settings=drive.settings and drive.settings(step),
                )  # fmt: skip
        if stopped and not finished and not drive.is_alone:
            failure = failure or drive.trouble()
        if failure is not None:
            raise _told(failure, saving.saved_step)
        if ends:
            return Progress(step, state)
        try:
            with meter.waiting_for_data():
                batch = next(drive.batches)
        except Exception as error:
            if not drive.is_alone:
                raise
            failure = error
            continue
        state, metrics = drive.train_step(state, batch)
        # Here, since what letting go of it takes is no waiting for the next one.
        del batch
        step += 1
        meter.add(step, metrics)


def _told(failure: BaseException, saved_step: int) -> BaseException:
    """What kept a run from reading its data, with the step that it goes on from; none before 1."""
    if saved_step == 0:
        return failure
    saved = (
        f"the run is saved at step {saved_step:,}: the same command goes on from there once this "
        "is mended"
    )
    explained = failure if isinstance(failure, UserError) else storage_error(failure)
    if explained is None:
        failure.add_note(saved)
        return failure
    told = UserError(f"{explained}; {saved}")
    told.__cause__ = failure
    return told


def _diagnosis(drive: Drive, state: Any) -> str:
    """What a further batch shows: of many that were skipped in a row it is one more."""
    if drive.diagnose is None:
        return ""
    try:
        return f"; {drive.diagnose(state, next(drive.batches))}"
    except Exception as error:
        # What it is for matters more: it comes where memory is short, or data are at their end.
        return f"; no diagnosis: {error!r}"


def _diverged(
    record: Record, training: TrainingConfig, checkpoints: Checkpoints, diagnosis: str
) -> UserError:
    first, newest = record.step - record.skipped_in_a_row + 1, checkpoints.latest_step()
    if newest is None:
        kept, remedy = "no checkpoint was saved", "start again"
    else:
        kept = f"the newest checkpoint, of step {newest:,}, " + (
            "is from before" if newest < first else "holds the parameters from before"
        )
        remedy = "go on from there"
    ratio = training.max_grad_norm_ratio
    what = "no gradient was finite"
    if ratio:
        what += (
            f", or it was more than --training.max-grad-norm-ratio {ratio:g} times the usual one"
        )
    return UserError(
        f"--training.max-skipped-steps {training.max_skipped_steps}: so many steps in a row must "
        f"not be skipped, found that from step {first:,} to {record.step:,} {what}{diagnosis}; "
        f"{kept}: {remedy} with a lower --optimizer.learning-rate or more "
        "--optimizer.warmup-steps"
    )
