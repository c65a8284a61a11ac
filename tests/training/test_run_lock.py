"""Two programs and one folder: real processes on this disk, leases as on storage without locks."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from etils import epath

from spanbert_jax.errors import USER_ERROR, UserError
from spanbert_jax.training.run_lock import LOCK_FILE, holding, leased

HOLDER = """
import sys, time
from spanbert_jax.training.run_lock import holding
with holding(sys.argv[1]):
    print("held", flush=True)
    time.sleep(300)
"""


def test_another_process_is_refused_and_told_who_is_at_it_until_that_one_is_gone(tmp_path) -> None:
    run = tmp_path / "run"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(run)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    with holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UserError, match=f"found that process {holder.pid} on .* is at it"):
            with holding(run):
                raise AssertionError("two programs hold one folder")
        # However it ends: the kernel lets go.
        holder.kill()
    with holding(run):
        assert json.loads((run / LOCK_FILE).read_text())["pid"] != holder.pid


def test_a_folder_that_is_a_file_is_an_error_with_a_remedy(tmp_path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(UserError, match="must be a folder that can be written, .* choose another"):
        with holding(tmp_path / "run"):
            raise AssertionError


# A lease of so many seconds: short, and long beside what a thread may be late.
SECONDS = 2.0


def test_a_lease_that_is_renewed_keeps_others_out_and_goes_with_its_holder(tmp_path) -> None:
    folder = epath.Path(tmp_path)
    with leased(folder, seconds=SECONDS):
        with pytest.raises(UserError, match="must be written by one run alone"):
            with leased(folder, seconds=SECONDS):
                raise AssertionError
    assert not (tmp_path / LOCK_FILE).exists()
    start = time.monotonic()
    with leased(folder, seconds=SECONDS):
        assert time.monotonic() - start < SECONDS


def test_a_lease_that_nobody_renews_is_taken_over_once_it_is_old(tmp_path) -> None:
    (tmp_path / LOCK_FILE).write_text(json.dumps({"host": "gone", "pid": 1, "id": "a"}))
    start = time.monotonic()
    with leased(epath.Path(tmp_path), seconds=SECONDS):
        assert time.monotonic() - start >= SECONDS


OTHER = {"host": "elsewhere", "pid": 7, "id": "another"}


def taken_over(file: Path, known: Callable[[], bool]) -> None:
    """Another run's lease lies there, until the first one has seen it."""
    end = time.monotonic() + 60
    while not known():
        assert time.monotonic() < end, "the loss was not seen"
        # Again and again: a renewal may be on its way.
        file.write_text(json.dumps(OTHER))
        time.sleep(SECONDS / 10)


def test_a_lease_that_another_run_took_ends_who_had_it_and_leaves_the_other_one_be(
    tmp_path: Path,
) -> None:
    lost: list[str] = []
    with leased(epath.Path(tmp_path), seconds=SECONDS, on_loss=lambda why: lost.append(f"{why}")):
        taken_over(tmp_path / LOCK_FILE, lambda: bool(lost))
    (why,) = lost
    assert "must be written by one run alone, found that process 7 on elsewhere is at it" in why
    assert json.loads((tmp_path / LOCK_FILE).read_text()) == OTHER


def test_a_lease_is_lost_to_one_that_has_come_and_gone(tmp_path: Path) -> None:
    lost, known = [], threading.Event()

    def on_loss(why: UserError) -> None:
        lost.append(f"{why}")
        known.set()

    with leased(epath.Path(tmp_path), seconds=SECONDS, on_loss=on_loss):
        (tmp_path / LOCK_FILE).unlink()
        assert known.wait(60)
    assert "found that another process is at it" in lost[0]
    assert not (tmp_path / LOCK_FILE).exists()


LOSER = """
import sys, time
from etils import epath
from spanbert_jax.training.run_lock import leased
with leased(epath.Path(sys.argv[1]), seconds=1.0):
    print("held", flush=True)
    time.sleep(300)
"""


@pytest.mark.parametrize("hears", [True, False], ids=["heard", "nobody listens"])
def test_who_has_lost_the_lease_ends(tmp_path: Path, hears: bool) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", LOSER, str(tmp_path)], text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as loser:  # fmt: skip
        assert loser.stdout is not None and loser.stderr is not None
        assert loser.stdout.readline() == "held\n"
        if not hears:
            loser.stderr.close()
        taken_over(tmp_path / LOCK_FILE, lambda: loser.poll() is not None)
        assert loser.returncode == USER_ERROR
        if hears:
            said = loser.stderr.read()
            assert "spanbert: error: " in said and "must be written by one run alone" in said


def test_of_two_starts_at_one_moment_one_goes_on(tmp_path: Path) -> None:
    together, ends = threading.Barrier(2), []

    def start() -> None:
        together.wait()
        try:
            with leased(epath.Path(tmp_path), seconds=SECONDS):
                ends.append("held")
                time.sleep(2 * SECONDS)
        except UserError:
            ends.append("refused")

    threads = [threading.Thread(target=start) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(ends) == ["held", "refused"]
