"""TACRED against the released script: rows in four modes, labels, markers and scores."""

import json
from pathlib import Path

import pytest

from spanbert_jax.config.tasks import TacredConfig
from spanbert_jax.corpus.tokenizers import WordPieceTokenizer
from spanbert_jax.corpus.tokenizers.word_piece import parse_vocabulary
from spanbert_jax.tasks.relation.scores import micro_scores
from spanbert_jax.tasks.relation.tacred import Tacred

MODES = ["text", "ner", "text_ner", "ner_text"]


@pytest.fixture(scope="module")
def folder(reference: Path) -> Path:
    return reference / "eval" / "tacred"


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> WordPieceTokenizer:
    """The pieces of the golden rows under their ids; no others occur."""
    pieces = json.loads((Path(__file__).parent / "eval" / "tacred" / "pieces.json").read_text())
    by_id = {token_id: piece for piece, token_id in pieces.items()}
    lines = [by_id.get(i, f"[gap{i}]") for i in range(max(by_id) + 1)]
    return parse_vocabulary("\n".join(lines) + "\n", lowercase=True, where="golden pieces")


@pytest.mark.parametrize("max_length", [64, 24])
@pytest.mark.parametrize("mode", MODES)
def test_rows_of_every_mode_are_those_of_the_released_script(folder, tokenizer, mode, max_length):
    golden = json.loads((folder / "features.json").read_text())
    expected = golden["features"][f"{mode}_len{max_length}"]
    task = Tacred(TacredConfig(mode=mode, max_length=max_length, marker_order="released"))
    examples = task.read(str(folder / "train.json"), training=True).examples
    tables = task.tables(examples, tokenizer)
    rows = list(task.rows(examples, tokenizer=tokenizer, tables=tables, training=True))
    assert tables["labels"] == golden["labels"]
    names = {name: tokenizer.id_to_piece(ids[0]) for name, ids in tables["markers"].items()}
    assert names == expected["special_tokens"]
    assert [len(row.token_ids) for row in rows] == expected["n_real"]
    padded = [[*row.token_ids.tolist(), *[0] * (max_length - len(row.token_ids))] for row in rows]
    assert padded == expected["input_ids"]
    assert not any(row.segment_ids.any() for row in rows)
    assert [row.fields["label"] for row in rows] == expected["label"]


def test_scores_are_those_of_the_released_script(folder):
    cases = json.loads((folder / "scores.json").read_text())
    for case in cases:
        gold, predicted = (list(map(str, case[name])) for name in ("labels", "preds"))
        assert micro_scores(gold, predicted, negative="0") == pytest.approx(case["result"], abs=0)
    assert len(cases) == 5
