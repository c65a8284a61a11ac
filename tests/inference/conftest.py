"""Fine-tuned runs of tiny random models, one of each kind of task."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from spanbert_jax.config import DataConfig, ModelConfig, PretrainConfig
from spanbert_jax.config.json import to_json
from spanbert_jax.config.tasks import (
    SquadConfig,
    TacredConfig,
    TaggingConfig,
    TextClassificationConfig,
)
from spanbert_jax.corpus.tokenizers import load_tokenizer
from spanbert_jax.training.checkpoint import Checkpoints, DataPosition
from spanbert_jax.weights.parameters import initial_parameters, nest, parameter_shapes

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


@pytest.fixture(scope="session")
def pretrained(tmp_path_factory, answering) -> Path:
    """A run of pretraining with a masked language head and one for span boundaries."""
    folder = tmp_path_factory.mktemp("pretrained")
    shutil.copytree(answering / "tokenizer", folder / "tokenizer")
    tokenizer = load_tokenizer(folder / "tokenizer")
    model = ModelConfig(
        vocab_size=tokenizer.vocab_size, hidden_size=16, num_layers=1, num_heads=2, mlp_size=32,
        max_positions=32, boundary_offset_size=6,
    )  # fmt: skip
    params = nest(initial_parameters(model, list(parameter_shapes(model)), seed=0))
    config = PretrainConfig(
        workdir=str(folder), model=model, data=DataConfig(sequence_length=model.max_positions)
    )
    (folder / "config.json").write_text(to_json(config))
    with Checkpoints(folder, config, tokenizer_fingerprint=tokenizer.fingerprint) as checkpoints:
        checkpoints.save(7, {"params": params}, position=DataPosition(0), score=None)
    return folder
