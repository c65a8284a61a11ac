"""`spanbert finetune`: a run learns, keeps its best checkpoint and goes on; a grid of runs."""

import dataclasses
import itertools
import json
import random
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from spanbert_jax.__main__ import main
from spanbert_jax.commands import finetune, task_run
from spanbert_jax.commands.task_grid import Grid, runs_of
from spanbert_jax.commands.task_run import Result
from spanbert_jax.config import (
    DataConfig,
    FinetuneConfig,
    MeshConfig,
    ModelConfig,
    PretrainConfig,
)
from spanbert_jax.config.files import load_config
from spanbert_jax.config.json import to_json
from spanbert_jax.config.tasks import SquadConfig, TaskConfig
from spanbert_jax.corpus.tokenizers import SPECIAL_PIECES, load_tokenizer
from spanbert_jax.errors import INTERRUPTED, UserError
from spanbert_jax.training.checkpoint import Checkpoints, DataPosition, newest_step, saved_steps
from spanbert_jax.training.saved_run import load_run
from spanbert_jax.weights.loading import read_pretrained
from spanbert_jax.weights.matching import tensors_from
from spanbert_jax.weights.model_config import export_config, exported_names
from spanbert_jax.weights.parameters import flatten, initial_parameters, nest, parameter_shapes
from spanbert_jax.weights.tensors import write_safetensors

WORDS = "bridge castle garden river tower village water window winter young".split()
MODEL = ModelConfig(
    vocab_size=40, hidden_size=32, num_layers=1, num_heads=2, mlp_size=64, max_positions=64,
    # More dropout would leave it to luck whether so small a model learns in 78 steps.
    initializer_std=0.2, dropout_rate=0.02, attention_dropout_rate=0.02,
)  # fmt: skip
# Does a text hold the word "golden"?
CONFIG = """
from spanbert_jax.config import *
from spanbert_jax.config.tasks import TextClassificationConfig


def golden():
    return FinetuneConfig(
        workdir="tuned",
        init_from="weights",
        task=TextClassificationConfig(train="train.jsonl", dev="dev.jsonl", max_length=32),
        optimizer=OptimizerConfig(
            name="adamw", learning_rate=1e-2, schedule="warmup_linear", warmup_steps=0,
            warmup_fraction=0.1, no_decay=("bias", "norm"),
        ),
        training=FineTuningConfig(
            num_epochs=6, batch_size=8, evaluations_per_epoch=1, eval_batch_size=8, log_every=5
        ),
        checkpoint=CheckpointConfig(every_steps=9, keep_latest=1),
    )
"""
ODD_WORD = Path(__file__).parents[1] / "tasks" / "files" / "odd_word.py"
NUM_STEPS = 78
# Of keys it has no gradient but rounding, which Adam makes as large as any other.
KEY_BIAS = "attention/qkv_bias"
Run = Callable[..., subprocess.CompletedProcess[str]]


def write_examples(path: Path, number: int, *, seed: int, labelled: bool = True) -> None:
    rng = random.Random(seed)
    lines = []
    for index in range(number):
        words = rng.choices(WORDS, k=rng.randint(2, 12))
        if index % 2:
            words[rng.randrange(len(words))] = "golden"
        label = {"label": "yes" if index % 2 else "no"} if labelled else {}
        lines.append({"text": " ".join(words), **label})
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def write_questions(path: Path, number: int, *, seed: int) -> None:
    """SQuAD 2.0's form: where is the word "golden"? Every second context lacks it; of those that
    have it one in four is said to have no answer, for no reason, so that a threshold is not easy.
    """
    rng = random.Random(seed)
    paragraphs = []
    for index in range(number):
        words = rng.choices(WORDS, k=12)
        if index % 2:
            words[rng.randrange(len(words))] = "golden"
        context = " ".join(words)
        answers = [{"text": "golden", "answer_start": context.find("golden")}]
        if index % 2 == 0 or index % 8 == 7:
            answers = []
        qa = {"id": f"{path.stem}-{index}", "question": "golden", "answers": answers}
        paragraphs.append({"context": context, "qas": [qa | {"is_impossible": not answers}]})
    path.write_text(json.dumps({"data": [{"paragraphs": paragraphs}]}))


def random_parameters() -> dict[str, Any]:
    """Those that every run of this file begins with, whoever keeps them."""
    return nest(initial_parameters(MODEL, list(parameter_shapes(MODEL)), seed=0))


def write_vocabulary(folder: Path) -> None:
    pieces = [*SPECIAL_PIECES, *WORDS, "golden"]
    pieces += [f"x{number}" for number in range(MODEL.vocab_size - len(pieces))]
    folder.mkdir(parents=True)
    (folder / "vocab.txt").write_text("\n".join(pieces) + "\n")


def write_hugging_face(folder: Path) -> None:
    """A folder of Hugging Face's BertForMaskedLM: neither pooler nor head of span boundaries."""
    write_vocabulary(folder)
    config = export_config(MODEL, pad_id=0, cls_id=2, sep_id=3)
    (folder / "config.json").write_text(json.dumps(config))
    tensors = tensors_from(random_parameters(), names=exported_names(MODEL), model=MODEL)
    tensors = {name: array for name, array in tensors.items() if "pair_target" not in name}
    write_safetensors(folder / "model.safetensors", tensors, {"format": "pt"})


def write_weights(folder: Path) -> None:
    """A run of pretraining that has saved a random model, with a vocabulary of its own."""
    write_vocabulary(folder / "tokenizer")
    fingerprint = load_tokenizer(folder / "tokenizer").fingerprint
    params = random_parameters()
    config = PretrainConfig(
        workdir=str(folder), model=MODEL, data=DataConfig(sequence_length=MODEL.max_positions)
    )
    (folder / "config.json").write_text(to_json(config))
    with Checkpoints(folder, config, tokenizer_fingerprint=fingerprint) as checkpoints:
        checkpoints.save(7, {"params": params}, position=DataPosition(0), score=None)


@pytest.fixture(scope="module")
def golden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with golden.py, its data, and the weights that it begins with."""
    folder = tmp_path_factory.mktemp("golden")
    (folder / "golden.py").write_text(CONFIG)
    write_weights(folder / "weights")
    write_examples(folder / "train.jsonl", 100, seed=1)
    write_examples(folder / "dev.jsonl", 30, seed=2)
    write_examples(folder / "unlabelled.jsonl", 9, seed=3, labelled=False)
    return folder


@pytest.fixture(scope="module")
def config(golden: Path) -> FinetuneConfig:
    """The config of golden.py, on eight devices, with the folder before its paths."""
    loaded = load_config(f"{golden}/golden.py", FinetuneConfig)
    task = dataclasses.replace(
        loaded.task, train=str(golden / "train.jsonl"), dev=str(golden / "dev.jsonl")
    )
    return dataclasses.replace(
        loaded, task=task, init_from=str(golden / "weights"), workdir=str(golden / "uninterrupted")
    )


@pytest.fixture(scope="module")
def tuned(golden: Path, spanbert: Run) -> subprocess.CompletedProcess[str]:
    """The run in golden/tuned, as a user starts it, on one device."""
    done = spanbert("finetune", "golden.py", cwd=golden)
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def uninterrupted(config: FinetuneConfig) -> Path:
    """The same run on eight devices."""
    assert finetune.run(config) == 0
    return Path(config.workdir)


def metrics(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def read_json(path: Path) -> Any:
    return json.loads(path.read_text())


def largest_difference(one: Any, other: Any, *, but: str = "nothing") -> float:
    """Between two trees of arrays; parameters of the name `but` are left out."""
    differences = jax.tree.map(lambda a, b: float(np.max(np.abs(a - np.asarray(b)))), one, other)
    return max(value for path, value in flatten(differences) if not path.endswith(but))


def test_a_run_learns_its_task_and_says_how_well(
    golden: Path, tuned: subprocess.CompletedProcess[str]
) -> None:
    results = read_json(golden / "tuned" / "results.json")
    assert results["score"] == results["scores"]["accuracy"] > 90.0
    assert f"best on dev, step {results['step']}: accuracy {results['score']:.2f}" in tuned.stdout
    assert (
        "weights: 17 of 32 matched; initialised: pooler (2), task_head (2); unused: "
        in tuned.stderr
    )
    assert f"steps: {NUM_STEPS} of 8 rows, dev every 13" in tuned.stderr
    assert (golden / "tuned" / "dev" / "predictions.tsv").exists()
    page = (golden / "tuned" / "report.html").read_text()
    assert "Fine-tuning run tuned" in page and "Dev: accuracy" in page


def test_dev_is_scored_as_often_as_asked_and_at_the_end_but_not_before_the_first_step(
    golden: Path, tuned: subprocess.CompletedProcess[str]
) -> None:
    scored = [line["step"] for line in metrics(golden / "tuned") if "dev_accuracy" in line]
    assert scored == [13, 26, 39, 52, 65, NUM_STEPS]
    logged = [line["step"] for line in metrics(golden / "tuned") if "loss" in line]
    assert logged == [*range(5, NUM_STEPS, 5), NUM_STEPS]


def test_the_checkpoint_with_the_highest_score_is_the_one_that_is_loaded(
    golden: Path, tuned: subprocess.CompletedProcess[str]
) -> None:
    scores = {
        line["step"]: line["dev_accuracy"]
        for line in metrics(golden / "tuned")
        if "dev_accuracy" in line
    }
    run = load_run(golden / "tuned")
    assert scores[run.step] == max(scores.values())
    assert run.step in saved_steps(golden / "tuned")
    assert len(saved_steps(golden / "tuned")) <= 2
    assert (run.model, run.tables["labels"]) == (MODEL, ["no", "yes"])
    newest = load_run(golden / "tuned", step=NUM_STEPS)
    assert newest.step == NUM_STEPS


def test_eight_devices_come_to_what_one_device_comes_to(
    golden: Path, tuned: subprocess.CompletedProcess[str], uninterrupted: Path
) -> None:
    one, eight = load_run(golden / "tuned", step=NUM_STEPS), load_run(uninterrupted, step=NUM_STEPS)
    assert largest_difference(one.params, eight.params, but=KEY_BIAS) < 2e-3
    losses = [
        [line["loss"] for line in metrics(folder) if "loss" in line][:3]
        for folder in (golden / "tuned", uninterrupted)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


@pytest.mark.parametrize("mesh", [MeshConfig(), MeshConfig(data=2, fsdp=2, tensor=2)])
def test_a_run_that_was_stopped_goes_on_bit_for_bit(
    config: FinetuneConfig, uninterrupted: Path, tmp_path: Path, mesh: MeshConfig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    stopped = dataclasses.replace(config, workdir=str(tmp_path / "run"), mesh=mesh)
    with monkeypatch.context() as patched:
        patched.setattr(task_run, "ReadAhead", stop_at_step(20))
        assert finetune.run(stopped) == INTERRUPTED
    assert max(saved_steps(tmp_path / "run")) == 20
    assert not (tmp_path / "run" / "results.json").exists()
    assert finetune.run(stopped) == 0
    ends = [load_run(folder, step=NUM_STEPS).params for folder in (tmp_path / "run", uninterrupted)]
    if mesh == config.mesh:
        assert largest_difference(*ends) == 0.0
    else:
        assert largest_difference(*ends, but=KEY_BIAS) < 2e-3


def stop_at_step(step: int, *, of_run: int = 1) -> Any:
    """In place of `ReadAhead`: a Ctrl-C comes while the batch of `step` is read.

    of_run: of those that begin one after the other, from 1.
    """
    begun = itertools.count(1)

    class Interrupted:
        def __init__(self, batches: Any, **_: Any) -> None:
            self.batches, self.run = batches, next(begun)

        def __enter__(self) -> Any:
            for number, batch in enumerate(self.batches, start=1):
                if (self.run, number) == (of_run, step):
                    signal.raise_signal(signal.SIGINT)
                yield batch

        def __exit__(self, *_: object) -> None: ...

    return Interrupted


def test_a_run_that_is_done_says_again_what_it_came_to(
    config: FinetuneConfig, uninterrupted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (uninterrupted / "metrics.jsonl").read_bytes()
    assert finetune.run(config) == 0
    assert f"best on dev, step {load_run(uninterrupted).step}" in capsys.readouterr().out
    assert (uninterrupted / "metrics.jsonl").read_bytes() == before


def test_microbatches_and_the_batch_as_a_whole_learn_the_same(
    config: FinetuneConfig, uninterrupted: Path, tmp_path: Path
) -> None:
    training = dataclasses.replace(config.training, num_microbatches=2, dropout_rate=0.0,
                                   num_epochs=0.5, eval_batch_size=8)  # fmt: skip
    losses = []
    for parts in (1, 2):
        training = dataclasses.replace(training, num_microbatches=parts)
        one = dataclasses.replace(
            config, training=training, workdir=str(tmp_path / str(parts)),
            mesh=MeshConfig(data=4, tensor=2),
        )  # fmt: skip
        assert finetune.run(one) == 0
        losses.append([line["loss"] for line in metrics(tmp_path / str(parts)) if "loss" in line])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


@pytest.fixture(scope="module")
def two_rates(config: FinetuneConfig, tmp_path_factory: pytest.TempPathFactory) -> FinetuneConfig:
    """A grid of two learning rates, which has run."""
    grid = dataclasses.replace(
        config, learning_rates=(1e-5, 1e-2), batch_sizes=(8,),
        workdir=str(tmp_path_factory.mktemp("two_rates")),
        training=dataclasses.replace(config.training, num_epochs=2),
    )  # fmt: skip
    assert finetune.run(grid) == 0
    return grid


def test_a_grid_runs_every_cell_keeps_the_best_and_goes_on_where_it_was(
    two_rates: FinetuneConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(two_rates.workdir, tmp_path, dirs_exist_ok=True)
    grid = dataclasses.replace(two_rates, workdir=str(tmp_path))
    names = [f"lr{rate}_batch8_seed{seed}" for rate in ("1e-05", "0.01") for seed in (42, 43)]
    before = {name: (tmp_path / name / "metrics.jsonl").read_bytes() for name in names[::2]}

    assert finetune.run(dataclasses.replace(grid, seeds=2)) == 0
    table = capsys.readouterr().out
    content = read_json(tmp_path / "grid.json")
    assert [run["name"] for run in content["runs"]] == names
    scores = {run["name"]: run["score"] for run in content["runs"]}
    assert content["best"] == max(names, key=scores.get)
    assert [name for name in names if saved_steps(tmp_path / name)] == [content["best"]]
    high = [scores[name] for name in names[2:]]
    line = next(line for line in table.splitlines() if line.strip().startswith("0.01"))
    assert line.split() == ["0.01", "8", "2", f"{np.mean(high):.2f}",
                            f"{np.std(high, ddof=1):.2f}", f"{max(high):.2f}"]  # fmt: skip
    after = {name: (tmp_path / name / "metrics.jsonl").read_bytes() for name in names[::2]}
    assert after == before

    # Of runs that lost to one that is not asked for any more, the best is trained again.
    fewer = dataclasses.replace(grid, learning_rates=(1e-5,), seeds=2)
    assert finetune.run(fewer) == 0
    best = read_json(tmp_path / "grid.json")["best"]
    assert best == max(names[:2], key=scores.get) and saved_steps(tmp_path / best)
    assert read_json(tmp_path / best / "results.json")["score"] == scores[best]


def test_a_grid_that_is_stopped_in_a_run_comes_to_what_an_undisturbed_one_comes_to(
    two_rates: FinetuneConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = dataclasses.replace(two_rates, workdir=str(tmp_path))
    with monkeypatch.context() as patched:
        patched.setattr(task_run, "ReadAhead", stop_at_step(20, of_run=2))
        assert finetune.run(grid) == INTERRUPTED
    done, stopped = (tmp_path / run.name for run in runs_of(grid))
    assert (done / "results.json").exists() and not (stopped / "results.json").exists()
    assert max(saved_steps(stopped)) == 20
    assert [run["name"] for run in read_json(tmp_path / "grid.json")["runs"]] == [done.name]

    before = (done / "metrics.jsonl").read_bytes()
    assert finetune.run(grid) == 0
    assert (done / "metrics.jsonl").read_bytes() == before
    content = read_json(tmp_path / "grid.json")
    assert content == read_json(Path(two_rates.workdir) / "grid.json")
    assert [run["name"] for run in content["runs"]] == [done.name, stopped.name]
    found, expected = (
        load_run(Path(folder) / content["best"]) for folder in (tmp_path, two_rates.workdir)
    )
    assert found.step == expected.step
    assert largest_difference(found.params, expected.params) == 0.0


def test_the_grid_of_the_paper_with_five_seeds_is_fifty_runs(config: FinetuneConfig) -> None:
    runs = runs_of(dataclasses.replace(config, grid="paper", seeds=5))
    assert len(runs) == len({run.config.workdir for run in runs}) == 50
    for run in runs:
        training, rate = run.config.training, run.config.optimizer.learning_rate
        assert run[1:4] == (rate, training.batch_size, training.seed)
        assert not run.config.is_grid
    assert {run.seed for run in runs} == {42, 43, 44, 45, 46}


def of_questions(config: FinetuneConfig, folder: Path) -> FinetuneConfig:
    """A run in folder/run of 16 steps over folder/train.json, dev.json every four."""
    write_questions(folder / "train.json", 64, seed=69)
    write_questions(folder / "dev.json", 24, seed=27)
    task = SquadConfig(
        train=str(folder / "train.json"), dev=str(folder / "dev.json"), max_length=16,
        unanswerable=True,
    )  # fmt: skip
    training = dataclasses.replace(config.training, num_epochs=2, evaluations_per_epoch=2)
    return dataclasses.replace(config, task=task, training=training, workdir=str(folder / "run"))


def test_the_threshold_that_dev_gave_is_kept_with_the_checkpoint_and_used_by_evaluate(
    config: FinetuneConfig, tmp_path: Path
) -> None:
    one = of_questions(config, tmp_path)
    assert finetune.run(one) == 0
    results, run = read_json(tmp_path / "run" / "results.json"), load_run(tmp_path / "run")
    assert run.step == results["step"]
    assert run.settings == results["settings"] and set(run.settings) == {"null_threshold"}
    # Scored again with what was saved, it is what the evaluation of that step had found.
    found = {line["step"]: line for line in metrics(tmp_path / "run") if "dev_f1" in line}
    assert results["score"] == pytest.approx(found[run.step]["dev_f1"], abs=1e-4)
    assert results["score"] == pytest.approx(max(line["dev_f1"] for line in found.values()))

    # Another file than it was tuned on, whose own best threshold is another one.
    other = str(tmp_path / "other.json")
    write_questions(tmp_path / "other.json", 24, seed=29)
    assert main(["evaluate", one.workdir, "--task.dev", other]) == 0
    folder = tmp_path / "run" / "evaluations" / "other"
    scores = read_json(folder / "scores.json")
    assert scores["settings"] == run.settings
    threshold = run.settings["null_threshold"]
    assert threshold not in (0.0, scores["scores"]["best_f1_thresh"])
    odds = read_json(folder / "null_odds.json")
    answers = read_json(folder / "predictions.json")
    assert {key for key, text in answers.items() if not text} == {
        key for key, value in odds.items() if value > threshold
    }
    assert 0 < sum(map(bool, answers.values())) < len(answers)


def test_what_is_left_out_or_cut_is_counted_and_shown(
    config: FinetuneConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = of_questions(config, tmp_path)
    content = read_json(tmp_path / "train.json")
    nowhere, half_found, long = (content["data"][0]["paragraphs"][i]["qas"][0] for i in (1, 3, 5))
    missing = {"text": "silver", "answer_start": 0}
    nowhere["answers"] = [missing]
    half_found["answers"].append(missing)
    long["question"] = "golden " * 20
    (tmp_path / "train.json").write_text(json.dumps(content))
    content = read_json(tmp_path / "dev.json")
    content["data"][0]["paragraphs"][2]["context"] = ""
    (tmp_path / "dev.json").write_text(json.dumps(content))
    training = dataclasses.replace(one.training, num_epochs=0.1)
    assert finetune.run(dataclasses.replace(one, training=training)) == 0
    said = capsys.readouterr().err
    assert (
        f"{tmp_path}/train.json: 63 examples\n"
        "  1 question: their answer is not in their context where the file says; not trained on "
        "(train-1)\n"
        "  1 question: some of their answers are not in their context where the file says; trained "
        "on with another one (train-3)\n"
        f"{tmp_path}/train.json: of its rows\n"
        "  1 of the questions: longer than 9 tokens; the rest is cut off\n"
        f"{tmp_path}/dev.json: 24 examples\n"
        "  1 question: their context is empty; answered with nothing (dev-2)\n"
    ) in said


def test_a_run_that_goes_on_saves_the_threshold_it_had_until_the_next_evaluation(
    config: FinetuneConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = dataclasses.replace(config.checkpoint, every_steps=7, keep_latest=9)
    one = dataclasses.replace(of_questions(config, tmp_path), checkpoint=keep)
    with monkeypatch.context() as patched:
        patched.setattr(task_run, "ReadAhead", stop_at_step(6))
        assert finetune.run(one) == INTERRUPTED
    assert finetune.run(one) == 0
    # Dev was scored at step 4, and again at step 8.
    before, after = (load_run(tmp_path / "run", step=step).settings for step in (6, 7))
    assert before == after and set(after) == {"null_threshold"}


def test_weights_of_hugging_face_and_their_import_begin_as_a_run_with_the_same_weights(
    config: FinetuneConfig, uninterrupted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    write_hugging_face(tmp_path / "bert")
    assert main(["import", str(tmp_path / "bert"), "--out", str(tmp_path / "imported")]) == 0
    expected = [line for line in metrics(uninterrupted) if line["step"] < 20]
    for origin in (f"hf:{tmp_path}/bert", str(tmp_path / "imported")):
        workdir = tmp_path / f"from_{Path(origin).name}"
        one = dataclasses.replace(config, init_from=origin, workdir=str(workdir))
        capsys.readouterr()
        with monkeypatch.context() as patched:
            patched.setattr(task_run, "ReadAhead", stop_at_step(20))
            assert finetune.run(one) == INTERRUPTED
        # What the import began at random is no more theirs than what the folder lacks.
        assert (
            "weights: 17 of 22 matched; initialised: pooler (2), task_head (2); "
            "unused: mlm_head (5)\n"
        ) in capsys.readouterr().err
        found = [line for line in metrics(workdir) if line["step"] < 20]
        for name in ("loss", "grad_norm", "dev_accuracy"):
            both = [[line[name] for line in each if name in line] for each in (found, expected)]
            assert both[0] == both[1] and both[0]


def test_a_fine_tuned_model_is_a_beginning_too(golden: Path, uninterrupted: Path) -> None:
    start = read_pretrained(uninterrupted)
    assert (start.model, start.fresh) == (MODEL, frozenset())
    assert set(start.params) == {"encoder", "pooler", "task_head"}


def test_a_task_of_a_users_own_file_is_learnt_like_any_other(
    config: FinetuneConfig, tmp_path: Path
) -> None:
    rng = random.Random(0)
    for name, number in (("train", 128), ("dev", 24)):
        lines = []
        for _ in range(number):
            words, odd = rng.choices(WORDS, k=5), rng.randrange(5)
            words[odd] = "golden"
            lines.append(json.dumps({"words": words, "odd": odd}) + "\n")
        (tmp_path / f"{name}.jsonl").write_text("".join(lines))
    own = load_config(str(ODD_WORD), FinetuneConfig)
    task = dataclasses.replace(
        own.task, train=str(tmp_path / "train.jsonl"), dev=str(tmp_path / "dev.jsonl")
    )
    assert finetune.run(dataclasses.replace(config, task=task, workdir=str(tmp_path / "run"))) == 0
    assert read_json(tmp_path / "run" / "results.json")["score"] > 90.0
    assert load_run(tmp_path / "run").config.task == task


def test_a_task_of_a_users_own_may_hold_lists_and_dicts(tmp_path: Path) -> None:
    @dataclasses.dataclass(frozen=True)
    class Listing(TaskConfig):
        words: list = dataclasses.field(default_factory=list)
        weights: dict = dataclasses.field(default_factory=dict)

    task = Listing(words=["golden"], weights={"golden": 2.0})
    asked = FinetuneConfig(workdir=str(tmp_path / "grid"), task=task, seeds=2)
    grid = Grid(asked, metric="accuracy")
    (tmp_path / "grid").mkdir()
    for run, score in zip(runs_of(asked), (70.0, 80.0), strict=True):
        grid.add(run, Result(1, score, {"accuracy": score}, {}))
    assert grid.best.name == read_json(tmp_path / "grid" / "grid.json")["best"]
    assert grid.best.seed == 43


def test_a_model_of_two_classes_learns_a_task_of_three(
    config: FinetuneConfig, uninterrupted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = Path(config.task.train).read_text().splitlines()
    lines[0] = lines[0].replace('"no"', '"perhaps"')
    (tmp_path / "train.jsonl").write_text("\n".join(lines))
    three = dataclasses.replace(
        config, init_from=str(uninterrupted), workdir=str(tmp_path / "run"),
        task=dataclasses.replace(config.task, train=str(tmp_path / "train.jsonl")),
        training=dataclasses.replace(config.training, num_epochs=0.1),
    )  # fmt: skip
    assert finetune.run(three) == 0
    said = "weights: 19 of 21 matched; initialised: task_head (2); unused: task_head (2)"
    assert said in capsys.readouterr().err
    assert load_run(tmp_path / "run").tables["labels"] == ["no", "perhaps", "yes"]


@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        (("--task.train", "nowhere.jsonl"), ("--task.train nowhere.jsonl: there is no such file",)),
        (("--task.dev", ""), ("--task.dev is missing",)),
        (("--init-from", "nowhere"), ("--init-from nowhere: must be a run's folder",)),
        (("--task.max-length", "65"), ("--task.max-length 65: is longer than the 64 positions",
                                       "use at most 64")),
        (("--task.dev", "unlabelled.jsonl"), ("--task.dev unlabelled.jsonl: must hold known",)),
        (("--task.max-lenth", "9"), ("there is no flag --task.max-lenth",
                                     "the nearest one is --task.max-length")),
        (("--grid", "paper", "--batch-sizes", "4"), ("--grid paper: has learning rates",)),
        (("--workdir", "weights"), ("--workdir weights: must be the folder of a new run",)),
    ],
    ids=[
        "no train", "no dev", "no weights", "too long", "no answers", "flag", "grid", "pretrained",
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_in_a_paragraph(
    golden: Path, spanbert: Run, flags: tuple[str, ...], parts: tuple[str, ...]
) -> None:
    refused = spanbert("finetune", "golden.py", "--workdir", "refused", *flags, cwd=golden)
    assert refused.returncode == 2
    *_, error = refused.stderr.splitlines()
    assert error.startswith("spanbert: error: ") and "Traceback" not in refused.stderr
    assert all(part in error for part in parts), error


def test_a_run_goes_on_with_its_task_and_its_data_alone(
    config: FinetuneConfig, uninterrupted: Path, tmp_path: Path
) -> None:
    task = dataclasses.replace(config.task, max_length=16)
    with pytest.raises(UserError, match="changed --task.max-length from 32 to 16; put it back"):
        finetune.run(dataclasses.replace(config, task=task))
    with pytest.raises(UserError, match="must be the folder of a new run or of one of the same"):
        finetune.run(dataclasses.replace(config, workdir=config.init_from))


def test_what_changed_since_a_run_was_stopped_is_said(
    config: FinetuneConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    training = dataclasses.replace(config.training, num_epochs=0.5)
    one = dataclasses.replace(config, workdir=str(tmp_path / "run"), training=training)
    with monkeypatch.context() as patched:
        patched.setattr(task_run, "ReadAhead", stop_at_step(3))
        assert finetune.run(one) == INTERRUPTED
    training = dataclasses.replace(training, log_every=7)
    assert finetune.run(dataclasses.replace(one, training=training)) == 0
    said = "changed since the run was last started: --training.log-every from 5 to 7"
    assert said in capsys.readouterr().err


def test_a_dev_file_without_answers_is_refused_before_a_step_is_taken(
    golden: Path, config: FinetuneConfig, tmp_path: Path
) -> None:
    one = dataclasses.replace(
        config, workdir=str(tmp_path / "run"),
        task=dataclasses.replace(config.task, dev=str(golden / "unlabelled.jsonl")),
    )  # fmt: skip
    with pytest.raises(UserError, match="unlabelled.jsonl: must hold known answers"):
        finetune.run(one)
    assert not (tmp_path / "run").exists()


def test_a_grid_and_a_single_run_share_no_folder(config: FinetuneConfig, tmp_path: Path) -> None:
    (tmp_path / "single" / "checkpoints").mkdir(parents=True)
    (tmp_path / "grid").mkdir()
    (tmp_path / "grid" / "grid.json").write_text("{}")
    grid = dataclasses.replace(config, workdir=str(tmp_path / "single"), seeds=2)
    with pytest.raises(UserError, match="of a grid, found a single run; use another --workdir"):
        finetune.run(grid)
    with pytest.raises(UserError, match="of a single run, found a grid; use another --workdir"):
        finetune.run(dataclasses.replace(config, workdir=str(tmp_path / "grid")))


def test_a_grid_that_was_stopped_in_its_first_run_keeps_its_folder(
    config: FinetuneConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = dataclasses.replace(config.training, num_epochs=0.25)
    single = dataclasses.replace(config, workdir=str(tmp_path / "grid"), training=training)
    grid = dataclasses.replace(single, seeds=2)
    with monkeypatch.context() as patched:
        patched.setattr(task_run, "ReadAhead", stop_at_step(2))
        assert finetune.run(grid) == INTERRUPTED
    assert read_json(tmp_path / "grid" / "grid.json") == {
        "metric": "accuracy", "best": None, "scores": {}, "runs": [],
    }  # fmt: skip
    with pytest.raises(UserError, match="of a single run, found a grid; use another --workdir"):
        finetune.run(single)
    assert finetune.run(grid) == 0
    assert len(read_json(tmp_path / "grid" / "grid.json")["runs"]) == 2


@pytest.mark.parametrize("split", ["train", "dev"])
def test_a_run_goes_on_with_the_data_that_it_began_with_alone(
    config: FinetuneConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, split: str
) -> None:
    run = tmp_path / "run"
    stopped = with_own_data(config, tmp_path, workdir=run)
    with monkeypatch.context() as patched:
        patched.setattr(task_run, "ReadAhead", stop_at_step(3))
        assert finetune.run(stopped) == INTERRUPTED
    path = tmp_path / f"{split}.jsonl"
    before = path.read_text()
    refusal = f"--task.{split} {path}: must hold the data that the run in {run} began with, found"
    # Other texts, and the same ones with another answer.
    for content in (before.replace("golden", "winter", 1), before.replace('"yes"', '"no"', 1)):
        path.write_text(content)
        with pytest.raises(UserError, match=f"{refusal} others; put the old file back, or start"):
            finetune.run(stopped)
    assert newest_step(run) == 3

    path.write_text(before)
    assert finetune.run(stopped) == 0
    path.write_text(before.replace('"yes"', '"no"', 1))
    with pytest.raises(UserError, match=refusal):
        finetune.run(stopped)


def test_a_grid_mixes_no_two_data_sets(config: FinetuneConfig, tmp_path: Path) -> None:
    one = dataclasses.replace(with_own_data(config, tmp_path, workdir=tmp_path / "run"), seeds=2)
    assert finetune.run(one) == 0
    write_examples(tmp_path / "dev.jsonl", 16, seed=7)
    # Those that are done come last.
    more = dataclasses.replace(one, training=dataclasses.replace(one.training, seed=41), seeds=3)
    with pytest.raises(UserError, match="dev.jsonl: must hold the data that the run in .*_seed42 "):
        finetune.run(more)
    assert not list(tmp_path.glob("run/*_seed41"))


def test_of_a_run_of_an_earlier_version_a_checkpoint_tells_what_it_was_trained_on(
    config: FinetuneConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    one = with_own_data(config, tmp_path, workdir=tmp_path / "run")
    with monkeypatch.context() as patched:
        patched.setattr(task_run, "ReadAhead", stop_at_step(3))
        assert finetune.run(one) == INTERRUPTED
    (tmp_path / "run" / "data.json").unlink()
    before = (tmp_path / "train.jsonl").read_text()
    write_examples(tmp_path / "train.jsonl", 40, seed=5)
    with pytest.raises(UserError, match="goes on with the rows that it began with, found others"):
        finetune.run(one)

    (tmp_path / "train.jsonl").write_text(before)
    assert finetune.run(one) == 0
    write_examples(tmp_path / "dev.jsonl", 16, seed=7)
    capsys.readouterr()
    assert finetune.run(one) == 0
    assert "best on dev, step" in capsys.readouterr().out


def with_own_data(config: FinetuneConfig, folder: Path, *, workdir: Path) -> FinetuneConfig:
    """A run of five steps over folder/train.jsonl and folder/dev.jsonl."""
    write_examples(folder / "train.jsonl", 40, seed=4)
    write_examples(folder / "dev.jsonl", 16, seed=6)
    task = dataclasses.replace(
        config.task, train=str(folder / "train.jsonl"), dev=str(folder / "dev.jsonl")
    )
    training = dataclasses.replace(config.training, num_epochs=1)
    return dataclasses.replace(config, task=task, training=training, workdir=str(workdir))
