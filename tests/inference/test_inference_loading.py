"""Any model by its path: fine-tuned runs, grids, pretrained models, and tasks of one's own."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import spanbert_jax
from spanbert_jax.config.files import load_module
from spanbert_jax.config.tasks import SquadConfig, TextClassificationConfig
from spanbert_jax.config.tasks import task as known_tasks
from spanbert_jax.errors import UserError
from spanbert_jax.inference.fine_tuned_model import FineTunedModel
from spanbert_jax.inference.loading import load_fine_tuned
from spanbert_jax.inference.pretrained_model import PretrainedModel
from spanbert_jax.weights.loaded_model import LoadedModel
from spanbert_jax.weights.loading import read_pretrained
from spanbert_jax.weights.parameters import flatten

ODD_WORD = Path(__file__).parents[1] / "tasks" / "files" / "odd_word.py"


@pytest.fixture
def grid(tmp_path, classifying) -> Path:
    """Of one run."""
    shutil.copytree(classifying, tmp_path / "grid" / "lr2e-05_batch16_seed42")
    (tmp_path / "grid" / "grid.json").write_text(json.dumps({"best": "lr2e-05_batch16_seed42"}))
    return tmp_path / "grid"


def test_a_run_is_read_with_what_its_task_learnt(answering):
    model = spanbert_jax.load(answering)
    assert isinstance(model, FineTunedModel)
    assert model.task.config.max_length == 24
    assert model.settings == {"null_threshold": -3.5}


def test_the_best_checkpoint_on_dev_is_asked_unless_another_one_is_named(
    tmp_path, classifying, save_fine_tuned
):
    train = str(classifying.parent / "train.jsonl")
    task = TextClassificationConfig(train=train, dev=train, max_length=32)
    run = save_fine_tuned(tmp_path / "run", task, scores=(70.0, 60.0))
    assert spanbert_jax.load(run).step == 1
    assert spanbert_jax.load(run, step=2).step == 2


def test_the_folder_of_a_grid_is_its_best_run(grid, classifying):
    model, run = spanbert_jax.load(grid), spanbert_jax.load(classifying)
    assert model.classify("a good film") == run.classify("a good film")
    of_grid, of_run = (dict(flatten(read_pretrained(path).params)) for path in (grid, classifying))
    for path, array in of_run.items():
        np.testing.assert_array_equal(of_grid[path], array)


def test_a_grid_that_does_not_say_which_is_best_is_refused(grid):
    (grid / "grid.json").write_text("{}")
    with pytest.raises(UserError, match="grid.json: must say which run of the grid is the best"):
        spanbert_jax.load(grid)


def test_a_grid_of_which_no_run_is_done_is_refused(grid):
    (grid / "grid.json").write_text(json.dumps({"best": None, "runs": []}))
    with pytest.raises(UserError, match="grid: must be a grid with a run that is done, found none"):
        spanbert_jax.load(grid)


def test_a_pretrained_run_encodes_and_says_that_it_has_no_other_heads(pretrained):
    model = spanbert_jax.load(pretrained)
    assert isinstance(model, PretrainedModel) and isinstance(model, LoadedModel)
    assert model.encode("ada").hidden_states.shape == (1, 3, 16)
    for ask in (model.classify, model.tag, model.relation):
        with pytest.raises(UserError, match="found heads of pretraining alone .masked language"):
            ask("ada")
    with pytest.raises(UserError, match="needs a model with a head of question answering"):
        model.answer("who ?", "ada")


def test_a_pretrained_run_is_no_fine_tuned_one(pretrained):
    with pytest.raises(UserError, match="must be a run of fine-tuning, found one of pretraining"):
        load_fine_tuned(pretrained)


def test_a_task_of_ones_own_is_known_by_its_file(tmp_path, monkeypatch, save_fine_tuned):
    data = tmp_path / "train.jsonl"
    data.write_text(json.dumps({"words": ["ada", "was", "river"], "odd": 2}) + "\n")
    task = load_module(ODD_WORD).OddWordConfig(train=str(data), dev=str(data), max_length=32)
    run = save_fine_tuned(tmp_path / "run", task)
    # As a program does that has not read the file yet.
    monkeypatch.delitem(known_tasks._KNOWN, "odd_word")
    with pytest.raises(UserError, match="task odd_word: must be one of .* --task-file"):
        spanbert_jax.load(run)
    model = spanbert_jax.load(run, task_file=ODD_WORD)
    (found,) = model.predict([{"words": ["ada", "was", "river"]}])
    assert found["prediction"] in (0, 1, 2)


def test_a_file_of_tasks_that_is_not_there_is_refused(classifying):
    with pytest.raises(UserError, match="there is no task file nowhere.py"):
        spanbert_jax.load(classifying, task_file="nowhere.py")


def test_a_config_that_the_model_does_not_fit_is_refused(classifying, answering):
    other = TextClassificationConfig(kind="multi_label")
    with pytest.raises(UserError, match="--task.kind multi_label: must be as .* with single_label"):
        load_fine_tuned(classifying, task=other)
    with pytest.raises(UserError, match="--task.max-length 512: is longer than the 64 positions"):
        load_fine_tuned(answering, task=SquadConfig(unanswerable=True))
