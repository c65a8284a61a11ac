"""Programs whose last words nobody reads, or whose reader is gone: real processes and pipes."""

import os
import subprocess
import sys

import pytest

from spanbert_jax.errors import INTERRUPTED, RUN_AGAIN, USER_ERROR

FAILING = """
import sys
import spanbert_jax.__main__ as program
from spanbert_jax.errors import *
def run_command(arguments):
    raise {error}
program.run_command = run_command
sys.exit(program.main([]))
"""
# How a command fails, the code that the program ends with, and what it says.
FAILURES = [
    ("UserError('mend this')", USER_ERROR, "spanbert: error: mend this\n"),
    ("RunAgain('host 3 died')", RUN_AGAIN, "spanbert: stopped: host 3 died\n"),
    ("KeyboardInterrupt()", INTERRUPTED, "spanbert: interrupted\n"),
    ("ZeroDivisionError('ours')", 1, "ZeroDivisionError: ours\n"),
]


def start(error: str, stderr: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", FAILING.format(error=error)], stderr=stderr, text=True,
        # Where it is set, nothing waits in a buffer.
        env=os.environ | {"PYTHONUNBUFFERED": ""},
    )  # fmt: skip


def test_a_program_ends_with_its_code_though_nobody_reads_its_last_words(unread_pipe: int) -> None:
    started = [(start(error, unread_pipe), code) for error, code, _ in FAILURES]
    codes = [(process.wait(60), code) for process, code in started]
    assert [code for code, _ in codes] == [code for _, code in codes]


def test_so_does_one_whose_reader_is_gone() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    started = [(start(error, writing), code) for error, code, _ in FAILURES]
    os.close(writing)
    codes = [(process.wait(60), code) for process, code in started]
    assert [code for code, _ in codes] == [code for _, code in codes]


@pytest.mark.parametrize(("error", "code", "said"), FAILURES)
def test_who_reads_them_gets_all_of_them(error: str, code: int, said: str) -> None:
    with start(error, subprocess.PIPE) as process:
        _, heard = process.communicate(timeout=60)
    assert process.returncode == code
    assert heard.endswith(said)
    assert ("Traceback" in heard) == (code == 1)
