"""Seconds of made-up starts, and the file that a real ledger keeps of them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from etils import epath

from spanbert_jax.training import goodput as goodput_module
from spanbert_jax.training.activity import Activity
from spanbert_jax.training.goodput import GOODPUT_FILE, Ledger, Start, described, goodput, spent


class Clock:
    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def test_steps_that_a_crash_took_back_count_for_nothing() -> None:
    before = Start(1000.0, from_step=0, to_step=10, seconds={"training": 10.0})
    after = Start(1012.0, from_step=6, to_step=10, seconds={"training": 4.0})
    assert spent([before, after]) == {
        "training": 10.0, "steps taken again": 4.0, "not running": 2.0,
    }  # fmt: skip
    assert goodput(spent([before, after])) == 10 / 16


def test_a_start_that_saved_nothing_counts_for_nothing() -> None:
    lost = Start(0.0, 20, 50, {"starting": 5.0, "training": 30.0})
    again = Start(35.0, 20, 30, {"training": 10.0})
    total = spent([lost, again])
    assert total == {
        "starting": 5.0, "training": 10.0, "steps taken again": 30.0, "not running": 0.0,
    }  # fmt: skip


def test_what_a_later_start_took_again_is_lost_however_many_lie_between() -> None:
    starts = [
        Start(0.0, 0, 10, {"training": 10.0}),
        Start(10.0, 8, 9, {"training": 1.0}),
        Start(11.0, 4, 12, {"training": 8.0}),
    ]
    total = spent(starts)
    assert (total["training"], total["steps taken again"]) == (12.0, 7.0)


def test_every_second_of_the_wall_is_counted_once() -> None:
    starts = [
        Start(0.0, 0, 7, {"starting": 3.0, "training": 7.5, "saving": 1.0}),
        Start(20.0, 5, 5, {"starting": 2.0}),
        Start(30.0, 5, 9, {"training": 4.0, "compiling": 2.0}),
    ]
    assert sum(spent(starts).values()) == pytest.approx(starts[-1].ended - starts[0].began)


def test_a_clock_that_was_set_back_between_starts_makes_no_negative_pause() -> None:
    assert spent([Start(100.0, 0, 1, {}), Start(50.0, 1, 2, {})])["not running"] == 0.0


def test_it_is_told_in_one_line_the_most_first() -> None:
    total = {"saving": 8.0, "training": 92.0, "evaluating": 0.1}
    assert described(total) == "goodput 91.9% of 1m 40s: training 1m 32s, saving 8s"
    assert described({"training": 0.3, "saving": 0.1}) == "goodput 75.0% of 0s"


def test_a_ledger_goes_on_with_the_starts_before_it(tmp_path: Path) -> None:
    mono, wall = Clock(0.0), Clock(1_005.0)
    first = Activity("starting", clock=mono)
    mono.now = 5.0
    ledger = Ledger(tmp_path, first, from_step=0, clock=wall)
    first.switch("training")
    # The wall clock jumps by a day: no second of this start is measured by it.
    mono.now, wall.now = 15.0, 90_000.0
    assert ledger.update(10) == {"starting": 5.0, "training": 10.0}

    mono.now = 0.0
    second = Activity("training", clock=mono)
    ledger = Ledger(tmp_path, second, from_step=8, clock=Clock(1_025.0))
    mono.now = 2.0
    total = ledger.update(10)
    assert total == pytest.approx(
        {"starting": 5.0, "training": 10.0, "steps taken again": 2.0, "not running": 10.0}
    )
    kept = json.loads((tmp_path / GOODPUT_FILE).read_text())
    assert kept["goodput"] == goodput(total)
    assert [start["from_step"] for start in kept["starts"]] == [0, 8]


def test_a_start_that_died_before_the_first_checkpoint_is_one_of_the_run(tmp_path: Path) -> None:
    """Killed at step 9, where nothing was saved yet: the next start begins at step 0 again."""
    mono = Clock(0.0)
    killed = Ledger(tmp_path, Activity("training", clock=mono), from_step=0, clock=Clock(100.0))
    mono.now = 9.0
    killed.update(9)

    mono = Clock(0.0)
    again = Ledger(tmp_path, Activity("training", clock=mono), from_step=0, clock=Clock(111.0))
    mono.now = 10.0
    assert again.update(10) == {"training": 10.0, "steps taken again": 9.0, "not running": 2.0}
    kept = json.loads((tmp_path / GOODPUT_FILE).read_text())
    assert [start["to_step"] for start in kept["starts"]] == [9, 10]


def starts_in(folder: Path) -> list[dict[str, Any]]:
    return json.loads((folder / GOODPUT_FILE).read_text())["starts"]


def test_a_run_in_a_new_folder_has_one_start(tmp_path: Path) -> None:
    Ledger(tmp_path, Activity("training"), from_step=0).update(1)
    assert len(starts_in(tmp_path)) == 1


@pytest.mark.parametrize("kind", ["UnavailableError", "PermissionDeniedError"])
def test_storage_that_fails_at_a_log_window_ends_no_run_and_is_written_by_the_next(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    storage_failure: Callable[[str], Exception],
    kind: str,
) -> None:
    def refuse(*_: object) -> None:
        raise storage_failure(kind)

    ledger = Ledger(tmp_path, Activity("training"), from_step=0)
    with monkeypatch.context() as outage:
        outage.setattr(goodput_module, "write_whole", refuse)
        assert ledger.update(1).keys() == {"training"}
    assert not (tmp_path / GOODPUT_FILE).exists()
    ledger.update(2)
    assert [start["to_step"] for start in starts_in(tmp_path)] == [2]


def test_a_mistake_of_ours_in_it_is_no_outage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(goodput_module, "write_whole", lambda *_: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        Ledger(tmp_path, Activity("training"), from_step=0).update(1)


def test_starts_that_cannot_be_read_at_once_are_read_later_and_never_written_over(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    storage_failure: Callable[[str], Exception],
) -> None:
    def refuse(_: object) -> str:
        raise storage_failure("UnavailableError")

    Ledger(tmp_path, Activity("training"), from_step=0).update(7)
    with monkeypatch.context() as outage:
        outage.setattr(type(epath.Path(tmp_path)), "read_text", refuse)
        ledger = Ledger(tmp_path, Activity("training"), from_step=7)
        ledger.update(8)
    assert [start["to_step"] for start in starts_in(tmp_path)] == [7]
    ledger.update(9)
    assert [start["to_step"] for start in starts_in(tmp_path)] == [7, 9]


def test_a_file_that_a_crash_cut_short_is_no_reason_to_stop(tmp_path: Path) -> None:
    (tmp_path / GOODPUT_FILE).write_text('{"starts": [')
    Ledger(tmp_path, Activity("training"), from_step=5).update(6)
    assert len(starts_in(tmp_path)) == 1


def test_it_keeps_the_figures_of_every_process_of_the_newest_window(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, Activity("training"), from_step=0)
    for seconds in (0.5, 0.7):
        ledger.update(1, [{"process": 0, "host": "host-0", "step_seconds_p50": seconds}])
    ledger.update(2)
    kept = json.loads((tmp_path / GOODPUT_FILE).read_text())["processes"]
    assert kept == [{"process": 0, "host": "host-0", "step_seconds_p50": 0.7}]


def test_only_the_first_of_several_processes_writes(tmp_path: Path) -> None:
    Ledger(tmp_path, Activity("training"), from_step=0, writes=False).update(1)
    assert not (tmp_path / GOODPUT_FILE).exists()
