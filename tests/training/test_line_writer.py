"""Real pipes that nobody reads, or whose reader is gone."""

import os
import subprocess
import sys
import time

import pytest

from spanbert_jax.errors import RUN_AGAIN
from spanbert_jax.training.console import Console, PipeConsole, open_console
from spanbert_jax.training.line_writer import LineWriter


def test_a_full_pipe_keeps_nobody_waiting_and_says_later_what_it_dropped() -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream, os.fdopen(reading) as reader:
        lines = LineWriter(stream, max_lines=10)
        start = time.monotonic()
        for number in range(20_000):
            lines.write(f"line {number} {'x' * 40}\n")
        assert time.monotonic() - start < 5
        read = []
        while not read or not read[-1].startswith("line 19999 "):
            read.append(reader.readline())
        lines.close()
    kept = [int(line.split()[1]) for line in read if line.startswith("line")]
    dropped = [int(line[1:].split()[0]) for line in read if line.endswith("nobody read them)\n")]
    assert kept == sorted(kept)
    assert dropped and sum(dropped) == 20_000 - len(kept)


def test_what_was_said_last_is_out_when_it_is_closed() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading) as reader:
        with os.fdopen(writing, "w") as stream:
            with open_console(9, stream) as console:
                assert type(console) is PipeConsole
                console.message("one")
                console.message("two")
        assert reader.read() == "one\ntwo\n"


def test_a_reader_that_is_gone_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    stream = os.fdopen(writing, "w")
    with open_console(9, stream) as console:
        console.message("nobody hears this")
        console.message("nor this")
    # Nothing is left in its buffer either.
    stream.close()


SPEAKS = """
import sys
from spanbert_jax.training.console import open_console
with open_console(9, sys.stderr) as console:
    for _ in range(5_000): console.message('x' * 100)
sys.exit(75)
"""
# SIGTERM, as a process of a run that does not speak meets it.
IS_SILENT = """
import os, signal, sys
from spanbert_jax.training.console import open_console
from spanbert_jax.training.interrupts import StopRequest
with (
    open_console(9, speaks=False, name="process 3") as console,
    StopRequest(console.say_here) as stop,
):
    console.message("what the first process says")
    os.kill(os.getpid(), signal.SIGTERM)
    assert stop.signal_number == signal.SIGTERM
sys.exit(stop.exit_code)
"""


@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize("script", [SPEAKS, IS_SILENT], ids=["speaks", "is silent"])
def test_a_program_ends_with_its_code_though_nobody_reads(
    unread_pipe: int, script: str, unbuffered: str
) -> None:
    """Python waits for the buffer of stderr at its end, where a setting does not take it away."""
    done = subprocess.run(
        [sys.executable, "-c", script], stderr=unread_pipe, timeout=60,
        env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
    )  # fmt: skip
    assert done.returncode == RUN_AGAIN


def test_a_process_that_is_silent_says_what_it_alone_meets() -> None:
    done = subprocess.run([sys.executable, "-c", IS_SILENT], capture_output=True, text=True)
    assert done.stderr == (
        "process 3: SIGTERM: stopping after this step to save; Ctrl-C stops at once\n"
    )


def test_a_file_gets_its_lines_at_once(tmp_path) -> None:
    with open(tmp_path / "log", "w") as file, open_console(9, file) as console:
        assert type(console) is Console
        console.message("one")
        assert (tmp_path / "log").read_text() == "one\n"
