"""`spanbert predict fill`: where its texts come from, and what it prints."""

import io
import json
from types import SimpleNamespace

import pytest

from spanbert_jax.commands import predict
from spanbert_jax.config import PretrainConfig
from spanbert_jax.config.json import to_tree
from spanbert_jax.config.predict import FillConfig
from spanbert_jax.errors import UserError
from spanbert_jax.tasks.fill import Candidate, FilledSpan, FilledText, Opinions
from spanbert_jax.training.saved_run import LoadedRun
from spanbert_jax.weights import loading


@pytest.fixture
def asked(monkeypatch):
    """What the model was asked, in place of a run and its model."""
    calls: list[dict] = []

    def fill_with_model(texts, **options) -> list[FilledText]:
        calls.append({"texts": tuple(texts), **options})
        opinions = Opinions([Candidate("Ä", 0.5)], None, [Candidate("Ä", 0.5)])
        span = FilledSpan(1, "a", ".", "no say", opinions, [opinions])
        return [FilledText(text, "a Ä .", [span]) for text in texts]

    def load_run(folder, *, step: int | None) -> LoadedRun:
        config = PretrainConfig(workdir=f"step {step}")
        return LoadedRun(to_tree(config), f"params of {folder}", 7, "abc", config.model)

    def load_tokenizer(folder) -> SimpleNamespace:
        return SimpleNamespace(fingerprint="abc" if "runs/a/" in str(folder) else "xyz")

    monkeypatch.setattr(loading, "load_run", load_run)
    monkeypatch.setattr(loading, "load_tokenizer", load_tokenizer)
    monkeypatch.setattr(predict, "fill_with_model", fill_with_model)
    return calls


def test_texts_of_the_command_line_are_filled_by_the_run_and_its_tokenizer(asked, capsys):
    predict.run(FillConfig(checkpoint="runs/a", texts=("a [MASK] .",), top=3))
    assert asked == [
        {"texts": ("a [MASK] .",), "config": PretrainConfig(workdir="step None"),
         "params": "params of runs/a", "tokenizer": SimpleNamespace(fingerprint="abc"), "top": 3}
    ]  # fmt: skip
    assert "-> a Ä ." in capsys.readouterr().out


def test_another_checkpoint_than_the_newest_can_be_asked(asked):
    predict.run(FillConfig(checkpoint="runs/a", texts=("a [MASK] .",), step=3))
    assert asked[0]["config"].workdir == "step 3"


def test_a_run_whose_tokenizer_was_replaced_is_refused(asked):
    with pytest.raises(UserError, match="must hold the tokenizer that its checkpoint of step 7"):
        predict.run(FillConfig(checkpoint="runs/b", texts=("a [MASK] .",)))
    assert asked == []


def test_a_home_folder_can_be_written_as_a_tilde(asked, monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    predict.run(FillConfig(checkpoint="~/runs/a", texts=("a [MASK] .",)))
    assert asked[0]["params"] == "params of /home/somebody/runs/a"


def test_without_texts_each_line_of_standard_input_is_one(asked, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.StringIO("a [MASK] .\n\n  b [MASK]\n"))
    predict.run(FillConfig(checkpoint="runs/a", json=True))
    assert asked[0]["texts"] == ("a [MASK] .", "b [MASK]")
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["text"] for line in lines] == ["a [MASK] .", "b [MASK]"]
    assert "Ä" in lines[0]


def test_nothing_on_standard_input_is_an_error(asked, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("\n"))
    with pytest.raises(UserError, match="standard input holds no text"):
        predict.run(FillConfig(checkpoint="runs/a"))


def test_a_terminal_without_texts_is_told_what_to_type(asked, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stdin", Terminal())
    with pytest.raises(UserError, match="there is no text to fill in"):
        predict.run(FillConfig(checkpoint="runs/a"))
