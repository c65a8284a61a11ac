"""Processes that fall silent, fail or stand still, over a store in memory; real ones die in
tests/faults.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from spanbert_jax.errors import FAILED, RUN_AGAIN, USER_ERROR, RunAgain, UserError
from spanbert_jax.training.liveness import Liveness, Patience, Roll, Sign, Verdict

PATIENCE = Patience(silence=60, standstill=600)


class Store:
    """What JAX's coordinator does for its clients."""

    def __init__(self) -> None:
        self.entries: dict[str, str] = {}
        self.is_reachable = True

    def key_value_set(self, key: str, value: str, allow_overwrite: bool = False) -> None:
        self._answer()
        if key in self.entries and not allow_overwrite:
            raise RuntimeError(f"ALREADY_EXISTS: {key}")
        self.entries[key] = value

    def key_value_dir_get(self, key: str) -> list[tuple[str, str]]:
        self._answer()
        return [(name, value) for name, value in self.entries.items() if name.startswith(key)]

    def _answer(self) -> None:
        if not self.is_reachable:
            raise RuntimeError("UNAVAILABLE")


def sign(number: int, step: int = 0, doing: str = "training", *, left: bool = False) -> Sign:
    return Sign("host", number, step, doing, left=left)


def test_whoever_is_silent_for_too_long_is_named_with_what_it_was_at() -> None:
    roll = Roll(3, PATIENCE, now=0)
    for now in range(0, 130, 10):
        roll.hear(0, sign(now, step=now), now=now)
        if now <= 50:
            roll.hear(1, Sign("host-1", now, 1200, "waiting for data"), now=now)
        roll.hear(2, sign(now, step=now), now=now)
        verdict = roll.missing(now=now)
        assert (verdict is None) == (now <= 110), now
    assert verdict == Verdict(
        "no sign of life for 60 seconds from process 1 on host-1 (waiting for data, step 1,200): "
        "dead, hanging, or cut off",
        RUN_AGAIN,
    )


def test_a_process_that_never_spoke_is_named_by_its_number() -> None:
    roll = Roll(2, PATIENCE, now=0)
    roll.hear(0, sign(1), now=60)
    assert roll.missing(now=60) is None
    verdict = roll.missing(now=61)
    assert verdict is not None and "from process 1: dead" in verdict.text


def test_of_many_some_are_named_and_the_rest_counted() -> None:
    verdict = Roll(9, PATIENCE, now=0).missing(now=61)
    assert verdict is not None
    assert "process 0, process 1, process 2, process 3, 5 more" in verdict.text


def test_nobody_misses_a_process_that_has_left() -> None:
    roll = Roll(2, PATIENCE, now=0)
    roll.hear(1, sign(1, left=True), now=0)
    for now in range(0, 1000, 10):
        roll.hear(0, sign(now, step=now), now=now)
        assert roll.missing(now=now) is None


def test_processes_that_live_but_do_not_move_are_a_standstill_and_the_last_one_is_named_first() -> (
    None
):
    roll = Roll(3, PATIENCE, now=0)
    for now in range(0, 700, 10):
        roll.hear(0, sign(now, step=min(now, 101)), now=now)
        roll.hear(1, Sign("host-1", now, min(now, 100), "waiting for data"), now=now)
        roll.hear(2, sign(now, step=min(now, 101)), now=now)
        assert roll.missing(now=now) is None, now
    for number, host in enumerate(("host", "host-1", "host")):
        doing, step = ("waiting for data", 100) if number == 1 else ("training", 101)
        roll.hear(number, Sign(host, 711, step, doing), now=711)
    verdict = roll.missing(now=711)
    assert verdict is not None
    assert verdict.text == (
        "nothing has moved for 600 seconds; furthest behind: process 1 on host-1 (waiting for "
        "data, step 100), process 0 on host (training, step 101), process 2 on host (training, "
        "step 101); if that is no fault, raise --distributed.standstill-seconds"
    )


def test_of_processes_at_one_step_the_one_that_waits_for_no_other_is_named_first() -> None:
    roll = Roll(2, PATIENCE, now=0)
    for now in range(0, 621, 10):
        roll.hear(0, Sign("host-0", now, 6, "training", waits=True), now=now)
        roll.hear(1, Sign("host-1", now, 6, "training"), now=now)
    verdict = roll.missing(now=620)
    assert verdict is not None
    assert (
        "furthest behind: process 1 on host-1 (training, step 6), "
        "process 0 on host-0 (training and waiting for others, step 6)"
    ) in verdict.text


def test_before_the_first_step_processes_may_stand_still_four_times_as_long() -> None:
    roll = Roll(2, PATIENCE, now=0)
    for now in range(0, 2410, 10):
        roll.hear(0, sign(now, doing="compiling"), now=now)
        roll.hear(1, Sign("host-1", now, 0, "starting"), now=now)
        assert roll.missing(now=now) is None, now
    verdict = roll.missing(now=2411)
    assert verdict is not None and verdict.exit_code == RUN_AGAIN
    assert verdict.text.startswith("nothing has moved for 2400 seconds; furthest behind: process ")
    assert "process 1 on host-1 (starting, step 0)" in verdict.text
    # Another activity of one of them is a move.
    roll.hear(1, Sign("host-1", 2411, 0, "restoring"), now=2411)
    assert roll.missing(now=2412) is None


# Of real threads: short, and long beside what a thread may be late.
SILENCE = 3.0


@contextmanager
def processes(store: Store, num_processes: int) -> Iterator[tuple[list[Liveness], Callable]]:
    """All of a run in this one; `ended(i)` waits for the verdict that ends process i."""
    ends: list[list[Verdict]] = [[] for _ in range(num_processes)]
    told = [threading.Event() for _ in range(num_processes)]

    def end(number: int) -> Callable[[Verdict], None]:
        def note(verdict: Verdict) -> None:
            ends[number].append(verdict)
            told[number].set()

        return note

    all_of_them = [
        Liveness(
            store, process=i, num_processes=num_processes, patience=Patience(SILENCE, 600),
            sign=lambda i=i: (i, "training", False), host=f"host-{i}", end=end(i),
        )
        for i in range(num_processes)
    ]  # fmt: skip

    def ended(number: int) -> Verdict:
        assert told[number].wait(10 * SILENCE)
        (verdict,) = ends[number]
        return verdict

    for each in all_of_them:
        each.__enter__()
    try:
        yield all_of_them, ended
    finally:
        for each in all_of_them:
            each.__exit__(None)


def test_all_end_with_the_name_of_the_one_that_was_lost() -> None:
    with processes(Store(), 3) as (everybody, ended):
        # As if killed: no word of leaving.
        everybody[2].__exit__(RuntimeError)
        for number in (0, 1):
            verdict = ended(number)
            assert "from process 2 on host-2 (training, step 2)" in verdict.text
            assert verdict.exit_code == RUN_AGAIN


@pytest.mark.parametrize(
    ("error", "said", "code"),
    [
        (UserError("piece 3 is altered; copy it again"), "piece 3 is altered; copy it again", 2),
        (RunAgain("a lease was lost"), "RunAgain: a lease was lost", RUN_AGAIN),
        # Of whoever ends first, launchers see a crash, and count it.
        (KeyError("embed"), "KeyError: 'embed'", FAILED),
        (KeyboardInterrupt(), "KeyboardInterrupt: ", RUN_AGAIN),
    ],
)
def test_a_failure_reaches_the_others_at_once_and_with_its_reason(
    error: BaseException, said: str, code: int
) -> None:
    assert USER_ERROR == 2
    with processes(Store(), 2) as (everybody, ended):
        start = time.monotonic()
        everybody[1].tell_failure(error)
        everybody[1].__exit__(type(error))
        assert ended(0) == Verdict(f"process 1 on host-1 failed: {said}", code)
        assert time.monotonic() - start < SILENCE + 2


@pytest.mark.parametrize(
    ("error", "said", "code"),
    [
        (UserError("no login"), "no login", USER_ERROR),
        (RuntimeError("no sink"), "RuntimeError: no sink", FAILED),
    ],
)
def test_the_others_hear_of_a_failure_of_the_first_process_too(
    error: Exception, said: str, code: int
) -> None:
    with processes(Store(), 2) as (everybody, ended):
        everybody[0].tell_failure(error)
        everybody[0].__exit__(type(error))
        assert ended(1) == Verdict(f"process 0 on host-0 failed: {said}", code)


def test_a_process_that_cannot_reach_the_coordinator_ends_and_names_it() -> None:
    store = Store()
    with processes(store, 2) as (_, ended):
        store.is_reachable = False
        assert "no answer for 3 seconds from process 0, the coordinator" in ended(1).text


def test_a_process_left_in_the_middle_of_a_step_learns_who_is_missing() -> None:
    with processes(Store(), 3) as (everybody, _):
        everybody[1].__exit__(RuntimeError)
        verdict = everybody[2].wait_for_verdict()
        assert verdict is not None and "process 1 on host-1" in verdict.text


def test_a_process_that_nobody_has_left_learns_that() -> None:
    with processes(Store(), 2) as (everybody, _):
        assert everybody[1].wait_for_verdict() is None


def test_who_leaves_as_it_should_ends_nobody() -> None:
    with processes(Store(), 2) as (everybody, ended):
        everybody[1].__exit__(None)
        with pytest.raises(AssertionError):
            ended(0)
