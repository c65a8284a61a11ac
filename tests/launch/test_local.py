"""launch/local.py with programs that stand in for spanbert; the real one is in tests/faults."""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

FILE = Path(__file__).resolve().parents[2] / "launch" / "local.py"


@pytest.fixture(scope="module")
def local() -> ModuleType:
    spec = importlib.util.spec_from_file_location("local", FILE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def launch(*flags: str, script: str, folder: Path) -> subprocess.Popen[str]:
    """Run the launcher on a package `spanbert_jax` that is `script` alone."""
    package = folder / "spanbert_jax"
    package.mkdir(exist_ok=True)
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text(f"import os, signal, sys, time\n{script}\n")
    return subprocess.Popen(
        [sys.executable, str(FILE), *flags, "pretrain", "a.py"], cwd=folder, text=True,
        stderr=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(folder)},
    )  # fmt: skip


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, said = process.communicate(timeout=60)
    return process.returncode, said


def test_each_process_has_a_number_of_its_own_and_the_devices_it_is_given(tmp_path) -> None:
    script = (
        "flags = dict(zip(sys.argv[3::2], sys.argv[4::2]))\n"
        "print(flags['--distributed.process-id'], flags['--distributed.num-processes'],\n"
        "      sys.argv[1:3], os.environ['JAX_PLATFORMS'], os.environ['XLA_FLAGS'].split()[-1])"
    )
    code, said = ended(launch("--processes", "3", "--devices", "5", script=script, folder=tmp_path))
    assert code == 0
    told = "3 ['pretrain', 'a.py'] cpu --xla_force_host_platform_device_count=5"
    assert sorted(said.splitlines()[1:]) == [f"0 {told}", f"[1] 1 {told}", f"[2] 2 {told}"]


@pytest.mark.parametrize(
    ("codes", "code"),
    [
        ([0, 0], 0), ([75, 2], 2), ([75, 137], 137), ([130, 75], 130), ([0, 75], 75), ([75, 1], 1),
        ([1, 2, 130], 2),
    ],
)  # fmt: skip
def test_the_exit_code_is_the_one_that_matters_most(local, codes: list[int], code: int) -> None:
    assert local.together(codes) == code


def test_where_not_all_end_well_the_last_line_says_how_each_one_did(tmp_path) -> None:
    script = (
        "number = int(sys.argv[-1])\n"
        "sys.exit(75) if number == 1 else number and os.kill(os.getpid(), signal.SIGKILL)"
    )
    code, said = ended(launch("--processes", "3", script=script, folder=tmp_path))
    assert (code, said.splitlines()[-1]) == (137, "exit codes: 0 75 137")


def test_a_run_that_was_stopped_is_started_again_as_often_as_asked(tmp_path) -> None:
    script = (
        "count = len(open('starts').read()) if os.path.exists('starts') else 0\n"
        "open('starts', 'a').write('x')\n"
        "sys.exit(0 if count == 2 else 75)"
    )
    one = ("--processes", "1", "--restarts")
    assert ended(launch(*one, "1", script=script, folder=tmp_path))[0] == 75
    code, said = ended(launch(*one, "9", script=script, folder=tmp_path))
    assert (code, len((tmp_path / "starts").read_text())) == (0, 3)
    assert "same command again" not in said


def test_bad_input_is_not_started_again(tmp_path) -> None:
    process = launch("--restarts", "5", script="sys.exit(2)", folder=tmp_path)
    code, said = ended(process)
    assert code == 2 and "again" not in said


def test_sigterm_reaches_every_process(tmp_path) -> None:
    script = (
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))\n"
        "print('ready', flush=True)\n"
        "time.sleep(60)"
    )
    process = launch("--processes", "2", script=script, folder=tmp_path)
    assert process.stderr is not None
    lines = [process.stderr.readline() for _ in range(3)]
    assert sorted(lines[1:]) == ["[1] ready\n", "ready\n"]
    process.send_signal(signal.SIGTERM)
    start = time.monotonic()
    assert ended(process)[0] == 75
    assert time.monotonic() - start < 30


def test_a_dry_run_prints_the_commands_and_runs_nothing(tmp_path) -> None:
    done = subprocess.run(
        [sys.executable, str(FILE), "--processes", "2", "--dry-run", "pretrain", "a b.py"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    first, second = done.stdout.splitlines()
    assert "-m spanbert_jax pretrain 'a b.py' --distributed.coordinator 127.0.0.1:" in first
    assert first.endswith("--distributed.process-id 0")
    assert second.endswith("--distributed.process-id 1")


@pytest.mark.parametrize(
    ("flags", "message"),
    [((), "name a command of spanbert"), (("--processes", "0", "pretrain"), "must be at least 1")],
)
def test_nothing_to_run_is_an_error(flags: tuple, message: str) -> None:
    done = subprocess.run([sys.executable, str(FILE), *flags], capture_output=True, text=True)
    assert done.returncode == 2 and message in done.stderr
