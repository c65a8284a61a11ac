"""GLUE's nine tasks: the layouts of their official files, their scores, what the server takes."""

from collections import Counter
from pathlib import Path

import pytest

from spanbert_jax.config import FINE_TUNING_OPTIMIZER, FinetuneConfig
from spanbert_jax.config.files import load_config
from spanbert_jax.config.tasks import GlueConfig
from spanbert_jax.errors import ConfigError, UserError
from spanbert_jax.tasks.classification.glue import Glue, submitted
from spanbert_jax.tasks.classification.glue_formats import GLUE
from spanbert_jax.tasks.classification.kinds import Prediction
from spanbert_jax.tasks.task import Verdict, load_task

CONFIGS = Path(__file__).resolve().parents[3] / "configs"
MNLI = (
    "index", "promptID", "pairID", "genre", "sentence1_binary_parse", "sentence2_binary_parse",
    "sentence1_parse", "sentence2_parse", "sentence1", "sentence2",
)  # fmt: skip
STSB = (
    "index", "genre", "filename", "year", "old_index", "source1", "source2", "sentence1",
    "sentence2",
)  # fmt: skip
PAIR = ("index", "sentence1", "sentence2")
# Of each task: columns of train.tsv and dev.tsv, of test.tsv, and a value of those that count.
LAYOUTS = {
    "cola": (None, ("index", "sentence"), {"label": "1"}),
    "sst2": (("sentence", "label"), ("index", "sentence"), {"label": "1"}),
    "mrpc": (
        ("Quality", "#1 ID", "#2 ID", "#1 String", "#2 String"),
        ("index", "#1 ID", "#2 ID", "#1 String", "#2 String"), {"Quality": "1"},
    ),
    "stsb": ((*STSB, "score"), STSB, {"score": "3.800"}),
    "qqp": (
        ("id", "qid1", "qid2", "question1", "question2", "is_duplicate"),
        ("id", "question1", "question2"), {"is_duplicate": "1"},
    ),
    "mnli": ((*MNLI, "label1", "gold_label"), MNLI, {"gold_label": "neutral"}),
    "qnli": (
        ("index", "question", "sentence", "label"), ("index", "question", "sentence"),
        {"label": "not_entailment"},
    ),
    "rte": ((*PAIR, "label"), PAIR, {"label": "entailment"}),
    "wnli": ((*PAIR, "label"), PAIR, {"label": "1"}),
}  # fmt: skip


def task_of(name: str, **values) -> Glue:
    return load_task(GlueConfig(glue_task=name, **values))


def write(path: Path, *rows: tuple[str, ...]) -> str:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def cells(columns: tuple[str, ...], answers: dict[str, str]) -> tuple[str, ...]:
    """A row of a table: every text says which column it is of; a quote opens and never shuts."""
    numbers = {"index": "7", "id": "7"}
    return tuple(answers.get(name) or numbers.get(name) or f'"{name}' for name in columns)


@pytest.mark.parametrize("name", list(LAYOUTS))
def test_official_files_of_every_task_are_read(name, tmp_path):
    columns, test_columns, answers = LAYOUTS[name]
    form, (value,) = GLUE[name], answers.values()
    if columns is None:
        train = write(tmp_path / "train.tsv", ("gj04", "1", "", '"sentence'))
    else:
        train = write(tmp_path / "train.tsv", columns, cells(columns, answers))
    test = write(tmp_path / "test.tsv", test_columns, cells(test_columns, {}))
    task = task_of(name)
    (trained,), (asked,) = (
        task.read(train, training=True).examples, task.read(test, training=False).examples
    )  # fmt: skip
    assert trained.answer == (float(value) if name == "stsb" else value)
    assert asked.answer is None and asked.id.removeprefix("matched-") == "7"
    for example in (trained, asked):
        assert example.text == f'"{form.text[0]}'
        assert example.text_pair == (f'"{form.text_pair[0]}' if form.text_pair else None)
    assert task.is_pair == (trained.text_pair is not None)


def answers_of(name: str) -> list:
    return [0.0, 3.8] if name == "stsb" else list(GLUE[name].labels)


@pytest.mark.parametrize("name", list(LAYOUTS))
def test_submissions_are_named_and_written_as_the_server_takes_them(name, tmp_path):
    columns = LAYOUTS[name][1]
    rows = [("15", *cells(columns, {})[1:]), ("3", *cells(columns, {})[1:])]
    test = write(tmp_path / "test.tsv", columns, *rows)
    task = task_of(name)
    examples = task.read(test, training=False).examples
    first, second = answers_of(name)[:2]
    verdict = Verdict([Prediction(first), Prediction(second)], {}, {})
    files = task.submission_files(examples, verdict, tables={"labels": list(GLUE[name].labels)})
    official = {
        "cola": "CoLA.tsv", "sst2": "SST-2.tsv", "mrpc": "MRPC.tsv", "stsb": "STS-B.tsv",
        "qqp": "QQP.tsv", "mnli": "MNLI-m.tsv", "qnli": "QNLI.tsv", "rte": "RTE.tsv",
        "wnli": "WNLI.tsv",
    }  # fmt: skip
    shown = ("0.000", "3.800") if name == "stsb" else (first, second)
    # By index, whatever the order of the data set.
    assert files == {official[name]: f"index\tprediction\n3\t{shown[1]}\n15\t{shown[0]}\n"}


def test_scores_that_are_submitted_lie_between_0_and_5():
    assert [submitted(x) for x in (-0.3, 5.12345, 2.34567)] == ["0.000", "5.000", "2.346"]


def mnli_files(folder: Path) -> tuple[str, str]:
    columns = LAYOUTS["mnli"][0]
    matched, mismatched = (
        write(folder / f"dev_{part}.tsv", columns, *rows)
        for part, rows in (
            ("matched", [cells(columns, {"gold_label": label}) for label in ("neutral",)]),
            (
                "mismatched",
                [
                    cells(columns, {"index": str(i), "gold_label": label})
                    for i, label in enumerate(("neutral", "contradiction", "-"))
                ],
            ),
        )
    )
    return matched, mismatched


def test_both_parts_of_mnli_are_scored_apart_and_the_matched_one_chooses(tmp_path):
    matched, mismatched = mnli_files(tmp_path)
    task = task_of("mnli", dev=matched, dev_mismatched=mismatched)
    examples = task.read(matched, training=False).examples
    assert [example.id for example in examples] == [
        "matched-7", "mismatched-0", "mismatched-1", "mismatched-2",
    ]  # fmt: skip
    predictions = [Prediction("neutral")] * 4
    assert task.score(examples, predictions, GLUE["mnli"].labels) == {
        "accuracy": 100.0, "matched_accuracy": 100.0, "mismatched_accuracy": 50.0,
    }  # fmt: skip
    assert task.metric == "accuracy"
    files = task.submission_files(examples, Verdict(predictions, {}, {}), tables={})
    assert {name: len(text.splitlines()) for name, text in files.items()} == {
        "MNLI-m.tsv": 2, "MNLI-mm.tsv": 4,
    }  # fmt: skip
    alone = task.read(mismatched, training=False).examples
    assert {example.part for example in alone} == {"mismatched"} and len(alone) == 3
    assert task.score(alone, predictions[:3], GLUE["mnli"].labels)["accuracy"] == 50.0


@pytest.mark.parametrize("file", ["diagnostic.tsv", "AX.tsv"])
def test_the_diagnostic_set_of_mnli_is_submitted_under_its_own_name(file, tmp_path):
    path = write(tmp_path / file, PAIR, ("0", "a", "b"))
    task = task_of("mnli")
    examples = task.read(path, training=False).examples
    files = task.submission_files(examples, Verdict([Prediction("neutral")], {}, {}), tables={})
    assert files == {"AX.tsv": "index\tprediction\n0\tneutral\n"}


def test_predictions_for_the_other_part_of_mnli_are_for_other_examples(tmp_path):
    matched, mismatched = mnli_files(tmp_path)
    task = task_of("mnli")
    examples = task.read(mismatched, training=False).examples
    files = task.prediction_files(
        examples, Verdict([Prediction("neutral", (0.1, 0.2, 0.7))] * 3, {}, {}),
        tables={"labels": list(GLUE["mnli"].labels)},
    )  # fmt: skip
    path = tmp_path / "predictions.tsv"
    path.write_text(files["predictions.tsv"])
    assert task.read_predictions(str(path), examples).scores["mismatched_accuracy"] == 50.0
    with pytest.raises(UserError, match="for unknown mismatched-0, mismatched-1, mismatched-2"):
        task.read_predictions(str(path), task.read(matched, training=False).examples)


def test_a_pair_whose_annotators_did_not_agree_is_left_out_of_training(tmp_path):
    _, mismatched = mnli_files(tmp_path)
    read = task_of("mnli").read(mismatched, training=True)
    assert len(read.examples) == 2
    assert read.notes == (f"1 examples have no answer, first {mismatched}:4: left out",)


def test_ragged_lines_of_qqp_are_counted_in_training_and_an_error_elsewhere(tmp_path):
    columns = LAYOUTS["qqp"][0]
    good = cells(columns, {"is_duplicate": "1"})
    path = write(tmp_path / "train.tsv", columns, good, good[:4], good)
    read = task_of("qqp").read(path, training=True)
    assert len(read.examples) == 2
    assert read.notes == (f"1 lines have too few or too many fields, first {path}:3: left out",)
    with pytest.raises(UserError, match=f"{path}:3: must have 6 fields .* found 4"):
        task_of("qqp").read(path, training=False)


@pytest.mark.parametrize(
    "name, columns, row, part",
    [
        ("rte", (*PAIR, "label"), ("0", "a", "b", "maybe"), ":2: label 'maybe' must be one of"),
        ("stsb", (*PAIR, "score"), ("0", "a", "b", "high"), ":2: a score must be a number"),
        ("rte", (*PAIR, "labl"), ("0", "a", "b", "entailment"), "has no column 'label', only"),
        (
            "sst2",
            ("index", "sentence1"),
            ("0", "a"),
            "the columns of GLUE's sst2, has no 'sentence'",
        ),
        ("rte", (*PAIR, "label"), ("0", "a", "entailment"), ":2: must have 4 fields"),
    ],
)
def test_a_file_of_another_form_is_named_with_line_and_reason(tmp_path, name, columns, row, part):
    path = write(tmp_path / "train.tsv", columns, row)
    with pytest.raises(UserError) as raised:
        task_of(name).read(path, training=True)
    assert str(raised.value).startswith(path) and part in str(raised.value)


def test_a_mismatched_part_is_of_mnli_alone():
    with pytest.raises(ConfigError, match="--task.dev-mismatched x: is of mnli alone, not of rte"):
        GlueConfig(glue_task="rte", dev_mismatched="x")


def test_a_task_of_glue_is_learnt_and_scored_as_glue_scores_it(learn, tmp_path):
    columns = ("Quality", "#1 ID", "#2 ID", "#1 String", "#2 String")
    rows = [("1", "1", "2", "he ate bread", "he ate bread"), ("0", "3", "4", "he ate", "a bridge")]
    path = write(tmp_path / "train.tsv", columns, *rows)
    learnt = learn(task_of("mrpc", max_length=32), path, path)
    assert learnt.verdict.scores == {"accuracy_and_f1": 100.0, "accuracy": 100.0, "f1": 100.0}
    assert task_of("mrpc").metric == "accuracy_and_f1"


# Examples, and how many of each answer: as the README beside the data says.
REAL = {
    "CoLA": {"train": (7637, {"0": 2254, "1": 5383}), "dev": (898, {"0": 272, "1": 626})},
    "SST-2": {"train": (67349, {"0": 29780, "1": 37569}), "dev": (1821, {"0": 917, "1": 904})},
    "MRPC": {"train": (3407, {"0": 1087, "1": 2320}), "dev": (384, {"0": 124, "1": 260})},
    "STS-B": {"train": (5740, {}), "dev": (1498, {})},
    "QQP": {"train": (17785, {"0": 11248, "1": 6537}), "dev": (2304, {"0": 1406, "1": 898})},
    "MNLI": {
        "train": (15777, {"contradiction": 5245, "entailment": 5623, "neutral": 4909}),
        "dev_matched": (2012, {"contradiction": 686, "entailment": 714, "neutral": 612}),
    },
    "QNLI": {
        "train": (4324, {"entailment": 2155, "not_entailment": 2169}),
        "dev": (579, {"entailment": 273, "not_entailment": 306}),
    },
    "RTE": {
        "train": (2225, {"entailment": 1113, "not_entailment": 1112}),
        "dev": (265, {"entailment": 136, "not_entailment": 129}),
    },
    "WNLI": {"train": (539, {"0": 271, "1": 268}), "dev": (96, {"0": 52, "1": 44})},
}


@pytest.mark.parametrize("folder", list(REAL))
def test_every_line_of_the_real_files_is_an_example(folder, shared):
    task = task_of(folder.lower().replace("-", ""))
    for split, (number, labels) in REAL[folder].items():
        path = shared / "data" / "glue" / folder / f"{split}.tsv"
        read = task.read(str(path), training=split == "train")
        assert len(read.examples) == number and read.notes == ()
        answers = [example.answer for example in read.examples]
        if labels:
            assert Counter(answers) == labels
        else:
            assert (min(answers), max(answers)) == (0.0, 5.0)


@pytest.mark.parametrize("name", list(LAYOUTS))
def test_configs_have_the_numbers_of_the_paper(name):
    config = load_config(f"{CONFIGS}/glue.py:{name}", FinetuneConfig)
    assert config.task == GlueConfig(glue_task=name) and config.task.max_length == 128
    assert config.training.num_epochs == (4 if name == "cola" else 10)
    assert config.training.batch_size in (16, 32) and config.cells[0][0] == 2e-5
    assert config.optimizer == FINE_TUNING_OPTIMIZER
