"""One training, however many processes share it; stopped in one of them, it stops in all."""

import json
import os
import re
import resource
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from spanbert_jax.errors import INTERRUPTED, RUN_AGAIN, USER_ERROR
from spanbert_jax.training.saved_run import load_run

Start = Callable[..., Any]
Measured = Callable[[str], dict[str, list[float]]]
SAME = ("loss", "mlm_loss", "sbo_loss", "mlm_accuracy", "grad_norm", "learning_rate")
HELD_OUT = ("held_out_loss", "held_out_mlm_loss", "held_out_sbo_loss")
# small.py, in which the second process is told to stop at a step that the test knows.
SIGNALLED = """
import signal
import sys

import small
from spanbert_jax.training.meter import Meter

add = Meter.add


def add_and_be_told(meter, step, metrics):
    add(meter, step, metrics)
    if step == 6 and sys.argv[-2:] == ["--distributed.process-id", "1"]:
        signal.raise_signal(signal.SIGTERM)


Meter.add = add_and_be_told


def signalled():
    return small.small()
"""

# small.py, in which the main thread of the second process hangs, and no other thread of it.
HANGING = SIGNALLED.replace("signal.raise_signal(signal.SIGTERM)", "time.sleep(3_600)").replace(
    "import signal", "import time"
)


def assert_same(found: dict, expected: dict, names: tuple[str, ...]) -> None:
    for name in names:
        # float32: sums in another order, 3e-7 apart where it was measured.
        np.testing.assert_allclose(found[name], expected[name], rtol=2e-6, err_msg=name)


@pytest.fixture(scope="module")
def undisturbed(start: Start, measured: Measured) -> dict[str, list[float]]:
    """What one process with one device measures."""
    pod = start(1, 1, "--workdir", "one")
    assert pod.wait() == 0, pod.said
    return measured("one")


@pytest.fixture(scope="module")
def by_two(start: Start, small: Path) -> Path:
    """The folder of a run of two processes with a device each, to its end."""
    pod = start(2, 1, "--workdir", "by_two")
    assert pod.wait() == 0, pod.said
    return small / "by_two"


@pytest.mark.parametrize(
    ("processes", "devices", "mesh"),
    [
        (2, 2, "--mesh.data 2 --mesh.fsdp 2"),
        # Both processes have every row: matrices are split between them.
        (2, 1, "--mesh.data 1 --mesh.tensor 2"),
        (4, 1, "--mesh.data 2 --mesh.fsdp 2"),
    ],
)
def test_several_processes_train_as_one_and_write_one_log(
    start: Start,
    measured: Measured,
    small: Path,
    undisturbed: dict,
    processes: int,
    devices: int,
    mesh: str,
) -> None:
    name = f"{processes}x{devices}"
    pod = start(processes, devices, "--workdir", name, *mesh.split())
    assert pod.wait() == 0, pod.said
    assert_same(measured(name), undisturbed, SAME + HELD_OUT)
    steps = measured(name)["step"]
    assert steps == sorted(steps) and steps.count(7) == 1
    assert set(measured(name)["slowest_process"]) <= set(range(processes))
    assert f"{processes * devices} x cpu" in pod.said
    assert f"in {processes} processes" in pod.said
    # The others are silent but for what the runtime says of its network, whose threads write lines
    # and their ends apart.
    spoken = [line[4:] for line in pod.said.splitlines() if re.match(r"\[[1-9]\] ", line)]
    assert [line for line in spoken if line.strip() and "Gloo" not in line] == []
    config = json.loads((small / name / "config.json").read_text())
    assert config["distributed"]["process_id"] is None


def test_sigterm_to_one_process_saves_all_two_steps_later_and_they_go_on_bit_for_bit(
    start: Start, small: Path, by_two: Path
) -> None:
    (small / "signalled.py").write_text(SIGNALLED)
    flags = ("--workdir", "stopped")
    pod = start(2, 1, *flags, config="signalled.py")
    assert pod.wait() == RUN_AGAIN, pod.said
    assert pod.exit_codes == [RUN_AGAIN, RUN_AGAIN]
    assert "[1] process 1: SIGTERM: stopping after this step to save" in pod.said
    # Asked at step 6, all know the answer when they have taken the two steps that were under way.
    assert pod.wait_for(r"saved at step (\d+) of 20") == "8"

    again = start(2, 1, *flags)
    assert again.wait() == 0, again.said
    assert "going on from the checkpoint of step 8" in again.said
    found, expected = (load_run(each, step=20) for each in (small / "stopped", by_two))
    jax.tree.map(np.testing.assert_array_equal, found.params, expected.params)


def test_ctrl_c_in_one_process_stops_all_at_one_step_for_good_and_another_number_may_go_on(
    start: Start, measured: Measured, small: Path, undisturbed: dict
) -> None:
    flags = ("--workdir", "interrupted")
    pod = start(2, 1, *flags)
    pod.wait_for(r"\nstep 3/20 ")
    begun = time.monotonic()
    os.kill(pod.pids[1], signal.SIGINT)
    assert pod.wait() == INTERRUPTED, pod.said
    print(f"Ctrl-C: saved and ended after {time.monotonic() - begun:.1f} seconds")
    # The one that was asked says so to whoever started it, which no launcher starts again.
    assert pod.exit_codes == [RUN_AGAIN, INTERRUPTED]
    stopped = int(pod.wait_for(r"saved at step (\d+) of 20"))
    assert 3 < stopped < 20
    assert (small / "interrupted" / "checkpoints" / f"{stopped}").exists()

    again = start(1, 4, *flags, "--mesh.fsdp", "2")
    assert again.wait() == 0, again.said
    assert f"going on from the checkpoint of step {stopped}" in again.said
    assert_same(measured("interrupted"), undisturbed, SAME + HELD_OUT)


@pytest.mark.parametrize(
    ("lost", "number", "words"),
    [
        # With what it was at when it last gave a sign.
        (1, signal.SIGKILL, r"sign of life for 30 seconds from process 1 on \S+ \([a-z ]+, step "),
        (1, signal.SIGSTOP, r"sign of life for 30 seconds from process 1 on \S+ \([a-z ]+, step "),
        (
            0,
            signal.SIGSTOP,
            r"answer for 30 seconds from process 0, the coordinator: it died, hang",
        ),
    ],
    ids=["dies", "hangs", "the first hangs"],
)
def test_a_process_that_is_lost_is_named_by_the_other_which_ends_to_be_started_again(
    start: Start,
    measured: Measured,
    undisturbed: dict,
    lost: int,
    number: signal.Signals,
    words: str,
) -> None:
    name = f"lost_{lost}_{number.name}"
    flags = ("--workdir", name, "--checkpoint.every-steps", "2")
    pod = start(2, 1, *flags)
    pod.wait_for(r"\nstep 6/20 ")
    begun = time.monotonic()
    os.kill(pod.pids[lost], number)
    pod.wait_for(r"spanbert: stopped: no " + words)
    seconds = time.monotonic() - begun
    print(f"{number.name} of process {lost}: the other one ends after {seconds:.1f} seconds")
    # As training/liveness.py counts; the rest for a machine that has much else to do.
    assert seconds < 1.75 * pod.silence_seconds + 30
    if number == signal.SIGSTOP:
        os.kill(pod.pids[lost], signal.SIGKILL)
    assert pod.wait() == 128 + signal.SIGKILL
    assert pod.exit_codes[lost] == 128 + signal.SIGKILL
    assert pod.exit_codes[1 - lost] == RUN_AGAIN

    if number == signal.SIGKILL:
        again = start(2, 1, *flags)
        assert again.wait() == 0, again.said
        assert_same(measured(name), undisturbed, HELD_OUT[:1])


def test_a_process_that_gives_signs_of_life_but_does_not_move_is_named_by_all(
    start: Start, small: Path
) -> None:
    (small / "hanging.py").write_text(HANGING)
    standstill = 30
    flags = ("--workdir", "hanging", "--distributed.standstill-seconds", f"{standstill}")
    pod = start(2, 1, *flags, config="hanging.py")
    pod.wait_for(r"\nstep 3/20 ")
    begun = time.monotonic()
    pod.wait_for(r"spanbert: stopped: nothing has moved for 30 seconds; furthest behind: ")
    print(f"a main thread that hangs: named after {time.monotonic() - begun:.1f} seconds")
    assert pod.wait() == RUN_AGAIN, pod.said
    assert pod.exit_codes == [RUN_AGAIN, RUN_AGAIN]
    said = re.findall(r"spanbert: stopped: .* furthest behind: (.*)", pod.said)
    assert len(said) == 2
    for each in said:
        assert re.match(r"process 1 on \S+ \(training, step 6\), process 0 on ", each), pod.said


def test_where_the_first_process_dies_the_runtime_ends_the_others_and_names_the_leader(
    start: Start,
) -> None:
    pod = start(2, 1, "--workdir", "headless", "--training.num-steps", "3000")
    pod.wait_for(r"\nstep 6/3,000 ")
    begun = time.monotonic()
    os.kill(pod.pids[0], signal.SIGKILL)
    assert pod.wait() == 128 + signal.SIGKILL
    seconds = time.monotonic() - begun
    print(f"SIGKILL of process 0: the other one ends after {seconds:.1f} seconds")
    # It does not wait for a silence, nor for words of ours: whom its coordinator has left, aborts.
    assert seconds < pod.silence_seconds
    assert "Either the leader task was preempted/died/restarted unexpectedly" in pod.said
    assert pod.exit_codes == [128 + signal.SIGKILL, 128 + signal.SIGABRT]


def test_a_checkpoint_that_is_damaged_is_left_by_all_processes_alike(
    start: Start, measured: Measured, small: Path, by_two: Path, undisturbed: dict
) -> None:
    shutil.copytree(by_two, small / "damaged")
    newest = small / "damaged" / "checkpoints" / "20"
    file = max((newest / "state").rglob("d/*"), key=lambda path: path.stat().st_size)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    again = start(2, 1, "--workdir", "damaged")
    assert again.wait() == 0, again.said
    assert "going on from the checkpoint of step 10" in again.said
    assert (small / "damaged" / "damaged" / "20").exists() and newest.exists()
    assert_same(measured("damaged"), undisturbed, SAME + HELD_OUT)


def test_a_run_goes_on_with_more_processes_than_it_began_with(
    start: Start, measured: Measured, small: Path, by_two: Path, undisturbed: dict
) -> None:
    shutil.copytree(by_two, small / "grown")
    shutil.rmtree(small / "grown" / "checkpoints" / "20")
    again = start(4, 1, "--workdir", "grown", "--mesh.data", "2", "--mesh.fsdp", "2")
    assert again.wait() == 0, again.said
    assert "going on from the checkpoint of step 10" in again.said
    assert re.search(r"4 x cpu as .* in 4 processes", again.said), again.said
    assert_same(measured("grown"), undisturbed, SAME + HELD_OUT)


def test_several_processes_stop_alike_where_numbers_cease_to_be_finite(
    start: Start, small: Path, by_two: Path
) -> None:
    """A learning rate beyond all bounds: after the first update the model overflows."""
    shutil.copytree(by_two, small / "diverging")
    pod = start(
        2, 1, "--workdir", "diverging", "--training.num-steps", "40", "--optimizer.learning-rate",
        "1e30", "--training.max-skipped-steps", "3",
    )  # fmt: skip
    assert pod.wait() == USER_ERROR, pod.said
    assert pod.exit_codes == [USER_ERROR, USER_ERROR]
    why = pod.wait_for(
        r"error: --training.max-skipped-steps 3: .* no gradient was finite; (the first .*)"
    )
    assert re.match(
        r"the first module whose output is not finite is encoder/\S+; the newest checkpoint, of "
        "step 20, is from before: go on from there with a lower --optimizer.learning-rate",
        why,
    ), why
    before, kept = load_run(by_two), load_run(small / "diverging")
    assert kept.step == before.step == 20
    jax.tree.map(np.testing.assert_array_equal, kept.params, before.params)


def test_a_second_run_in_the_folder_of_one_is_refused_and_the_first_goes_on(start: Start) -> None:
    flags = ("--workdir", "shared", "--training.num-steps", "100000")
    first = start(2, 1, *flags)
    first.wait_for(r"\nstep 6/100,000 ")
    second = start(2, 1, *flags)
    assert second.wait() == USER_ERROR, second.said
    assert second.exit_codes == [USER_ERROR, USER_ERROR]
    assert re.search(
        rf"--workdir \S*shared: must be written by one run alone, found that process "
        rf"{first.pids[0]} on \S+ is at it; wait for its end, stop it, or use another",
        second.said,
    ), second.said
    os.kill(first.pids[1], signal.SIGTERM)
    assert first.wait() == RUN_AGAIN, first.said
    assert "saved at step " in first.said


def test_a_process_whose_disk_takes_no_more_stops_nobody(
    start: Start, measured: Measured, small: Path, undisturbed: dict
) -> None:
    """A limit on the size of files, set on one of two from outside, stands in for its disk."""
    flags = ("--workdir", "full", "--checkpoint.every-steps", "5", "--training.eval-every", "20")
    pod = start(2, 1, *flags, "--checkpoint.retry-seconds", "1")
    pod.wait_for(r"\nstep 6/20 ")
    resource.prlimit(pod.pids[1], resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
    why = pod.wait_for(r"step \d+ could not be saved (\(.*?\)); ", seconds=120)
    assert why.startswith("(process 1 on ") and "File too large" in why
    resource.prlimit(pod.pids[1], resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
    assert pod.wait() == 0, pod.said
    assert (small / "full" / "checkpoints" / "20").exists()
    assert_same(measured("full"), undisturbed, SAME)


def test_bad_input_in_one_process_is_told_by_all_and_restarts_nothing(
    start: Start, small: Path
) -> None:
    pod = start(2, 1, "--workdir", "refused", "--mesh.data", "3")
    assert pod.wait() == USER_ERROR
    assert "--mesh.data --mesh.fsdp --mesh.tensor 3 1 1: asks for 3 devices, found 2" in pod.said
    assert not (small / "refused").exists()


def test_one_process_prepares_its_text_and_several_ask_for_shards(start: Start) -> None:
    source = ("--prepare.source", "text:text.txt", "--prepare.vocab-size", "200")
    kind = ("--prepare.sentencepiece-type", "bpe", "--prepare.held-out", "0.1")
    refused = start(2, 1, "--workdir", "unprepared", "--data.shards", "fresh", *source, *kind)
    assert refused.wait() == USER_ERROR
    assert "must be shards that are there before several processes train" in refused.said
    short = ("--training.num-steps", "2", "--optimizer.warmup-steps", "1")
    alone = start(1, 1, "--workdir", "prepared", "--data.shards", "fresh", *source, *kind, *short)
    assert alone.wait() == 0, alone.said
