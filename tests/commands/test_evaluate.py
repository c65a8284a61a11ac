"""`spanbert evaluate`: predictions in official files, scores, and what it refuses."""

import json
import shutil
from pathlib import Path

import pytest

import spanbert_jax
from spanbert_jax.__main__ import main
from spanbert_jax.commands.evaluation_folder import default_folder
from spanbert_jax.commands.row_progress import RowProgress
from spanbert_jax.config.evaluate import EvaluateConfig
from spanbert_jax.config.files import load_module
from spanbert_jax.config.tasks import (
    GlueConfig,
    MrqaConfig,
    SquadConfig,
    TacredConfig,
    TaskConfig,
)
from spanbert_jax.config.tasks import task as task_configs
from spanbert_jax.errors import UserError
from spanbert_jax.weights.loading import read_pretrained

CONTEXT = "ada lovelace was born in london . she wrote the first program in paris ."
FILES = {"predictions.json", "nbest_predictions.json", "null_odds.json", "scores.json"}
ODD_WORD = Path(__file__).parents[1] / "tasks" / "files" / "odd_word.py"


def write_questions(path: Path, questions: dict[str, str], *, known: bool = True) -> Path:
    """A file in SQuAD's form: answers by question; "" is none."""
    qas = []
    for number, (question, answer) in enumerate(questions.items()):
        answers = [{"text": answer, "answer_start": CONTEXT.index(answer)}] if answer else []
        known_answers = {"answers": answers, "is_impossible": not answer} if known else {}
        qas.append({"id": f"{path.stem}-{number}", "question": question, **known_answers})
    path.write_text(json.dumps({"data": [{"paragraphs": [{"context": CONTEXT, "qas": qas}]}]}))
    return path


@pytest.fixture(scope="module")
def squad(tmp_path_factory, save_fine_tuned) -> Path:
    """A folder with a run of SQuAD 2.0, whose threshold is -1, and files for it."""
    folder = tmp_path_factory.mktemp("squad")
    questions = {"where was ada born ?": "london", "who ?": "", "who wrote ?": "ada lovelace"}
    dev = write_questions(folder / "dev.json", questions)
    write_questions(folder / "other.json", {"what was born ?": "london"})
    write_questions(folder / "test.json", {"what ?": "", "where ?": ""}, known=False)
    task = SquadConfig(
        train=str(dev), dev=str(dev), max_length=32, doc_stride=8, max_query_length=8,
        unanswerable=True,
    )  # fmt: skip
    save_fine_tuned(folder / "run", task, settings={"null_threshold": -1.0})
    return folder


@pytest.fixture
def fresh(squad, tmp_path) -> Path:
    """A copy of that folder's run, that nothing was evaluated with."""
    shutil.copytree(squad / "run", tmp_path / "run")
    return tmp_path / "run"


def read(path: Path) -> dict:
    return json.loads(path.read_text())


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["evaluate", *arguments]) == 2
    return capsys.readouterr().err.removeprefix("spanbert: error: ")


def test_predictions_and_scores_are_written_and_said(fresh, squad, capsys):
    assert main(["evaluate", str(fresh)]) == 0
    folder = fresh / "evaluations" / "dev"
    assert {path.name for path in folder.iterdir()} == FILES
    scores = read(folder / "scores.json")
    model = spanbert_jax.load(fresh)
    verdict = model.judge(model.read(str(squad / "dev.json")))
    assert scores["scores"] == verdict.scores
    assert (scores["step"], scores["num_examples"]) == (1, 3)
    printed = capsys.readouterr().out
    assert f"dev.json: exact {verdict.scores['exact']:.2f} · f1" in printed
    assert "with null_threshold -1 (tuned on dev, of the checkpoint)" in printed


def test_the_threshold_of_the_checkpoint_decides_what_is_answered(fresh):
    assert main(["evaluate", str(fresh)]) == 0
    folder = fresh / "evaluations" / "dev"
    odds, best = read(folder / "null_odds.json"), read(folder / "nbest_predictions.json")
    for key, text in read(folder / "predictions.json").items():
        answer = next(each["text"] for each in best[key] if each["text"])
        assert text == ("" if odds[key] > -1.0 else answer)


def test_tuning_anew_takes_the_best_threshold_for_the_file(fresh, capsys):
    assert main(["evaluate", str(fresh), "--tune"]) == 0
    scores = read(fresh / "evaluations" / "dev-tuned" / "scores.json")
    assert scores["settings"]["null_threshold"] != -1.0
    assert scores["scores"]["f1"] == pytest.approx(scores["scores"]["best_f1"])
    assert "tuned on this file" in capsys.readouterr().out
    assert spanbert_jax.load(fresh).settings == {"null_threshold": -1.0}


def test_values_of_the_task_can_be_overridden(fresh, capsys):
    out = fresh / "short"
    assert main(["evaluate", str(fresh), "--task.max-answer-length", "1", "--out", str(out)]) == 0
    best = read(out / "nbest_predictions.json")
    texts = [each["text"] for of_one in best.values() for each in of_one if each["text"]]
    assert texts and all(" " not in text for text in texts)
    assert read(out / "scores.json")["asked"]["task"]["max_answer_length"] == 1


def test_of_a_file_without_answers_there_are_predictions_alone(fresh, squad, capsys):
    test = str(squad / "test.json")
    assert main(["evaluate", str(fresh), "--task.dev", test, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == read(fresh / "evaluations" / "test" / "scores.json")
    assert printed["scores"] == {} and printed["num_examples"] == 2
    assert len(read(fresh / "evaluations" / "test" / "predictions.json")) == 2
    assert main(["evaluate", str(fresh), "--task.dev", test]) == 0
    assert "no answers are known, predictions only (2 examples)" in capsys.readouterr().out


def test_a_file_of_predictions_is_scored_without_the_model(fresh, tmp_path, capsys):
    answers = {"dev-0": "london", "dev-1": "", "dev-2": "ada"}
    (tmp_path / "mine.json").write_text(json.dumps(answers))
    shutil.rmtree(fresh / "checkpoints" / "1" / "state")
    assert main(["evaluate", str(fresh), "--predictions", str(tmp_path / "mine.json")]) == 0
    scores = read(fresh / "evaluations" / "dev-mine" / "scores.json")
    assert scores["scores"]["exact"] == pytest.approx(200 / 3)
    assert scores["scores"]["f1"] == pytest.approx(100 * (1 + 1 + 2 / 3) / 3)
    assert scores["step"] is None


def test_predictions_may_have_a_relation_that_the_checkpoint_alone_has(
    tmp_path, save_fine_tuned, capsys
):
    sentence = {
        "token": "ada was born in london".split(), "subj_start": 0, "subj_end": 0, "obj_start": 4,
        "obj_end": 4, "subj_type": "PERSON", "obj_type": "CITY",
    }  # fmt: skip
    train, dev, mine = (tmp_path / name for name in ("train.json", "dev.json", "mine.txt"))
    relations = ("no_relation", "born_in")
    train.write_text(json.dumps([sentence | {"relation": each} for each in relations]))
    dev.write_text(json.dumps([sentence | {"relation": "no_relation"}]))
    run = save_fine_tuned(tmp_path / "run", TacredConfig(train=str(train), dev=str(dev)))
    shutil.rmtree(run / "checkpoints" / "1" / "state")
    mine.write_text("born_in\n")
    assert main(["evaluate", str(run), "--predictions", str(mine)]) == 0
    scores = read(run / "evaluations" / "dev-mine" / "scores.json")["scores"]
    assert scores["accuracy"] == 0.0
    mine.write_text("bron_in\n")
    message = refused(capsys, str(run), "--predictions", str(mine), "--out", str(tmp_path / "b"))
    assert f"{mine}:1: must predict a relation" in message
    assert "found 'bron_in'; the nearest one is born_in" in message


def test_predictions_for_another_data_set_are_refused(fresh, squad, tmp_path, capsys):
    assert main(["evaluate", str(fresh)]) == 0
    predictions = str(fresh / "evaluations" / "dev" / "predictions.json")
    message = refused(
        capsys, str(fresh), "--task.dev", str(squad / "other.json"), "--predictions", predictions
    )
    assert "must answer the 1 questions of the data set" in message
    assert not (fresh / "evaluations" / "other-predictions").exists()


def test_the_same_command_writes_the_same_again(fresh, snapshot):
    assert main(["evaluate", str(fresh)]) == 0
    before = snapshot(fresh / "evaluations")
    assert main(["evaluate", str(fresh)]) == 0
    assert snapshot(fresh / "evaluations") == before


def test_another_evaluation_in_the_folder_is_not_overwritten(fresh, snapshot, capsys):
    assert main(["evaluate", str(fresh)]) == 0
    before = snapshot(fresh / "evaluations")
    message = refused(capsys, str(fresh), "--task.n-best", "3")
    assert "differs in --task.n-best (20, now 3); choose another --out" in message
    message = refused(capsys, str(fresh), "--out", str(fresh))
    assert "must be a new or empty folder, found one that holds files" in message
    assert snapshot(fresh / "evaluations") == before


def test_a_grid_is_evaluated_by_its_best_run(fresh):
    grid = fresh.parent
    (grid / "grid.json").write_text(json.dumps({"best": "run"}))
    assert main(["evaluate", str(grid)]) == 0
    assert (fresh / "evaluations" / "dev" / "scores.json").exists()


def test_submission_files_are_written_where_there_is_a_server(
    tmp_path, save_fine_tuned, fresh, capsys
):
    lines = ["index\tsentence1\tsentence2\tlabel"]
    lines += [f"{i}\tada wrote\tada was bad\t{label}" for i, label in
              enumerate(("entailment", "not_entailment"))]  # fmt: skip
    train, test = tmp_path / "train.tsv", tmp_path / "test.tsv"
    train.write_text("\n".join(lines) + "\n")
    test.write_text("\n".join(line.rpartition("\t")[0] for line in lines) + "\n")
    task = GlueConfig(glue_task="rte", train=str(train), dev=str(train), max_length=32)
    run = save_fine_tuned(tmp_path / "rte", task)
    assert main(["evaluate", str(run), "--task.dev", str(test), "--submission"]) == 0
    (file,) = (run / "evaluations" / "test" / "submission").iterdir()
    assert file.name == "RTE.tsv"
    assert file.read_text().splitlines()[0] == "index\tprediction"
    # As after the best checkpoint was another one.
    submission = file.read_text()
    file.write_text("of an earlier step")
    assert main(["evaluate", str(run), "--task.dev", str(test)]) == 0
    assert file.read_text() == submission
    assert "task squad has no submission format" in refused(capsys, str(fresh), "--submission")
    assert not (fresh / "evaluations").exists()
    message = refused(capsys, str(run), "--task.glue-task", "wnli")
    assert "--task.glue-task wnli: must be as the checkpoint was trained, with rte" in message


def test_a_file_of_ones_own_is_evaluated_without_the_mismatched_dev_of_the_checkpoint(
    tmp_path, save_fine_tuned, capsys
):
    def write(name: str, *, known: bool) -> Path:
        lines = [["index", "pairID", "sentence1", "sentence2", "gold_label"]]
        for number, label in enumerate(("neutral", "entailment")):
            lines.append([str(number), f"{name}-{number}", "ada wrote", "ada was bad", label])
        path = tmp_path / f"{name}.tsv"
        path.write_text("".join("\t".join(line[: None if known else -1]) + "\n" for line in lines))
        return path

    dev, mismatched = (write(f"dev_{part}", known=True) for part in ("matched", "mismatched"))
    test = write("test_matched", known=False)
    task = GlueConfig(
        glue_task="mnli", train=str(dev), dev=str(dev), dev_mismatched=str(mismatched),
        max_length=32,
    )  # fmt: skip
    run = save_fine_tuned(tmp_path / "mnli", task)
    assert main(["evaluate", str(run), "--task.dev", str(test), "--submission"]) == 0
    assert "no answers are known" in capsys.readouterr().out
    files = list((run / "evaluations" / "test_matched" / "submission").iterdir())
    assert [file.name for file in files] == ["MNLI-m.tsv"]
    assert main(["evaluate", str(run), "--task.dev", str(mismatched)]) == 0
    assert read(run / "evaluations" / "dev_mismatched" / "scores.json")["num_examples"] == 2
    assert main(["evaluate", str(run)]) == 0
    assert read(run / "evaluations" / "dev_matched" / "scores.json")["num_examples"] == 4
    twice = ["--task.dev", str(mismatched), "--task.dev-mismatched", str(mismatched)]
    assert "must be another file than --task.dev" in refused(capsys, str(run), *twice)


def test_a_task_of_ones_own_is_evaluated_by_its_file(tmp_path, save_fine_tuned, capsys):
    data = tmp_path / "dev.jsonl"
    data.write_text(json.dumps({"words": ["ada", "was", "river"], "odd": 2}) + "\n")
    task = load_module(ODD_WORD).OddWordConfig(train=str(data), dev=str(data), max_length=32)
    run = save_fine_tuned(tmp_path / "run", task)
    assert main(["evaluate", str(run), "--task-file", str(ODD_WORD)]) == 0
    assert "dev.jsonl: accuracy " in capsys.readouterr().out
    (line,) = (run / "evaluations" / "dev" / "predictions.jsonl").read_text().splitlines()
    assert json.loads(line)["prediction"] in (0, 1, 2)


def test_a_model_of_a_task_that_is_not_defined_here_is_still_something_to_begin_with(
    tmp_path, save_fine_tuned, monkeypatch
):
    data = tmp_path / "dev.jsonl"
    data.write_text(json.dumps({"words": ["ada", "was", "river"], "odd": 2}) + "\n")
    task = load_module(ODD_WORD).OddWordConfig(train=str(data), dev=str(data), max_length=32)
    run = save_fine_tuned(tmp_path / "run", task)
    monkeypatch.delitem(task_configs._KNOWN, task.name)
    assert "encoder" in read_pretrained(run).params
    with pytest.raises(UserError, match=f"task {task.name}: .* that --task-file names"):
        spanbert_jax.load(run)


@pytest.mark.parametrize(
    "arguments, parts",
    [
        (["--task.max-answer-lenght", "9"], ["no flag --task.max-answer-lenght",
                                             "nearest one is --task.max-answer-length"]),
        (["--task.dev", "nowhere.json"], ["--task.dev nowhere.json: there is no such file"]),
        (["--predictions", "nowhere.json"], ["--predictions nowhere.json: there is no such file"]),
        (["--predictions", "a.json", "--tune"], ["--tune True: is of the model's own"]),
        (["--step", "5"], ["--step 5: must be a checkpoint", "found those of 1"]),
        (["--task.max-length", "512"], ["is longer than the 64 positions"]),
        (["--batch-tokens", "0"], ["--batch-tokens 0: must be greater than 0"]),
        (["--task-file", "nowhere.py"], ["there is no task file nowhere.py"]),
    ],
)  # fmt: skip
def test_mistakes_are_said_and_nothing_is_written(fresh, capsys, arguments, parts):
    message = refused(capsys, str(fresh), *arguments)
    for part in parts:
        assert part in message
    assert not (fresh / "evaluations").exists()


def test_what_is_no_fine_tuned_run_is_refused(tmp_path, capsys):
    assert "takes a checkpoint before its flags" in refused(capsys)
    assert "takes a checkpoint before its flags" in refused(capsys, "--tune")
    assert "fine-tuning run, found no folder" in refused(capsys, str(tmp_path / "nowhere"))
    assert "fine-tuning run, found one without checkpoints" in refused(capsys, str(tmp_path))


def test_a_pretrained_run_says_which_heads_it_has(pretrained, capsys):
    message = refused(capsys, str(pretrained))
    assert message.startswith(f"{pretrained}: must be the folder of a fine-tuning run, found one ")
    assert "heads of pretraining alone (masked language model, span boundary); name one" in message


def test_help_lists_the_flags_of_the_task(squad, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["evaluate", str(squad / "run"), "--help"])
    printed = capsys.readouterr().out
    assert stop.value.code == 0
    assert "--task.unanswerable" in printed and "--submission" in printed


@pytest.mark.parametrize(
    "dev, others, name",
    [
        ("data/dev.json", {"step": 70}, "dev-step70"),
        ("data/dev.v2.jsonl.gz", {}, "dev.v2"),
        ("tfds:glue/rte@validation", {"tune": True}, "tfds_glue_rte_validation-tuned"),
        ("dev.tsv", {"predictions": "a/mine.tsv"}, "dev-mine"),
    ],
)
def test_the_folder_is_named_by_what_is_asked(dev, others, name):
    config = EvaluateConfig(task=TaskConfig(dev=dev), **others)
    assert default_folder(Path("run"), config) == Path("run/evaluations") / name


@pytest.mark.parametrize(
    "fields, name",
    [
        ({}, "NewsQA"),
        ({"half": "test"}, "NewsQA-half_test"),
        ({"half": "dev", "half_seed": 7}, "NewsQA-half_dev-half_seed_7"),
    ],
)
def test_a_half_of_dev_has_a_folder_of_its_own(fields, name):
    config = EvaluateConfig(task=MrqaConfig(dev="mrqa/NewsQA.jsonl.gz", **fields))
    assert default_folder(Path("run"), config) == Path("run/evaluations") / name


def test_long_work_says_how_far_it_is():
    now, said = [0.0], []
    progress = RowProgress(said.append, clock=lambda: now[0])
    for seconds, begun in ((1.0, 64), (10.0, 1_000), (12.0, 1_200), (50.0, 4_000)):
        now[0] = seconds
        progress.update(begun, 4_000)
    assert said == ["1,000 of 4,000 rows, about 30s left"]
