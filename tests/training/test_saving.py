"""Saves that fail stop no run before its end: the policy, told by everything that it calls."""

import errno
from typing import Any

import pytest

from spanbert_jax.config import CheckpointConfig
from spanbert_jax.errors import UserError
from spanbert_jax.training.checkpoint import HELD_OUT_LOSS
from spanbert_jax.training.save_barrier import LeftAlone
from spanbert_jax.training.saving import Saving
from spanbert_jax.training.votes import Accord

FULL = OSError(errno.ENOSPC, "No space left on device")
# As TensorStore tells it.
UNAVAILABLE = ValueError('UNAVAILABLE: Error writing "a/0.0" at gs://bucket/run/: try again')


class Storage:
    """Checkpoints whose writes fail while `errors` lasts: in `save`, or in the background."""

    def __init__(self, *, in_background: bool = False) -> None:
        self.errors: list[Exception | None] = []
        self.events: list[str] = []
        self.now = 0.0
        self.is_saving = self.is_full = False
        self.complete: int | None = None
        self.ranking = HELD_OUT_LOSS
        self._in_background = in_background
        self._failure: Exception | None = None

    def saving(self, **how: Any) -> Saving:
        self.said: list[str] = []
        config = CheckpointConfig(every_steps=100, retry_seconds=60.0, give_up_seconds=600.0)
        return Saving(
            self,  # type: ignore[arg-type]
            config, start_step=0, say=self.said.append, clock=lambda: self.now, sleep=self._sleep,
            **how,
        )  # fmt: skip

    def check_place(self, state: int) -> None:
        if self.is_full:
            raise FULL

    def save(self, step: int, state: int, *, score: float | None) -> None:
        assert state == step
        self.events.append(f"save {step}")
        error = self.errors.pop(0) if self.errors else None
        if error is not None and not self._in_background:
            raise error
        self._failure, self.is_saving = error, True

    def latest_step(self) -> int | None:
        return self.complete

    def wait(self) -> None:
        failure, self._failure, self.is_saving = self._failure, None, False
        if failure is not None:
            raise failure

    def give_up_unfinished(self) -> None:
        self.events.append("give up unfinished")
        self.is_saving = False

    def _sleep(self, seconds: float) -> None:
        self.events.append(f"sleep {seconds:g}")
        self.now += seconds


@pytest.fixture(params=[False, True], ids=["at once", "in the background"])
def storage(request: pytest.FixtureRequest) -> Storage:
    return Storage(in_background=request.param)


def save(saving: Saving, step: int, score: float | None = None) -> None:
    saving.save(step, step, score=score)


@pytest.mark.parametrize("error", [FULL, UNAVAILABLE, TimeoutError("barrier"), TimeoutError()])
def test_a_save_that_fails_is_said_once_with_its_reason_and_tried_again_later(
    storage: Storage, error: Exception
) -> None:
    saving = storage.saving()
    storage.errors = [error, error]
    save(saving, 100)
    storage.is_saving = False
    assert not saving.is_due_again()
    assert saving.saved_step == 0
    (said,) = storage.said
    assert said == (
        f"step 100 could not be saved ({str(error) or 'TimeoutError'}); training goes on, and "
        "saves again in 1m 0s at the latest"
    )
    storage.now = 59.0
    assert not saving.is_due_again()
    storage.now = 61.0
    assert saving.is_due_again()
    save(saving, 150)
    assert saving.saved_step == 0
    # Twice as long as before.
    storage.now = 61.0 + 119.0
    assert not saving.is_due_again()
    storage.now = 61.0 + 121.0
    assert saving.is_due_again()
    save(saving, 230)
    assert saving.saved_step == 230
    assert storage.said == [said, "step 230 is saved"]
    assert not saving.is_due_again()
    assert storage.events == [
        "save 100", "give up unfinished", "save 150", "give up unfinished", "save 230",
    ]  # fmt: skip


def test_the_next_failure_is_said_again_and_waited_for_as_long_as_the_first(
    storage: Storage,
) -> None:
    saving = storage.saving()
    storage.errors = [FULL, None, FULL]
    for step in (100, 200, 300):
        save(saving, step)
        saving.settle()
    assert [text.split(" (")[0] for text in storage.said] == [
        "step 100 could not be saved", "step 200 is saved", "step 300 could not be saved",
    ]  # fmt: skip
    assert "again in 1m 0s" in storage.said[2]
    assert saving.saved_step == 200


def test_the_last_state_is_tried_again_with_growing_pauses_until_it_is_saved(
    storage: Storage,
) -> None:
    saving = storage.saving()
    storage.errors = [FULL] * 8
    saving.save_at_end(400, 400, score=None)
    assert saving.saved_step == 400
    pauses = [event for event in storage.events if event.startswith("sleep")]
    assert pauses == [f"sleep {seconds}" for seconds in (1, 2, 4, 8, 16, 32, 60, 60)]
    assert storage.said == [
        f"step 400 could not be saved ({FULL}); it is tried again for 10m 0s", "step 400 is saved",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("saved", "lost"),
    [
        (None, "the 400 steps since the start: none was saved, are lost"),
        (300, "the 100 steps since the newest checkpoint, of step 300, are lost"),
    ],
)
def test_a_run_that_cannot_save_its_end_says_what_is_lost(
    storage: Storage, saved: int | None, lost: str
) -> None:
    saving = storage.saving()
    if saved:
        save(saving, saved)
        saving.settle()
    storage.errors = [FULL] * 1_000
    with pytest.raises(UserError) as error:
        saving.save_at_end(400, 400, score=None)
    assert str(error.value) == (
        "--checkpoint.give-up-seconds 600: the state of step 400 must be saved within this time, "
        f"found that it could not be ({FULL}); {lost}: make room or mend the storage, then run the "
        "same command"
    )
    assert 540 < storage.now <= 600


def test_a_last_state_that_is_there_is_saved_whatever_fails_behind_it(storage: Storage) -> None:
    """As where an old one cannot be deleted: Orbax would not save the same step again."""
    saving = storage.saving()
    storage.errors = [FULL]
    storage.complete = 400
    saving.save_at_end(400, 400, score=None)
    assert saving.saved_step == 400
    assert storage.events == ["save 400", "give up unfinished"]
    assert storage.said[-1] == "step 400 is saved"


@pytest.mark.parametrize("error", [TypeError("unhashable"), ValueError("no such item")])
def test_a_mistake_of_ours_is_raised_at_once(storage: Storage, error: Exception) -> None:
    saving = storage.saving()
    storage.errors = [error]
    with pytest.raises(type(error)):
        save(saving, 100)
        saving.settle()
    assert storage.said == []


def test_where_a_disk_is_full_nothing_is_begun(storage: Storage) -> None:
    saving = storage.saving()
    storage.is_full = True
    save(saving, 100)
    assert "save 100" not in storage.events
    assert "step 100 could not be saved ([Errno 28] No space left" in storage.said[0]
    storage.is_full = False
    save(saving, 200)
    saving.settle()
    assert saving.saved_step == 200


def test_a_best_score_counts_once_its_state_is_saved(storage: Storage) -> None:
    saving = storage.saving(best=3.0)
    assert not saving.is_best(3.0)
    storage.errors = [FULL]
    save(saving, 100, score=1.0)
    saving.settle()
    # Lost with its state: what is worse than it, and better than what is saved, is the best.
    assert saving.is_best(2.0)
    save(saving, 200, score=2.0)
    assert not saving.is_best(2.0)
    saving.settle()
    assert not saving.is_best(2.5)


def test_what_is_being_written_counts_as_saved_and_is_not_waited_for() -> None:
    storage = Storage()
    saving = storage.saving()
    save(saving, 100)
    assert storage.is_saving
    assert not saving.is_due_again()
    assert storage.is_saving
    assert saving.saved_step == 100


class LateBallot:
    """Of this process and another one, answered two questions later."""

    def __init__(self, *wishes_of_other: bool) -> None:
        self.others = list(wishes_of_other)
        self.asked: list[bool] = []

    def cast(self, wish: bool) -> bool:
        self.asked.append(wish or (self.others.pop(0) if self.others else False))
        return len(self.asked) > 2 and self.asked[-3]

    def clear(self) -> None:
        self.asked = []


def test_a_save_of_several_is_settled_once_one_of_them_has_written_and_all_have_heard() -> None:
    storage = Storage()
    ballot = LateBallot(False, True)
    saving = storage.saving(accord=Accord(ballot=ballot))
    assert not saving.is_due_again() and ballot.asked == []
    save(saving, 100)
    for _ in range(3):
        assert not saving.is_due_again()
        assert storage.is_saving
    assert not saving.is_due_again()
    assert not storage.is_saving
    # Wishes for what is done do not count for what comes.
    assert ballot.asked == []


def test_several_save_again_when_the_time_has_come_for_one_of_them() -> None:
    storage = Storage()
    ballot = LateBallot()
    saving = storage.saving(accord=Accord(ballot=ballot))
    storage.errors = [FULL]
    save(saving, 100)
    storage.now = 61.0
    assert [saving.is_due_again() for _ in range(3)] == [False, False, True]
    save(saving, 103)
    assert saving.saved_step == 103
    assert not saving.is_due_again() and ballot.asked == []


@pytest.mark.parametrize(
    ("of_other", "events"),
    [
        (["full"], ["give up unfinished"]),
        (["", "full"], ["save 100", "give up unfinished"]),
    ],
    ids=["has no room", "cannot begin"],
)
def test_processes_agree_on_what_has_failed(of_other: list[str], events: list[str]) -> None:
    """Of two processes, one can write and the other cannot."""
    storage = Storage()
    accord = Accord(reason=lambda here, is_own: of_other.pop(0) or here)
    saving = storage.saving(accord=accord)
    save(saving, 100)
    assert saving.saved_step == 0 and of_other == []
    assert storage.events == events
    assert "(full)" in storage.said[0]


def test_who_was_left_alone_asks_the_others_why() -> None:
    storage, asked = Storage(), []

    def reason(here: str, *, is_own: bool) -> str:
        asked.append((here, is_own))
        return f"process 1 on b: {FULL}" if here else ""

    saving = storage.saving(accord=Accord(reason=reason))
    storage.errors = [LeftAlone("another process could not write")]
    save(saving, 100)
    assert asked[-1] == ("another process could not write", False)
    assert f"(process 1 on b: {FULL})" in storage.said[0]
