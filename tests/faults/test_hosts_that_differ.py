"""Two processes that were not set up alike: both say so and end, before anything compiles."""

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from spanbert_jax.errors import USER_ERROR

ROOT = Path(__file__).resolve().parents[2]
Differ = Callable[..., tuple[list[int], list[str]]]


@pytest.fixture
def differ(small: Path, tmp_path: Path) -> Differ:
    """differ(flags=..., folder=..., packages=...): exit codes and words of two processes of one
    run, of which the second is started with more flags, elsewhere, or with other packages.
    """
    spec = importlib.util.spec_from_file_location("local", ROOT / "launch" / "local.py")
    assert spec is not None and spec.loader is not None
    local = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(local)

    def differ(
        *, flags: tuple[str, ...] = (), folder: Path = small, packages: Path = ROOT
    ) -> tuple[list[int], list[str]]:
        run = ["pretrain", f"{small}/small.py", "--workdir", f"{tmp_path}/run"]
        first, second = local.commands(
            # Shorter than elsewhere: the first process lingers for a part of it.
            run, num_processes=2, port=local.free_port(), silence_seconds=15,
        )  # fmt: skip
        environment = os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""}
        hosts = [
            subprocess.Popen(
                command, cwd=place, env=environment | {"PYTHONPATH": f"{path}"}, text=True,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            )
            for command, place, path in (
                (first, small, ROOT), ([*second, *flags], folder, packages),
            )
        ]  # fmt: skip
        try:
            said = [host.communicate(timeout=240)[0] for host in hosts]
        finally:
            for host in hosts:
                host.kill()
        assert not (tmp_path / "run").exists(), "checked before anything is written"
        return [host.returncode for host in hosts], said

    return differ


def test_other_settings_of_one_process_are_named_by_all(differ: Differ) -> None:
    codes, said = differ(flags=("--optimizer.learning-rate", "2e-2"))
    assert codes == [USER_ERROR, USER_ERROR]
    for each in said:
        assert (
            "spanbert: error: --optimizer.learning-rate: must be the same for all processes, found "
            "0.01 in process 0 and 0.02 in process 1"
        ) in each


def test_other_code_of_one_process_is_named_by_all(differ: Differ, tmp_path: Path) -> None:
    code = tmp_path / "other" / "spanbert_jax"
    shutil.copytree(ROOT / "spanbert_jax", code, ignore=shutil.ignore_patterns("__pycache__"))
    with (code / "training" / "schedule.py").open("a") as file:
        file.write("# A line more.\n")
    codes, said = differ(packages=code.parent)
    assert codes == [USER_ERROR, USER_ERROR]
    for each in said:
        assert "spanbert: error: code of spanbert_jax: must be the same for all processes" in each


def test_shards_that_one_process_cannot_read_are_named_by_all(
    differ: Differ, small: Path, tmp_path: Path
) -> None:
    # Of --data.shards shards, which is another folder where the second process is started.
    shutil.copytree(small / "shards", tmp_path / "shards")
    lost = next((tmp_path / "shards").rglob("*.npy"))
    lost.unlink()
    codes, (first, second) = differ(folder=tmp_path)
    assert codes == [USER_ERROR, USER_ERROR]
    assert f"{lost.name}" in first and f"{lost.name}" in second
    assert "spanbert: error: process 1 on " in first
    assert "spanbert: error: " in second and "process 1 on" not in second
