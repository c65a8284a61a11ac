"""Real pipes that nobody reads, or whose reader is gone."""

import os
import subprocess
import sys
import time

import pytest

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
    with pytest.raises(BrokenPipeError):
        stream.close()


def test_a_program_ends_though_nobody_reads() -> None:
    script = (
        "import sys\n"
        "from spanbert_jax.training.console import open_console\n"
        "with open_console(9, sys.stderr) as console:\n"
        "    for _ in range(5_000): console.message('x' * 100)\n"
    )
    reading, writing = os.pipe()
    done = subprocess.run([sys.executable, "-c", script], stderr=writing, timeout=60)
    os.close(writing)
    os.close(reading)
    assert done.returncode == 0


def test_a_file_gets_its_lines_at_once(tmp_path) -> None:
    with open(tmp_path / "log", "w") as file, open_console(9, file) as console:
        assert type(console) is Console
        console.message("one")
        assert (tmp_path / "log").read_text() == "one\n"
