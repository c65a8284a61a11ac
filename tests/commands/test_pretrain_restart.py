"""What `spanbert pretrain` makes of a folder that holds a run: in this process, without a step."""

import shutil
from collections.abc import Callable
from pathlib import Path

import jax.numpy as jnp
import pytest

from spanbert_jax.__main__ import main
from spanbert_jax.commands import pretrain
from spanbert_jax.config import PretrainConfig
from spanbert_jax.errors import RUN_AGAIN
from spanbert_jax.training.checkpoint import Checkpoints, DataPosition
from spanbert_jax.training.loop import Progress
from spanbert_jax.training.run_folder import read_config

Pretrain = Callable[..., int]


@pytest.fixture(scope="module")
def prepared(tiny, tmp_path_factory) -> Path:
    """A folder with text, config and shards."""
    folder = tmp_path_factory.mktemp("prepared")
    for name in ("text.txt", "tiny.py"):
        shutil.copy(tiny / name, folder)
    source = ["--source", "text:text.txt", "--vocab-size", "200", "--held-out", "0.1"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["prepare", *source, "--sentencepiece-type", "bpe", "--out", "shards"]) == 0
        wordpiece = ["--tokenizer", "wordpiece", "--out", "wordpiece"]
        assert main(["prepare", *source, *wordpiece]) == 0
    return folder


@pytest.fixture
def start(prepared, tmp_path, monkeypatch, capsys) -> Pretrain:
    """start("--flag", "value"): pretrain in a fresh copy of `prepared`, stopped before step 1."""
    for name in ("shards", "wordpiece"):
        shutil.copytree(prepared / name, tmp_path / name)
    for name in ("text.txt", "tiny.py"):
        shutil.copy(prepared / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pretrain, "_train", lambda *_, **__: Progress(0, None))
    capsys.readouterr()
    return lambda *flags: main(["pretrain", "tiny.py:tiny", *flags])


STOPPED = RUN_AGAIN


def test_a_run_that_saved_nothing_may_begin_anew_with_another_model_and_tokenizer(start, capsys):
    assert start() == STOPPED
    other = ("--prepare.source", "--data.shards", "wordpiece", "--model.num-layers", "2")
    assert start(*other) == STOPPED, capsys.readouterr().err
    assert [path.name for path in Path("run/tokenizer").iterdir()] == ["tokenizer.json"]


CHANGED = "changed since the run was last started: "


def test_a_run_that_goes_on_otherwise_than_it_was_started_says_so_once(start, capsys):
    other = (
        "--training.seed",
        "5",
        "--optimizer.learning-rate",
        "0.002",
        "--data.batch-size",
        "16",
    )
    assert start() == STOPPED
    assert start(*other) == STOPPED
    assert CHANGED not in capsys.readouterr().err  # nothing was saved: it begins anew
    save_checkpoint("run")
    assert start() == STOPPED
    (said,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith(CHANGED))
    assert said == CHANGED + (
        "--data.batch-size from 16 to 8, --optimizer.learning-rate from 0.002 to 0.01, "
        "--training.seed from 5 to 0"
    )
    assert start() == STOPPED
    assert CHANGED not in capsys.readouterr().err


def save_checkpoint(run: str) -> None:
    with Checkpoints(run, PretrainConfig(), tokenizer_fingerprint="abc") as checkpoints:
        state = {"params": jnp.zeros(1)}
        checkpoints.save(5, state, position=DataPosition(40), score=None)


def test_a_run_that_saved_a_checkpoint_goes_on_with_its_model_and_tokenizer(start, capsys):
    assert start() == STOPPED
    save_checkpoint("run")
    assert start("--model.num-layers", "2") == 2
    assert "--model.num-layers from 1 to 2; put it back" in capsys.readouterr().err
    assert start("--prepare.source", "--data.shards", "wordpiece") == 2
    assert "goes on with the tokenizer it began with" in capsys.readouterr().err


def test_a_tilde_is_the_home_folder(start, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    before = set(Path().iterdir())
    assert start("--workdir=~/r", "--data.shards=~/shards") == STOPPED
    config = read_config("r")
    assert config is not None
    assert (config.workdir, config.data.shards) == (f"{tmp_path}/r", f"{tmp_path}/shards")
    new = {path.name for path in set(Path().iterdir()) - before}
    # Libraries keep files of their own at home.
    assert {name for name in new if not name.startswith(".")} == {"r"}
