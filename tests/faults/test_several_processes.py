"""One training, however many processes share it; stopped in one of them, it stops in all."""

import json
import os
import re
import resource
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spanbert_jax.errors import RUN_AGAIN

Start = Callable[..., Any]
Measured = Callable[[str], dict[str, list[float]]]
SAME = ("loss", "mlm_loss", "sbo_loss", "mlm_accuracy", "grad_norm", "learning_rate")
HELD_OUT = ("held_out_loss", "held_out_mlm_loss", "held_out_sbo_loss")


def assert_same(found: dict, expected: dict, names: tuple[str, ...]) -> None:
    for name in names:
        # float32: sums in another order.
        np.testing.assert_allclose(found[name], expected[name], rtol=2e-4, atol=1e-6, err_msg=name)


@pytest.fixture(scope="module")
def undisturbed(start: Start, measured: Measured) -> dict[str, list[float]]:
    """What one process with one device measures."""
    pod = start(1, 1, "--workdir", "one")
    assert pod.wait() == 0, pod.said
    return measured("one")


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
    # The others are silent but for what the runtime says of its network.
    spoken = [line for line in pod.said.splitlines() if line.startswith("[1] ")]
    assert [line for line in spoken if "Gloo" not in line] == []
    config = json.loads((small / name / "config.json").read_text())
    assert config["distributed"]["process_id"] is None


def test_sigterm_to_one_process_stops_all_at_one_step_and_another_number_goes_on(
    start: Start, measured: Measured, small: Path, undisturbed: dict
) -> None:
    flags = ("--workdir", "stopped")
    pod = start(2, 1, *flags)
    pod.wait_for(r"\nstep 3/20 ")
    os.kill(pod.pids[1], signal.SIGTERM)
    assert pod.wait() == RUN_AGAIN, pod.said
    stopped = int(pod.wait_for(r"saved at step (\d+) of 20"))
    assert 3 < stopped < 20
    assert "[1] process 1: SIGTERM: stopping after this step to save" in pod.said
    assert (small / "stopped" / "checkpoints" / f"{stopped}").exists()

    again = start(1, 4, *flags, "--mesh.fsdp", "2")
    assert again.wait() == 0, again.said
    assert f"going on from the checkpoint of step {stopped}" in again.said
    assert_same(measured("stopped"), undisturbed, SAME + HELD_OUT)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["dies", "hangs"])
def test_a_process_that_is_lost_is_named_by_the_others_which_end_to_be_started_again(
    start: Start, measured: Measured, undisturbed: dict, number: signal.Signals
) -> None:
    flags = ("--workdir", f"lost_{number.name}", "--checkpoint.every-steps", "2")
    pod = start(2, 1, *flags)
    pod.wait_for(r"\nstep 6/20 ")
    os.kill(pod.pids[1], number)
    said = pod.wait_for(r"spanbert: stopped: (.*)", seconds=120)
    assert said.startswith("no sign of life for 30 seconds from process 1 on ")
    # What it was at when it last gave a sign.
    assert re.search(r"on \S+ \([a-z ]+, step \d+\): dead, hanging, or cut off", said)
    if number == signal.SIGSTOP:
        os.kill(pod.pids[1], signal.SIGKILL)
    assert pod.wait() == 128 + signal.SIGKILL

    again = start(2, 1, *flags)
    assert again.wait() == 0, again.said
    assert_same(measured(f"lost_{number.name}"), undisturbed, HELD_OUT[:1])


def test_a_checkpoint_that_is_damaged_is_left_by_all_processes_alike(
    start: Start, measured: Measured, small: Path, undisturbed: dict
) -> None:
    flags = ("--workdir", "damaged")
    pod = start(2, 1, *flags)
    assert pod.wait() == 0, pod.said
    newest = small / "damaged" / "checkpoints" / "20"
    file = max((newest / "state").rglob("d/*"), key=lambda path: path.stat().st_size)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    again = start(2, 1, *flags)
    assert again.wait() == 0, again.said
    assert "going on from the checkpoint of step 10" in again.said
    assert (small / "damaged" / "damaged" / "20").exists() and newest.exists()
    assert_same(measured("damaged"), undisturbed, SAME + HELD_OUT)


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


def test_where_the_first_process_dies_the_others_end_too(start: Start) -> None:
    pod = start(2, 1, "--workdir", "headless", "--training.num-steps", "3000")
    pod.wait_for(r"\nstep 6/3,000 ")
    os.kill(pod.pids[0], signal.SIGKILL)
    # JAX's runtime may be quicker than our own words: it ends whom its coordinator has left.
    assert pod.wait(seconds=120) == 128 + signal.SIGKILL


def test_bad_input_in_one_process_is_told_by_all_and_restarts_nothing(
    start: Start, small: Path
) -> None:
    pod = start(2, 1, "--workdir", "refused", "--mesh.data", "3")
    assert pod.wait() == 2
    assert "--mesh.data --mesh.fsdp --mesh.tensor 3 1 1: asks for 3 devices, found 2" in pod.said
    assert not (small / "refused").exists()


def test_one_process_prepares_its_text_and_several_ask_for_shards(start: Start) -> None:
    source = ("--prepare.source", "text:text.txt", "--prepare.vocab-size", "200")
    kind = ("--prepare.sentencepiece-type", "bpe", "--prepare.held-out", "0.1")
    refused = start(2, 1, "--workdir", "unprepared", "--data.shards", "fresh", *source, *kind)
    assert refused.wait() == 2
    assert "must be shards that are there before several processes train" in refused.said
    short = ("--training.num-steps", "2", "--optimizer.warmup-steps", "1")
    alone = start(1, 1, "--workdir", "prepared", "--data.shards", "fresh", *source, *kind, *short)
    assert alone.wait() == 0, alone.said
