"""Processes that wait for each other while they save: threads stand in for them, a dict for JAX's
coordinator."""

import threading
import time
from collections.abc import Callable

import pytest

from spanbert_jax.errors import storage_cause
from spanbert_jax.training.save_barrier import LeftAlone, SaveBarrier


class Store:
    """Texts by name, shared; the names of a folder end in a slash."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self._lock = threading.Lock()

    def key_value_set(self, key: str, value: str, allow_overwrite: bool = False) -> None:
        with self._lock:
            assert allow_overwrite or key not in self.texts, key
            self.texts[key] = value

    def key_value_dir_get(self, key: str) -> list[tuple[str, str]]:
        with self._lock:
            return [(name, text) for name, text in self.texts.items() if name.startswith(key)]

    def key_value_delete(self, key: str) -> None:
        with self._lock:
            self.texts = {name: text for name, text in self.texts.items() if key not in name}


Save = Callable[[SaveBarrier], None]


def come_to(barrier: SaveBarrier, *keys: str) -> None:
    for key in keys:
        barrier(key=key, timeout_ms=60_000)


def saved_by(store: Store, *saves: Save, run: int = 0) -> list[BaseException | None]:
    """What each process raised in the run of this number."""
    raised: list[BaseException | None] = [None] * len(saves)

    def go(process: int, save: Save) -> None:
        barrier = SaveBarrier(store, process=process, num_processes=len(saves), run=run)
        try:
            save(barrier)
        except BaseException as error:
            raised[process] = error

    threads = [threading.Thread(target=go, args=each) for each in enumerate(saves)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return raised


def test_nobody_goes_on_before_all_have_come_however_often() -> None:
    arrived: list[str] = []

    def save(barrier: SaveBarrier) -> None:
        for number in range(3):
            barrier.begin()
            for index, key in enumerate(("start", "written", "start")):
                arrived.append(f"{number} {index}")
                come_to(barrier, key)
                assert arrived.count(f"{number} {index}") == 4

    store = Store()
    assert saved_by(store, *[save] * 4) == [None] * 4
    # Of earlier saves nothing is kept.
    assert {name.split("/")[3] for name in store.texts} == {"2", "3"}


def test_runs_that_follow_each_other_do_not_meet_what_the_ones_before_left() -> None:
    def save(barrier: SaveBarrier) -> None:
        barrier.begin()
        come_to(barrier, "start", "written")

    store = Store()
    for run in range(2):
        assert saved_by(store, save, save, run=run) == [None, None]
    assert {name.split("/")[2] for name in store.texts} == {"0", "1"}


def orbax_save(barrier: SaveBarrier, *, fails: bool, delay: float) -> None:
    """The barriers of a save; whose write fails leaves out what follows it, but for the end."""
    barrier.begin()
    come_to(barrier, "value/start", "value/end")
    try:
        time.sleep(delay)
        if fails:
            raise OSError("no room")
        come_to(barrier, "written", "committed")
    finally:
        come_to(barrier, "value/start")
        come_to(barrier, "value/end")


@pytest.mark.parametrize("late", [None, 0, 1, 2], ids=str)
@pytest.mark.parametrize("failing", [0, 1, 2])
@pytest.mark.parametrize("num_processes", [2, 3])
def test_who_waits_for_one_that_failed_is_told(
    num_processes: int, failing: int, late: int | None
) -> None:
    """Whoever comes last: the one that failed, the first one, or another one."""
    failing %= num_processes

    def save(process: int) -> Save:
        delay = 0.5 if process == late else 0.0
        return lambda barrier: orbax_save(barrier, fails=process == failing, delay=delay)

    raised = saved_by(Store(), *map(save, range(num_processes)))
    for process, error in enumerate(raised):
        # None came to the end of its patience.
        assert isinstance(error, OSError) and not isinstance(error, TimeoutError)
        # Who failed may be told the same at the end, where the others are not; it knows better.
        cause = storage_cause(error)
        assert "no room" in str(cause) if process == failing else isinstance(cause, LeftAlone)


def test_one_that_is_late_is_waited_for_and_one_that_does_not_come_is_not_for_ever() -> None:
    def late(barrier: SaveBarrier) -> None:
        barrier.begin()
        time.sleep(1.5)
        come_to(barrier, "written")

    def in_time(barrier: SaveBarrier) -> None:
        barrier.begin()
        come_to(barrier, "written")
        with pytest.raises(TimeoutError, match="did not come to committed in 0.5 s"):
            barrier(key="committed", timeout_ms=500)

    assert saved_by(Store(), late, in_time) == [None, None]
