"""Counting rows: as many as are cut, once for each rule, and never of other text."""

from pathlib import Path

import numpy as np
import pytest

from spanbert_jax.config import MaskingConfig
from spanbert_jax.corpus import pieces as corpus_pieces
from spanbert_jax.corpus.progress import SilentProgress
from spanbert_jax.corpus.shards import open_shard, read_manifest
from spanbert_jax.data import cutting
from spanbert_jax.data.blocks import RowCounts
from spanbert_jax.data.cutting import BlockRule, count_rows
from spanbert_jax.data.token_shards import open_token_shards
from spanbert_jax.data.windows import Pieces
from spanbert_jax.errors import UserError

RULES = [
    BlockRule("document", 32),
    BlockRule("document", 16, "original"),
    BlockRule("packed", 32),
    BlockRule("packed", 32, mask_ratio=0.3),
    BlockRule("sentence_pair", 32),
]


@pytest.fixture
def folder(make_shards, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(corpus_pieces, "PIECE_TOKENS", 400)
    return make_shards(train=[30, 20], held_out=[7])


def pieces_of(folder: Path) -> Pieces:
    return Pieces([open_shard(folder, info) for info in read_manifest(folder).splits["train"]])


def count(folder: Path, rule: BlockRule) -> np.ndarray:
    progress = SilentProgress()
    return count_rows(pieces_of(folder), rule, folder=folder, split="train", progress=progress)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_counts_are_those_of_the_rows_that_are_cut(folder: Path, rule: BlockRule) -> None:
    pieces, counts = pieces_of(folder), count(folder, rule)
    assert len(counts) == len(pieces) > 5
    for number, row in enumerate(counts):
        rows, made = rule.cut(pieces.read(number))
        assert RowCounts(*row.tolist()) == made
        assert made.num_rows == len(rows.row_splits) - 1


def test_a_count_is_kept_beside_the_shards_for_its_rule_and_its_text(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = [count(folder, rule) for rule in RULES]
    assert len(list((folder / "blocks").iterdir())) == len(RULES)

    def fail(*_: object) -> None:
        raise AssertionError("counted again")

    monkeypatch.setattr(cutting, "_count", fail)
    for rule, expected in zip(RULES, counts, strict=True):
        np.testing.assert_array_equal(count(folder, rule), expected)


def test_a_damaged_count_is_made_anew(folder: Path) -> None:
    expected = count(folder, RULES[0])
    (path,) = (folder / "blocks").iterdir()
    path.write_bytes(path.read_bytes()[:-10])
    np.testing.assert_array_equal(count(folder, RULES[0]), expected)
    assert np.load(path).shape == expected.shape


@pytest.mark.parametrize(
    "error", [PermissionError(13, "Permission denied"), OSError(28, "No space left on device")]
)
def test_in_a_folder_that_cannot_be_written_rows_are_counted_all_the_same(
    folder: Path, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr("spanbert_jax.corpus.files.write_bytes", refuse)
    expected = [RULES[0].cut(pieces_of(folder).read(0))[1].num_rows]
    assert count(folder, RULES[0])[:1, 0].tolist() == expected


def test_a_mask_ratio_changes_the_rows_of_packed_blocks_alone(folder: Path) -> None:
    for blocks, files in (("document", 1), ("packed", 3)):
        for mask_ratio in (0.15, 0.3):
            count(folder, BlockRule(blocks, 32, mask_ratio=mask_ratio))
        assert len(list((folder / "blocks").iterdir())) == files


def test_progress_is_told_of_a_first_count(folder: Path) -> None:
    told: list[tuple[str, float]] = []

    class Recorded(SilentProgress):
        def update(self, stage: str, done: float, total: float) -> None:
            told.append((stage, done / total))

    for _ in range(2):
        open_token_shards(folder, sequence_length=32, progress=Recorded())
    assert len(told) == len(pieces_of(folder))
    assert told[-1] == ("counting the rows of 32 tokens in the train split", 1.0)


def test_text_of_which_nothing_is_left_is_an_error(shards_of_documents) -> None:
    folder = shards_of_documents(train=[[[[7] * 40]]], held_out=[[[[7] * 40]]])
    with pytest.raises(UserError, match="--data.over-long-sentences original: must leave text"):
        open_token_shards(folder, sequence_length=32, over_long_sentences="original")


def test_packed_rows_are_cut_for_the_slots_of_their_mask_ratio(folder: Path) -> None:
    for mask_ratio in (0.15, 0.3):
        shards = open_token_shards(
            folder, sequence_length=32, blocks="packed", mask_ratio=mask_ratio
        )
        masking = MaskingConfig(mask_ratio=mask_ratio)
        rows, _ = shards.rule.cut(shards.pieces.read(0))
        budgets = [masking.budget(int(length)) for length in rows.length]
        slots = np.add.reduceat(budgets, rows.row_splits[:-1])
        assert slots.max() <= masking.num_predictions(32, "packed")
        assert len(budgets) > len(slots)
