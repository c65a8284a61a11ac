"""Several real processes on this machine, started by launch/local.py, and a small run for them."""

import json
import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
WORDS = """
    ancient bridge broken castle crossed early empty farmer forest garden golden harbour hidden
    island journey kitchen lantern letter library market meadow morning narrow opened painted quiet
    remembered river road silver singer small soldier station story stranger summer teacher tower
    traveller valley village visited waited walked water weather whispered window winter written
""".split()
CONFIG = """
from spanbert_jax.config import *


def small():
    return PretrainConfig(
        workdir="run",
        model=ModelConfig(
            hidden_size=32, num_layers=2, num_heads=4, mlp_size=64, max_positions=32,
            boundary_offset_size=8,
        ),
        data=DataConfig(shards="shards", sequence_length=32, batch_size=16),
        optimizer=OptimizerConfig(learning_rate=1e-2, warmup_steps=5),
        training=TrainingConfig(num_steps=20, log_every=1, eval_every=10, eval_batches=2),
        checkpoint=CheckpointConfig(every_steps=10),
    )
"""


class Pod:
    """Processes that train one run, in a folder with its shards and config."""

    silence_seconds = 30
    """Long beside what a loaded machine may keep a thread waiting."""

    def __init__(
        self,
        folder: Path,
        processes: int,
        devices: int,
        *flags: str,
        command: str = "pretrain",
        config: str = "small.py",
    ) -> None:
        self.log = folder / f"{time.monotonic_ns()}.log"
        self._file = self.log.open("w")
        launch = [sys.executable, str(ROOT / "launch" / "local.py")]
        size = ["--processes", f"{processes}", "--devices", f"{devices}"]
        patience = ["--silence-seconds", f"{self.silence_seconds}"]
        self.process = subprocess.Popen(
            [*launch, *size, *patience, command, config, *flags], cwd=folder, stderr=self._file,
            stdout=subprocess.DEVNULL, text=True,
            # Compiled without optimisation, as all tests, and once for all starts that are alike;
            # apart from other tests, since who is killed may leave an entry half written.
            env=os.environ
            | {
                "XLA_FLAGS": "--xla_backend_optimization_level=0",
                "JAX_COMPILATION_CACHE_DIR": str(folder / "compiled"),
                "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            },
        )  # fmt: skip

    @property
    def said(self) -> str:
        return self.log.read_text()

    @property
    def pids(self) -> list[int]:
        """Of the processes, by their numbers."""
        return [int(pid) for pid in self.wait_for(r"pids: ([\d ]+)\n").split()]

    @property
    def exit_codes(self) -> list[int]:
        """Of the processes, by their numbers, where not all have ended well."""
        return [int(code) for code in self.wait_for(r"exit codes: ([\d ]+)\n").split()]

    def wait_for(self, pattern: str, *, seconds: float = 240) -> str:
        """What the first group of `pattern` is, once it is said."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            # Asked before: what is said last is said by then.
            is_over = self.process.poll() is not None
            if found := re.search(pattern, self.said):
                return found[1] if found.groups() else found[0]
            assert not is_over, self.said
            time.sleep(0.05)
        raise AssertionError(f"{pattern} was not said: {self.said}")

    def wait(self, *, seconds: float = 240) -> int:
        """The exit code of the whole."""
        return self.process.wait(seconds)

    def close(self) -> None:
        """End what may still run: the launcher, and the processes that it started."""
        self._file.close()
        if self.process.poll() is None:
            for pid in self.pids:
                with_no_complaint(os.kill, pid, 9)
            self.process.kill()
            self.process.wait()


def with_no_complaint(action: Callable[..., None], *args: Any) -> None:
    try:
        action(*args)
    except ProcessLookupError:
        pass


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with small.py and shards."""
    folder = tmp_path_factory.mktemp("small")
    rng = random.Random(0)
    documents = [
        " ".join(
            " ".join(["The", *rng.choices(WORDS, k=rng.randint(4, 11))]) + "."
            for _ in range(rng.randint(2, 6))
        )
        for _ in range(400)
    ]
    (folder / "text.txt").write_text("\n\n".join(documents) + "\n")
    (folder / "small.py").write_text(CONFIG)
    prepare = ["prepare", "--source", "text:text.txt", "--vocab-size", "200", "--out", "shards"]
    kind = ["--sentencepiece-type", "bpe", "--held-out", "0.1"]
    subprocess.run(
        [sys.executable, "-m", "spanbert_jax", *prepare, *kind], cwd=folder, check=True,
        capture_output=True,
    )  # fmt: skip
    return folder


@pytest.fixture(scope="session")
def start(small: Path) -> Iterator[Callable[..., Pod]]:
    """start(processes, devices, "--flag", ...): a pod of `small`, ended with the tests."""
    pods: list[Pod] = []

    def start(processes: int, devices: int, *flags: str, **what: str) -> Pod:
        pods.append(Pod(small, processes, devices, *flags, **what))
        return pods[-1]

    yield start
    for pod in pods:
        pod.close()


@pytest.fixture(scope="session")
def measured(small: Path) -> Callable[[str], dict[str, list[float]]]:
    """measured(workdir): metrics.jsonl by name, a value for each line that has one."""

    def read(workdir: str) -> dict[str, list[float]]:
        file = small / workdir / "metrics.jsonl"
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        names = {name for line in lines for name in line}
        return {name: [line[name] for line in lines if name in line] for name in names}

    return read
