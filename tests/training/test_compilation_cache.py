"""Compiled programs are found again by the next start, bounded, and never worth an error."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import jax
import pytest

from spanbert_jax.training.compilation_cache import BYTES_ON_DISK, keep_compiled

FOLDER, SIZE = "jax_compilation_cache_dir", "jax_compilation_cache_max_size"
OF_XLA = "jax_persistent_cache_enable_xla_caches"
A_START = """
import collections, json, sys
import jax
from spanbert_jax.training.compilation_cache import keep_compiled

events = collections.Counter()
jax.monitoring.register_event_listener(lambda name, **_: events.update([name.rsplit("/")[-1]]))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.jit(lambda x: x + 1)(1.0)  # before it, as several processes that agree on their config do
keep_compiled(*sys.argv[1:])
jax.jit(lambda x: x * 2 + 1)(3.0)
print(json.dumps({**events, "folder": jax.config.values["jax_compilation_cache_dir"]}))
"""


@pytest.fixture
def no_cache() -> Iterator[None]:
    """As where nobody has set one; that of the tests comes back."""
    kept = {name: jax.config.values[name] for name in (FOLDER, SIZE, OF_XLA)}
    jax.config.update(FOLDER, None)
    jax.config.update(SIZE, -1)
    yield
    for name, value in kept.items():
        jax.config.update(name, value)


def a_start(home: Path, *arguments: str, **environment: str) -> dict:
    """What a program saw of its cache: {"cache_hits": 1, "folder": "..."}"""
    inherited = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
    done = subprocess.run(
        [sys.executable, "-c", A_START, *arguments], capture_output=True, text=True, check=True,
        env=inherited | {"HOME": str(home)} | environment,
    )  # fmt: skip
    assert done.stderr == ""
    return json.loads(done.stdout)


def test_the_next_start_finds_what_the_one_before_compiled(tmp_path: Path) -> None:
    first, second = a_start(tmp_path), a_start(tmp_path)
    assert "cache_hits" not in first
    assert second["cache_hits"] >= 1
    kept = tmp_path / ".cache/spanbert_jax/compiled"
    assert Path(second["folder"]).parent == kept and Path(second["folder"]).name[:4] == "cpu-"


def test_no_place_is_no_cache_and_a_cache_of_ones_own_stays(tmp_path: Path) -> None:
    assert a_start(tmp_path, "")["folder"] is None
    own = a_start(tmp_path, JAX_COMPILATION_CACHE_DIR=str(tmp_path / "own"))
    assert own["folder"] == str(tmp_path / "own")
    assert not (tmp_path / ".cache").exists()


def test_a_local_cache_is_bounded_and_a_remote_one_is_left_to_its_owner(
    no_cache: None, tmp_path: Path
) -> None:
    keep_compiled("gs://bucket/compiled")
    assert jax.config.values[FOLDER].startswith("gs://bucket/compiled/cpu-")
    assert jax.config.values[SIZE] == -1
    # XLA's own caches are of local disks alone.
    assert jax.config.values[OF_XLA] == "none"
    jax.config.update(FOLDER, None)
    keep_compiled(str(tmp_path / "compiled"))
    assert jax.config.values[SIZE] == BYTES_ON_DISK


def test_programs_whose_writing_was_cut_off_are_removed(no_cache: None, tmp_path: Path) -> None:
    keep_compiled(str(tmp_path))
    folder = Path(jax.config.values[FOLDER])
    for name in ("jit_whole-cache", "jit_whole-atime", "jit_cut-cache"):
        (folder / name).write_bytes(b"12345678")
    jax.config.update(FOLDER, None)
    keep_compiled(str(tmp_path))
    names = {file.name for file in folder.iterdir()}
    assert names - {".lockfile"} == {"jit_whole-cache", "jit_whole-atime"}


def test_a_place_that_cannot_be_written_is_said_and_not_used(
    no_cache: None, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    said: list[str] = []
    keep_compiled(str(tmp_path / "file"), say=said.append)
    assert jax.config.values[FOLDER] is None
    assert "compiled programs are not kept" in said[0] and "JAX_COMPILATION_CACHE_DIR" in said[0]


def test_of_several_processes_the_first_alone_bounds_what_all_read(
    no_cache: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    keep_compiled(str(tmp_path / "compiled"))
    assert jax.config.values[FOLDER].startswith(str(tmp_path / "compiled"))
    assert jax.config.values[SIZE] == -1 and not (tmp_path / "compiled").exists()


def test_several_hosts_with_gpus_use_only_a_place_that_is_named(
    no_cache: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that find nothing would wait for the one that finds all."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    keep_compiled()
    assert jax.config.values[FOLDER] is None
    keep_compiled(str(tmp_path / "shared"))
    assert jax.config.values[FOLDER] == str(tmp_path / "shared/gpu")
