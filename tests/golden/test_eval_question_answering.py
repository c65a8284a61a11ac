"""Question answering against numbers of the original code: to the letter, floats included."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spanbert_jax.config.tasks import MrqaConfig, SquadConfig
from spanbert_jax.corpus.tokenizers.word_piece import WordPieceTokenizer, parse_vocabulary
from spanbert_jax.tasks.question_answering import mrqa_scoring, scoring
from spanbert_jax.tasks.question_answering.answer_text import piece_text_in_words
from spanbert_jax.tasks.question_answering.decoding import Prediction
from spanbert_jax.tasks.question_answering.mrqa import Mrqa
from spanbert_jax.tasks.question_answering.prediction_files import n_best_json
from spanbert_jax.tasks.question_answering.squad import Squad
from spanbert_jax.tasks.task import load_task

DECODINGS = [
    (logits, n_best, longest)
    for logits in ("plain", "ties")
    for n_best, longest in ((20, 30), (5, 8))
]
SETS = [(data, *decoding) for data in ("squad1", "squad2") for decoding in DECODINGS]


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def vocabulary_of(features: list[dict]) -> WordPieceTokenizer:
    """The pieces that the original found, at their ids. None longer fits, or it had been found."""
    pieces = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103}
    for feature in features:
        pieces |= dict(zip(feature["tokens"], feature["input_ids"], strict=False))
    by_id = {token_id: piece for piece, token_id in pieces.items()}
    lines = [by_id.get(i, f"[unused{i}]") for i in range(max(by_id) + 1)]
    return parse_vocabulary("\n".join(lines), lowercase=True, where="golden vocabulary")


def squad(features: dict, data: str, **values: Any) -> Squad:
    return load_task(
        SquadConfig(
            max_length=features["max_seq_length"], doc_stride=features["doc_stride"],
            max_query_length=features["max_query_length"], unanswerable=data == "squad2",
            answer_text="original", **values,
        )
    )  # fmt: skip


def mrqa(features: dict, **values: Any) -> Mrqa:
    return load_task(
        MrqaConfig(
            max_length=features["max_seq_length"], doc_stride=features["doc_stride"],
            max_query_length=features["max_query_length"], answer_text="original", **values,
        )
    )  # fmt: skip


def check_rows(task: Any, examples: list, trained: list, features: list[dict]) -> None:
    tokenizer = vocabulary_of(features)
    for training, questions in ((False, examples), (True, trained)):
        rows = list(task.rows(questions, tokenizer=tokenizer, tables={}, training=training))
        assert len(rows) == len(features)
        for row, feature in zip(rows, features, strict=True):
            real = feature["n_real"]
            assert row.token_ids.tolist() == feature["input_ids"][:real]
            assert row.segment_ids.tolist() == feature["segment_ids"][:real]
            assert row.example == feature["example_index"]
            if training:
                labels = (row.fields["answer_start"], row.fields["answer_end"])
                assert labels == (feature["start_position"], feature["end_position"])
                continue
            window = row.notes
            positions = window.first_position + np.arange(window.num_tokens)
            assert positions.tolist() == [position for position, _ in feature["token_to_orig_map"]]
            assert positions[window.max_context].tolist() == feature["token_is_max_context"]
            assert window.number == feature["doc_span_index"]


@pytest.mark.parametrize("data", ["squad1", "squad2"])
def test_squad_windows_are_those_of_the_original(data: str, reference: Path) -> None:
    folder = reference / "eval" / data
    features = read_json(folder / "features.json")
    task = squad(features, data)
    examples = task.read(str(folder / "dev.json"), training=False).examples
    trained = task.read(str(folder / "train.json"), training=True).examples
    assert [example.id for example in examples] == features["qids"]
    check_rows(task, list(examples), list(trained), features["features"])


def test_mrqa_windows_are_those_of_the_original(reference: Path) -> None:
    folder = reference / "eval" / "mrqa"
    features = read_json(folder / "features.json")
    task, path = mrqa(features), str(folder / "dev.jsonl.gz")
    examples = task.read(path, training=False).examples
    trained = task.read(path, training=True).examples
    check_rows(task, list(examples), list(trained), features["features"])


def judged(task: Any, folder: Path, suffix: str, name: str, settings: Any = None) -> tuple:
    features = read_json(folder / "features.json")["features"]
    examples = task.read(str(folder / name), training=False).examples
    tokenizer = vocabulary_of(features)
    rows = list(task.rows(examples, tokenizer=tokenizer, tables={}, training=False))
    arrays = np.load(folder / "logits.npz")
    # As long as the original's rows: its padding takes places among the best scores.
    outputs = [
        {"start": start, "end": end}
        for start, end in zip(arrays[f"start{suffix}"], arrays[f"end{suffix}"], strict=True)
    ]
    raw = task.predictions(examples, rows, outputs)
    return examples, raw, task.judge(examples, rows, outputs, tables={}, settings=settings)


def by_id(examples: list, predictions: list[Prediction]) -> dict[str, Prediction]:
    return {each.id: found for each, found in zip(examples, predictions, strict=True)}


@pytest.mark.parametrize("data, logits, n_best, longest", SETS)
def test_squad_answers_are_those_of_the_original(
    data: str, logits: str, n_best: int, longest: int, reference: Path
) -> None:
    folder = reference / "eval" / data
    golden = read_json(folder / "results.json")[f"{logits}_nbest{n_best}_maxlen{longest}"]
    features = read_json(folder / "features.json")
    task = squad(features, data, n_best=n_best, max_answer_length=longest)
    examples, raw, verdict = judged(task, folder, f"_{logits}", "dev.json")
    found = by_id(examples, raw)
    assert {key: each.text for key, each in found.items()} == golden["predictions_before_threshold"]
    assert {key: n_best_json(each) for key, each in found.items()} == golden["nbest"]
    odds = {key: each.null_odds for key, each in found.items() if each.null_odds is not None}
    assert odds == golden["null_score_diff"]
    final = {key: each.text for key, each in by_id(examples, verdict.predictions).items()}
    assert final == golden["predictions_final"]
    files = task.prediction_files(examples, verdict, tables={})
    assert json.loads(files["predictions.json"]) == golden["predictions_final"]
    assert json.loads(files["nbest_predictions.json"]) == golden["nbest"]


@pytest.mark.parametrize("data, logits, n_best, longest", SETS)
def test_squad_scores_are_those_of_the_original(
    data: str, logits: str, n_best: int, longest: int, reference: Path
) -> None:
    folder = reference / "eval" / data
    golden = read_json(folder / "results.json")[f"{logits}_nbest{n_best}_maxlen{longest}"]
    features = read_json(folder / "features.json")
    task = squad(features, data, n_best=n_best, max_answer_length=longest)
    examples, raw, verdict = judged(task, folder, f"_{logits}", "dev.json")
    scored = [
        scoring.score_question(example.answers, each.text, each.null_odds or 0.0)
        for example, each in zip(examples, raw, strict=True)
    ]
    ids = [example.id for example in examples]
    assert dict(zip(ids, (each.exact for each in scored), strict=True)) == golden["exact_raw"]
    assert dict(zip(ids, (each.f1 for each in scored), strict=True)) == golden["f1_raw"]
    if data == "squad1":
        assert verdict.scores == golden["result"]
        return
    for name, threshold in (
        ("", 1.0),
        ("_na_thresh_-5", -5),
        ("_na_thresh_0", 0),
        ("_na_thresh_3", 3),
    ):
        scores = scoring.total_scores(scored, threshold) | scoring.best_thresholds(scored)
        assert scores == golden[f"result{name}"]
    assert verdict.settings["null_threshold"] == golden["result"]["best_f1_thresh"]
    assert verdict.scores["best_f1"] == golden["result"]["best_f1"]


@pytest.mark.parametrize("logits, n_best, longest", DECODINGS)
@pytest.mark.parametrize("threshold", [-5, 0, 3])
def test_a_threshold_is_applied_as_the_original_does_at_test_time(
    logits: str, n_best: int, longest: int, threshold: float, reference: Path
) -> None:
    folder = reference / "eval" / "squad2"
    golden = read_json(folder / "results.json")[f"{logits}_nbest{n_best}_maxlen{longest}"]
    features = read_json(folder / "features.json")
    task = squad(features, "squad2", n_best=n_best, max_answer_length=longest)
    settings = {"null_threshold": threshold}
    examples, _, verdict = judged(task, folder, f"_{logits}", "dev.json", settings)
    final = {key: each.text for key, each in by_id(examples, verdict.predictions).items()}
    assert final == golden[f"predictions_test_mode_na_thresh_{threshold}"]
    expected = golden[f"result_na_thresh_{threshold}"]
    assert verdict.scores == expected
    assert verdict.settings == settings


def test_mrqa_answers_and_scores_are_those_of_the_original(reference: Path) -> None:
    folder = reference / "eval" / "mrqa"
    golden = read_json(folder / "results.json")
    task = mrqa(read_json(folder / "features.json"))
    examples, raw, verdict = judged(task, folder, "", "dev.jsonl.gz")
    found = by_id(examples, raw)
    assert {key: each.text for key, each in found.items()} == golden["predictions"]
    assert {key: n_best_json(each) for key, each in found.items()} == golden["nbest"]
    assert verdict.scores == golden["run_mrqa_result"]


@pytest.mark.parametrize(
    "name, partial, skip",
    [
        ("all", False, False),
        ("missing_a_third", True, False),
        ("missing_a_third_skipped", True, True),
    ],
)
def test_mrqa_scores_are_those_of_the_official_scorer(
    name: str, partial: bool, skip: bool, reference: Path
) -> None:
    folder = reference / "eval" / "mrqa"
    golden = read_json(folder / "results.json")
    predictions = golden["partial_predictions" if partial else "predictions"]
    lines = gzip.decompress((folder / "dev.jsonl.gz").read_bytes()).decode().splitlines()[1:]
    paragraphs = [json.loads(line) for line in lines if line.strip()]
    answers = {qa["qid"]: qa["answers"] for each in paragraphs for qa in each["qas"]}
    scores = mrqa_scoring.total_scores(answers, predictions, skip_missing=skip)
    expected = golden["official"][name]
    assert (scores["exact"], scores["f1"]) == (expected["exact_match"], expected["f1"])


def test_answers_are_normalised_as_the_original_does(reference: Path) -> None:
    cases = read_json(reference / "eval" / "string_functions.json")["normalise"]
    assert {each["text"]: scoring.normalize_answer(each["text"]) for each in cases} == {
        each["text"]: each["out"] for each in cases
    }


def test_pairs_of_texts_score_as_with_the_original(reference: Path) -> None:
    for pair in read_json(reference / "eval" / "string_functions.json")["pairs"]:
        gold, predicted = pair["gold"], pair["pred"]
        assert scoring.exact_match(gold, predicted) == pair["squad_exact"] == pair["mrqa_exact"]
        assert scoring.token_f1(gold, predicted) == pair["squad_f1"]
        assert mrqa_scoring.token_f1(gold, predicted) == pair["mrqa_f1"]


def test_pieces_are_found_again_in_their_words_as_by_the_original(reference: Path) -> None:
    vocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]"
    tokenizers = {
        lower: parse_vocabulary(vocabulary, lowercase=lower, where="") for lower in (True, False)
    }
    for case in read_json(reference / "eval" / "string_functions.json")["get_final_text"]:
        basic = tokenizers[case["lower"]].basic_text(case["orig"])
        text = piece_text_in_words(case["pred"], case["orig"], basic)
        assert text == case["out"] == case["out_mrqa"], case
