"""The order of a run, told by everything the loop touches."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from spanbert_jax.config import CheckpointConfig, MeshConfig, TrainingConfig
from spanbert_jax.errors import UserError
from spanbert_jax.training.checkpoint import HELD_OUT_LOSS, DataPosition
from spanbert_jax.training.loop import Drive, Progress, run_loop
from spanbert_jax.training.mesh import make_mesh
from spanbert_jax.training.meter import STEPS_IN_FLIGHT, Meter, PhaseWork, PhaseWorkload, Record
from spanbert_jax.training.read_ahead import NUM_AHEAD, ReadAhead
from spanbert_jax.training.votes import BATCHES_IN_RESERVE, Vote


class Run:
    """A run whose state is the number of its steps; `events` is what happened, in order."""

    def __init__(
        self,
        *,
        num_steps: int,
        log_every: int = 100,
        eval_every: int = 100,
        save_every: int = 100,
        stop_in_step: int | None = None,
        skipped: Sequence[int] = (),
        max_skipped_steps: int = 100,
        unreadable: int | None = None,
        unreadable_held_out: int | None = None,
        error: Exception | None = None,
        is_alone: bool = True,
    ) -> None:
        self.events: list[str] = []
        self.logged: list[tuple[int, float]] = []
        self.asked_to_stop = False
        self._stop_in_step = stop_in_step
        self._skipped = skipped
        self._unreadable, self._unreadable_held_out = unreadable, unreadable_held_out
        self._error = error or UserError("a.npy is altered; copy it again")
        self._saved: list[int] = []
        self._is_alone = is_alone
        self._training = TrainingConfig(
            num_steps=num_steps, log_every=log_every, eval_every=eval_every,
            max_skipped_steps=max_skipped_steps,
        )  # fmt: skip
        self._checkpoint = CheckpointConfig(every_steps=save_every)

    def go(self, start: int = 0) -> Progress:
        config = self._training
        self._start = start
        work = PhaseWorkload(
            log_every=config.log_every, phases=(PhaseWork(config.num_steps, 1, 1),), epoch=float,
            peak_flops=None,
        )  # fmt: skip
        batches = self._batches()
        if not self._is_alone:
            return self._go_with_others(batches, work)
        return self._loop(
            Drive(self._train_step, batches, self._evaluate, self._position), work,
            should_stop=lambda: self.asked_to_stop,
        )  # fmt: skip

    def _go_with_others(self, batches: Iterator[str], work: PhaseWorkload) -> Progress:
        """As one of several processes, of which each has to be asked before the run stops."""
        vote = Vote(make_mesh(MeshConfig()))
        with ReadAhead(batches, in_reserve=BATCHES_IN_RESERVE) as ahead:
            drive = Drive(
                self._train_step, ahead, self._evaluate, self._position, is_alone=False,
                trouble=lambda: ahead.failure,
            )  # fmt: skip
            return self._loop(drive, work, should_stop=lambda: vote.cast(ahead.failure is not None))

    def _loop(
        self, drive: Drive, work: PhaseWorkload, *, should_stop: Callable[[], bool]
    ) -> Progress:
        return run_loop(
            Progress(self._start, self._start),
            drive=drive,
            training=self._training,
            checkpoint=self._checkpoint,
            checkpoints=self,  # type: ignore[arg-type]
            meter=Meter(work),
            watcher=self,
            should_stop=should_stop,
        )

    def _batches(self) -> Iterator[str]:
        for number in range(self._start + 1, 1_000):
            self.events.append(f"read {number}")
            if number == self._unreadable:
                raise self._error
            yield f"batch {number}"

    def _train_step(self, state: int, batch: str) -> tuple[int, Any]:
        step = state + 1
        assert batch == f"batch {step}"
        self.events.append(f"step {step}")
        if step == self._stop_in_step:
            self.asked_to_stop = True
        norm = math.nan if step in self._skipped else 1.0
        metrics = {"loss": float(step), "skipped_steps": 0.0, "learning_rate": 0.0}
        return step, metrics | {"grad_norm": norm}

    def _evaluate(self, step: int, state: int) -> dict[str, float]:
        assert step == state
        self.events.append(f"evaluate {state}")
        if step == self._unreadable_held_out:
            raise self._error
        return {"held_out_loss": state / 10}

    def _position(self, step: int) -> DataPosition:
        return DataPosition(8 * step)

    def save(
        self, step: int, state: int, *, position: DataPosition, score: float | None, settings: None
    ) -> None:
        assert (state, position.next_example) == (step, 8 * step)
        self.events.append(f"save {step} with loss {score}")
        self._saved.append(step)

    ranking = HELD_OUT_LOSS
    # Until it is waited for.
    is_saving = True

    def check_place(self, state: int) -> None:
        pass

    def wait(self) -> None:
        self.events.append("wait")

    def latest_step(self) -> int | None:
        return max(self._saved, default=None)

    def message(self, text: str) -> None:
        raise AssertionError(text)

    def train(self, record: Record) -> None:
        self.events.append(f"log {record.step}")
        self.logged.append((record.step, record.metrics["loss"]))

    def evaluation(self, step: int, metrics: dict[str, float]) -> None:
        assert metrics == {"held_out_loss": step / 10}
        self.events.append(f"show {step}")


def test_a_run_evaluates_saves_reads_steps_and_logs_in_this_order() -> None:
    run = Run(num_steps=5, log_every=2, eval_every=2, save_every=4)
    assert run.go() == Progress(5, 5)
    assert run.events == [
        "evaluate 0", "show 0",
        "read 1", "step 1",
        "read 2", "step 2", "log 2", "evaluate 2", "show 2",
        "read 3", "step 3",
        "read 4", "step 4", "log 4", "evaluate 4", "show 4", "save 4 with loss 0.4",
        "read 5", "step 5", "log 5", "wait", "evaluate 5", "show 5", "save 5 with loss 0.5", "wait",
    ]  # fmt: skip


def test_without_evaluation_steps_are_logged_when_they_have_left_the_device() -> None:
    run = Run(num_steps=6, log_every=1)
    run.go()
    assert run.events == [
        "evaluate 0", "show 0",
        "read 1", "step 1",
        "read 2", "step 2",
        "read 3", "step 3", "log 1",
        "read 4", "step 4", "log 2",
        "read 5", "step 5", "log 3",
        "read 6", "step 6", "log 4", "log 5", "log 6",
        "evaluate 6", "show 6", "save 6 with loss 0.6", "wait",
    ]  # fmt: skip


def test_a_checkpoint_between_evaluations_has_no_loss() -> None:
    run = Run(num_steps=4, eval_every=4, save_every=2)
    run.go()
    saved = [event for event in run.events if event.startswith("save")]
    assert saved == ["save 2 with loss None", "save 4 with loss 0.4"]


def test_a_resumed_run_does_not_repeat_what_was_done_at_its_first_step() -> None:
    run = Run(num_steps=5, eval_every=2, save_every=2)
    assert run.go(start=4) == Progress(5, 5)
    assert run.events == [
        "read 5", "step 5", "log 5", "evaluate 5", "show 5", "save 5 with loss 0.5", "wait",
    ]  # fmt: skip


def test_a_finished_run_that_is_started_again_does_nothing() -> None:
    run = Run(num_steps=4, eval_every=2, save_every=2)
    assert run.go(start=4) == Progress(4, 4)
    assert run.events == []


def test_a_stop_request_ends_the_step_saves_and_returns() -> None:
    run = Run(num_steps=10, log_every=2, eval_every=5, save_every=5, stop_in_step=3)
    assert run.go() == Progress(3, 3)
    assert run.events[-7:] == [
        "step 2", "read 3", "step 3", "log 2", "log 3", "save 3 with loss None", "wait",
    ]  # fmt: skip


def test_a_stop_request_leaves_out_no_evaluation_for_the_resumed_run_would_not_do_it() -> None:
    run = Run(num_steps=10, eval_every=3, save_every=5, stop_in_step=3)
    assert run.go() == Progress(3, 3)
    assert run.events[-6:] == [
        "step 3", "log 3", "evaluate 3", "show 3", "save 3 with loss 0.3", "wait",
    ]  # fmt: skip


def test_a_stop_request_before_the_first_step_saves_nothing() -> None:
    run = Run(num_steps=10)
    run.asked_to_stop = True
    assert run.go(start=3) == Progress(3, 3)
    assert run.events == []


def test_a_stop_request_in_the_last_step_finishes_the_run() -> None:
    run = Run(num_steps=3, stop_in_step=3)
    assert run.go() == Progress(3, 3)
    assert run.events[-4:] == ["evaluate 3", "show 3", "save 3 with loss 0.3", "wait"]


def test_every_window_is_logged_once_to_the_end() -> None:
    run = Run(num_steps=10, log_every=3, eval_every=4, save_every=5)
    run.go()
    # Means of 1..3, 4..6, 7..9 and 10.
    assert run.logged == [(3, 2.0), (6, 5.0), (9, 8.0), (10, 10.0)]


def test_a_stop_logs_the_steps_of_its_window_and_the_resumed_run_the_rest() -> None:
    run = Run(num_steps=10, log_every=4, stop_in_step=6)
    assert run.go() == Progress(6, 6)
    run.asked_to_stop = False
    assert run.go(start=6) == Progress(10, 10)
    # Means of 1..4, 5..6, 7..8 and 9..10.
    assert run.logged == [(4, 2.5), (6, 5.5), (8, 7.5), (10, 9.5)]


@pytest.mark.parametrize(
    ("save_every", "found"),
    [
        (100, "no checkpoint was saved: start again"),
        (3, "the newest checkpoint, of step 3, is from before: go on from there"),
        (5, "the newest checkpoint, of step 5, holds the parameters from before: go on from there"),
    ],
)
def test_a_run_whose_steps_are_all_skipped_gives_up_and_says_since_when(
    save_every: int, found: str
) -> None:
    run = Run(
        num_steps=50, log_every=2, save_every=save_every, skipped=range(4, 50), max_skipped_steps=3
    )
    with pytest.raises(UserError) as error:
        run.go()
    assert str(error.value) == (
        "--training.max-skipped-steps 3: so many steps in a row must not be skipped, found that "
        f"from step 4 to 6 no gradient was finite; {found} with a lower "
        "--optimizer.learning-rate or more --optimizer.warmup-steps"
    )
    assert run.events[-2:] == (["step 8", "log 6"] if save_every == 100 else ["log 6", "wait"])


def test_skipped_steps_with_others_between_them_stop_no_run() -> None:
    run = Run(num_steps=20, log_every=1, skipped=range(2, 20, 2), max_skipped_steps=2)
    assert run.go() == Progress(20, 20)


def test_every_full_window_is_logged_once_though_the_run_stops_right_after_it() -> None:
    run = Run(num_steps=10, log_every=3, stop_in_step=6)
    run.go()
    assert run.logged == [(3, 2.0), (6, 5.0)]


TOLD = (
    "a.npy is altered; copy it again; the run is saved at step {}: the same command goes on from "
    "there once this is mended"
)


def test_data_that_cannot_be_read_stop_a_run_after_its_steps_are_logged_and_saved() -> None:
    run = Run(num_steps=10, log_every=4, eval_every=5, unreadable=7)
    with pytest.raises(UserError) as error:
        run.go()
    assert str(error.value) == TOLD.format(6)
    assert run.events[-5:] == ["step 6", "read 7", "log 6", "save 6 with loss None", "wait"]
    # Means of 1..4 and 5..6: no step is lost.
    assert run.logged == [(4, 2.5), (6, 5.5)]


def test_after_the_repair_the_run_goes_on_where_it_was_saved() -> None:
    broken, whole = (Run(num_steps=10, log_every=2, unreadable=n) for n in (7, None))
    with pytest.raises(UserError):
        broken.go()
    broken._unreadable = None
    assert broken.go(start=6) == whole.go() == Progress(10, 10)
    assert broken.logged == whole.logged


def test_what_was_just_saved_is_not_saved_again_when_reading_fails() -> None:
    run = Run(num_steps=10, save_every=3, unreadable=7)
    with pytest.raises(UserError, match="the run is saved at step 6"):
        run.go()
    assert run.events[-4:] == ["save 6 with loss None", "read 7", "log 6", "wait"]


def test_without_a_step_since_the_start_nothing_is_saved_when_reading_fails() -> None:
    for start, told in ((0, "a.npy is altered; copy it again"), (6, TOLD.format(6))):
        run = Run(num_steps=10, unreadable=start + 1)
        with pytest.raises(UserError) as error:
            run.go(start=start)
        assert str(error.value) == told
        assert run.events[-1] == f"read {start + 1}"


def test_held_out_data_that_cannot_be_read_stop_a_run_as_others_do() -> None:
    run = Run(num_steps=10, eval_every=5, save_every=5, unreadable_held_out=5)
    with pytest.raises(UserError) as error:
        run.go()
    assert str(error.value) == TOLD.format(5)
    assert run.events[-4:] == ["evaluate 5", "log 5", "save 5 with loss None", "wait"]


def test_an_error_of_ours_in_reading_keeps_its_type_and_says_where_the_run_is_saved() -> None:
    run = Run(num_steps=10, unreadable=7, error=KeyError("spans"))
    with pytest.raises(KeyError) as error:
        run.go()
    (note,) = error.value.__notes__
    assert note.startswith("the run is saved at step 6")
    assert run.events[-2:] == ["save 6 with loss None", "wait"]


@pytest.mark.parametrize("unreadable", [5, 6, 7, 30])
def test_of_several_processes_one_that_can_read_no_more_stops_all_of_them_saved(
    unreadable: int,
) -> None:
    """It has the batches of those steps that pass until the others have heard of it."""
    run = Run(num_steps=50, unreadable=unreadable, is_alone=False)
    with pytest.raises(UserError, match=r"a\.npy is altered; .* the run is saved at step (\d+)"):
        run.go()
    (saved,) = [event for event in run.events if event.startswith("save")]
    step = int(saved.split()[1])
    # As far as the data reach, or less where the reader was far ahead.
    read_ahead = NUM_AHEAD + BATCHES_IN_RESERVE
    assert max(0, unreadable - 1 - read_ahead) + STEPS_IN_FLIGHT <= step < unreadable
    assert f"step {step}" in run.events and f"step {step + 1}" not in run.events
