"""A task that is not of the list, in one file: that which the README shows, from data to score."""

import json
from pathlib import Path

import pytest

from spanbert_jax.config.files import load_config, load_module
from spanbert_jax.config.finetune import FinetuneConfig
from spanbert_jax.config.json import from_json, to_json
from spanbert_jax.config.tasks import task_config_of
from spanbert_jax.tasks.task import load_task

FILE = Path(__file__).parent / "files" / "odd_word.py"
README = Path(__file__).resolve().parents[2] / "README.md"
SENTENCES = [
    {"words": ["he", "ate", "bread"]},
    {"words": ["she", "ate", "a", "bridge"], "odd": 3},
    {"words": ["he", "bridge", "soup"], "odd": 1},
    {"words": ["bridge", "drank", "the", "soup"], "odd": 0},
]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "sentences.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in SENTENCES[1:]))
    return path


def test_the_file_is_what_the_readme_shows_and_has_40_lines():
    source = FILE.read_text(encoding="utf-8")
    assert f"```python\n{source}```\n" in README.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= 40


def test_its_config_function_names_the_task_by_which_a_checkpoint_remembers_it():
    config = load_config(str(FILE), FinetuneConfig)
    assert config.task.name == "odd_word" and config.task.max_length == 64
    assert task_config_of("odd_word") is type(config.task)
    assert type(load_task(config.task)).__name__ == "OddWord"


def test_its_file_may_defer_annotations_and_its_config_survives_json(tmp_path):
    file = tmp_path / "deferred.py"
    file.write_text(
        "from __future__ import annotations\n"
        "from dataclasses import dataclass\n"
        "from typing import ClassVar\n"
        "from spanbert_jax.config.tasks import TaskConfig\n"
        "@dataclass(frozen=True)\n"
        "class Deferred(TaskConfig):\n"
        "    name: ClassVar[str] = 'deferred'\n"
        "    labels: tuple[str, ...] | None = None\n"
    )
    config = FinetuneConfig(task=load_module(file).Deferred(labels=("yes", "no")))
    assert from_json(to_json(config)) == config


def test_it_learns_which_word_is_odd(learn, data):
    task = load_task(load_module(FILE).OddWordConfig(max_length=64))
    learnt = learn(task, str(data), str(data))
    assert learnt.losses[-1] < 0.1 < learnt.losses[0]
    assert learnt.verdict.predictions == [3, 1, 0]
    assert learnt.verdict.scores == {"accuracy": 100.0}
    files = task.prediction_files(learnt.examples, learnt.verdict, tables=learnt.tables)
    assert files == {
        "predictions.jsonl": '{"prediction": 3}\n{"prediction": 1}\n{"prediction": 0}\n'
    }


def test_where_no_answer_is_known_it_predicts_and_scores_nothing(learn, data, tmp_path):
    task = load_task(load_module(FILE).OddWordConfig(max_length=64))
    asked = tmp_path / "asked.jsonl"
    asked.write_text(json.dumps(SENTENCES[0]) + "\n")
    learnt = learn(task, str(data), str(asked), num_steps=1)
    assert learnt.verdict.scores == {}
    assert learnt.verdict.predictions[0] in (0, 1, 2)
    assert task.example(SENTENCES[0]) == SENTENCES[0]
