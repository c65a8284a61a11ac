"""`spanbert predict fill`: where its texts come from, and what it prints."""

import io
import json
from types import SimpleNamespace

import pytest

from spanbert_jax.commands import predict
from spanbert_jax.config.predict import FillConfig
from spanbert_jax.errors import UserError
from spanbert_jax.tasks.fill import Candidate, FilledSpan, FilledText, Opinions


@pytest.fixture
def asked(monkeypatch):
    """What the model was asked, in place of a run and its model."""
    calls: list[dict] = []

    def fill_with_model(texts, **options) -> list[FilledText]:
        calls.append({"texts": tuple(texts), **options})
        opinions = Opinions([Candidate("Ä", 0.5)], None, [Candidate("Ä", 0.5)])
        span = FilledSpan(1, "a", ".", "no say", opinions, [opinions])
        return [FilledText(text, "a Ä .", [span]) for text in texts]

    run = SimpleNamespace(config="config", params="params", step=7)
    monkeypatch.setattr(predict, "load_run", lambda folder: run)
    monkeypatch.setattr(predict, "load_tokenizer", lambda folder: f"from {folder}")
    monkeypatch.setattr(predict, "fill_with_model", fill_with_model)
    return calls


def test_texts_of_the_command_line_are_filled_by_the_run_and_its_tokenizer(asked, capsys):
    predict.run(FillConfig(checkpoint="runs/a", texts=("a [MASK] .",), top=3))
    assert asked == [
        {"texts": ("a [MASK] .",), "config": "config", "params": "params",
         "tokenizer": "from runs/a/tokenizer", "top": 3}
    ]  # fmt: skip
    assert "-> a Ä ." in capsys.readouterr().out


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
