"""The program as a process, a small corpus for it, and a run that it has finished."""

import hashlib
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

WORDS = """
    ancient bridge broken built carried castle crossed distant drawing early empty evening farmer
    followed forest found garden gentle golden harbour hidden island journey kitchen ladder lantern
    letter library little market meadow morning mountain narrow opened orchard painted paper quiet
    remembered river road silver simple singer sleeping small soldier station stone story stranger
    summer teacher thunder tower town traveller valley village visited waited walked watched water
    weather whispered window winter wooden written yellow young
""".split()

CONFIG = """
from spanbert_jax.config import *


def tiny():
    return PretrainConfig(
        workdir="run",
        model=ModelConfig(
            hidden_size=16, num_layers=1, num_heads=2, mlp_size=32, max_positions=32,
            boundary_offset_size=8,
        ),
        data=DataConfig(shards="shards", sequence_length=32, batch_size=8),
        optimizer=OptimizerConfig(learning_rate=1e-2, warmup_steps=10),
        training=TrainingConfig(num_steps=400, log_every=2, eval_every=100, eval_batches=2),
        checkpoint=CheckpointConfig(every_steps=100),
        prepare=PrepareConfig(
            source=("text:text.txt",), vocab_size=200, sentencepiece_type="bpe", held_out=0.1
        ),
    )
"""

# Tests that run in the background of a shell ignore Ctrl-C, and so would the program.
HEARING_CTRL_C = """\
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(sys.executable, [sys.executable, "-m", "spanbert_jax", *sys.argv[1:]])
"""

Start = Callable[..., subprocess.Popen[str]]
Run = Callable[..., subprocess.CompletedProcess[str]]
Snapshot = Callable[[Path], dict[str, str]]


def sentences(rng: random.Random, number: int) -> str:
    return " ".join(
        " ".join(["The", *rng.choices(WORDS, k=rng.randint(4, 11))]) + "." for _ in range(number)
    )


def write_text(path: Path, *, num_documents: int) -> None:
    rng = random.Random(0)
    documents = [sentences(rng, rng.randint(2, 6)) for _ in range(num_documents)]
    path.write_text("\n\n".join(documents) + "\n")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with text.txt and tiny.py, whose run goes to run/ and whose shards to shards/."""
    folder = tmp_path_factory.mktemp("tiny")
    write_text(folder / "text.txt", num_documents=200)
    (folder / "tiny.py").write_text(CONFIG)
    return folder


@pytest.fixture(scope="session")
def start_spanbert() -> Start:
    """start_spanbert("pretrain", ..., cwd=folder): the program as a user starts it, one device."""

    def start(*arguments: str, cwd: Path) -> subprocess.Popen[str]:
        environment = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=1"}
        return subprocess.Popen(
            [sys.executable, "-c", HEARING_CTRL_C, *arguments], cwd=cwd, env=environment,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            # Its own group, so that a Ctrl-C can reach all of its processes as in a terminal.
            start_new_session=True,
        )  # fmt: skip

    return start


@pytest.fixture(scope="session")
def spanbert(start_spanbert: Start) -> Run:
    """Run the program to its end."""

    def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        with start_spanbert(*arguments, cwd=cwd) as process:
            out, err = process.communicate()
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    return run


@pytest.fixture(scope="session")
def finished(tiny: Path, spanbert: Run) -> subprocess.CompletedProcess[str]:
    """The run in tiny/run, from text to its last step without a pause."""
    done = spanbert("pretrain", "tiny.py:tiny", cwd=tiny)
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="session")
def snapshot() -> Snapshot:
    """snapshot(folder): the checksum of every file below it, and "" for every folder."""

    def of(folder: Path) -> dict[str, str]:
        return {
            str(path.relative_to(folder)): ""
            if path.is_dir()
            else hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.rglob("*"))
        }

    return of
