"""Fine-tuned runs of tiny random models, one of each kind of task."""

import json
from pathlib import Path
from typing import Any

import pytest

from spanbert_jax.config.tasks import (
    SquadConfig,
    TacredConfig,
    TaggingConfig,
    TextClassificationConfig,
)

CONTEXT = "ada lovelace was born in london . she wrote the first program in paris ."
RELATIONS = [
    {"id": "a", "relation": "no_relation"},
    {"id": "b", "relation": "born_in"},
]


def write_squad(path: Path, context: str, *, answer: str, number: int = 2) -> str:
    qas = [
        {"id": f"q{i}", "question": "where was ada born ?", "is_impossible": False,
         "answers": [{"text": answer, "answer_start": context.index(answer)}]}
        for i in range(number)
    ]  # fmt: skip
    content = {"data": [{"paragraphs": [{"context": context, "qas": qas}]}]}
    path.write_text(json.dumps(content))
    return str(path)


def write_lines(path: Path, records: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(each) + "\n" for each in records))
    return str(path)


@pytest.fixture(scope="session")
def answering(tmp_path_factory, save_fine_tuned) -> Path:
    """SQuAD 2.0 with windows of 24 tokens, and the threshold -3.5."""
    folder = tmp_path_factory.mktemp("squad")
    train = write_squad(folder / "train.json", CONTEXT, answer="london")
    task = SquadConfig(
        train=train, dev=train, max_length=24, doc_stride=4, max_query_length=8, unanswerable=True
    )
    return save_fine_tuned(folder / "run", task, settings={"null_threshold": -3.5})


@pytest.fixture(scope="session")
def classifying(tmp_path_factory, save_fine_tuned) -> Path:
    folder = tmp_path_factory.mktemp("reviews")
    train = write_lines(
        folder / "train.jsonl",
        [{"text": "a good film", "label": "good"}, {"text": "a bad film", "label": "bad"},
         {"text": "the river", "label": "none"}],
    )  # fmt: skip
    task = TextClassificationConfig(train=train, dev=train, max_length=32)
    return save_fine_tuned(folder / "run", task)


@pytest.fixture(scope="session")
def relating(tmp_path_factory, save_fine_tuned) -> Path:
    folder = tmp_path_factory.mktemp("relations")
    sentence = {
        "token": "ada was born in london".split(), "subj_start": 0, "subj_end": 0, "obj_start": 4,
        "obj_end": 4, "subj_type": "PERSON", "obj_type": "CITY",
    }  # fmt: skip
    train = folder / "train.json"
    train.write_text(json.dumps([sentence | each for each in RELATIONS]))
    task = TacredConfig(train=str(train), dev=str(train), max_length=32)
    return save_fine_tuned(folder / "run", task)


@pytest.fixture(scope="session")
def tagging(tmp_path_factory, save_fine_tuned) -> Path:
    folder = tmp_path_factory.mktemp("tags")
    train = folder / "train.conll"
    train.write_text("ada B-PER\nlovelace I-PER\nwas O\nborn O\nin O\nlondon B-LOC\n")
    task = TaggingConfig(train=str(train), dev=str(train), max_length=32)
    return save_fine_tuned(folder / "run", task)
