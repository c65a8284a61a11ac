"""Statistics of our masks against the original's, on the same 4,000 sequences of real text."""

import importlib.util
import json
import os
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from spanbert_jax.config import MaskingConfig
from spanbert_jax.corpus.pieces import Shard
from spanbert_jax.data.batch import NO_PAIR, PretrainBatch
from spanbert_jax.data.blocks import Rows
from spanbert_jax.data.host_tensorflow import tf
from spanbert_jax.data.masking import RowBatch, Vocabulary, mask_rows
from spanbert_jax.data.rows import lay_out

NUM_MASKS_PER_SEQUENCE = 4
MAX_STANDARD_ERRORS = 4.0


@pytest.fixture(scope="module")
def reference(request: pytest.FixtureRequest) -> Path:
    if folder := os.environ.get("SPANBERT_REFERENCE"):
        return Path(folder)
    return request.getfixturevalue("shared") / "reference"


@pytest.fixture(scope="module")
def mask_stats(reference: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("mask_stats", reference / "mask_stats.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def boundary_rows(batch: PretrainBatch, row: int) -> np.ndarray:
    """[left, right, targets] of each span of a row, in columns of the block."""
    is_target = batch.boundary_weights[row] == 1
    left = batch.boundary_left[row][is_target] - 1
    first = np.flatnonzero(batch.boundary_offset[row][is_target] == 0)
    rows = np.zeros((len(first), 17), int)
    rows[:, 0] = left[first]
    rows[:, 1] = batch.boundary_right[row][is_target][first] - 1
    span = np.searchsorted(left[first], left)
    rows[span, 2 + batch.boundary_offset[row][is_target]] = batch.masked_ids[row][is_target]
    return rows


def measure(
    block_ids: np.ndarray, ids: Any, mask_stats: ModuleType, config: MaskingConfig
) -> dict[str, Any]:
    word_starts = np.asarray(ids["word_start"], bool)
    counts = np.zeros(len(word_starts), np.int64)
    counts[ids["stream_unigram_ids"]] = ids["stream_unigram_counts"]
    mask_id, pad_id = 103, 0
    vocabulary = Vocabulary(word_starts, np.cumsum(counts), 101, 102, mask_id, pad_id)
    num_rows, width = block_ids.shape
    rows = lay_out(
        Shard(block_ids.ravel(), *(np.zeros(0, np.int64),) * 2),
        Rows(np.arange(num_rows + 1), np.arange(num_rows) * width, np.full(num_rows, width)),
        next_sentence_label=np.full(num_rows, NO_PAIR, np.int32), blocks="document",
        sequence_length=width + 2, vocabulary=vocabulary,
    )  # fmt: skip
    # Groups of 100 sequences, as in the reference: its standard errors come from such groups.
    measured = []
    for repeat in range(NUM_MASKS_PER_SEQUENCE):
        batch = mask_rows(
            RowBatch(*map(tf.constant, rows)),
            seeds=tf.cast(tf.range(num_rows) + repeat * num_rows, tf.uint64),
            vocabulary=vocabulary, config=config,
            num_predictions=config.num_predictions(width + 2), max_boundary_offsets=15,
        )  # fmt: skip
        batch = PretrainBatch(*(field.numpy() for field in batch))
        targets = np.zeros((num_rows, width + 2), int)
        np.put_along_axis(targets, batch.masked_positions, batch.masked_ids, axis=1)
        measured += [
            mask_stats.collect(
                block_ids[i], batch.token_ids[i, 1:-1], targets[i, 1:-1],
                boundary_rows(batch, i), word_starts, mask_id,
            )
            for i in range(num_rows)
        ]  # fmt: skip
    return mask_stats.summarise(measured, groups=20 * NUM_MASKS_PER_SEQUENCE)


# Whether spans begin at uniform subwords or at uniform words moves where they begin and how many
# subwords they have; this it does not touch.
OF_BOTH_READINGS = (
    "span_level_fraction_mask", "token_level_fraction_mask", "span_level_fraction_random",
    "token_level_fraction_random", "span_level_fraction_keep", "token_level_fraction_keep",
    "masked_position_pmf_10_bins", "fraction_spans_starting_on_word_start",
)  # fmt: skip


@pytest.mark.parametrize("anchor", ["subword", "word"])
@pytest.mark.parametrize("width", [510, 126])
def test_every_statistic_is_within_four_standard_errors_of_the_original(
    width: int, anchor: str, reference: Path, mask_stats: ModuleType
) -> None:
    expected = json.loads((reference / "masking_stats" / "stats.json").read_text())[f"T{width}"]
    with np.load(reference / "masking_stats" / "ids.npz") as ids:
        actual = measure(
            ids[f"ids_T{width}"].astype(np.int32), ids, mask_stats, MaskingConfig(anchor=anchor)
        )
    assert actual["masked_fraction"]["mean"] == pytest.approx(expected["masked_fraction"]["mean"])
    assert actual["sbo_rows_all_match_a_run"]
    pairs = {}
    for name, figure in expected.items():
        if isinstance(figure, dict) and set(figure) == {"value", "se"}:
            pairs[name] = (actual[name], figure)
    spans = (side["spans_per_sequence"] for side in (actual, expected))
    pairs["spans_per_sequence"] = tuple({"value": s["mean"], "se": s["se"]} for s in spans)
    assert len(pairs) >= 18
    if anchor == "word":
        pairs = {name: pairs[name] for name in OF_BOTH_READINGS}
    for name, (ours, theirs) in pairs.items():
        value, se = (np.atleast_1d(ours[key]).astype(float) for key in ("value", "se"))
        value_0, se_0 = (np.atleast_1d(theirs[key]).astype(float) for key in ("value", "se"))
        # 1e-9: figures are rounded to eight digits, and shares of exactly 1 have no error at all.
        distance = np.abs(value - value_0) / np.maximum(np.hypot(se, se_0), 1e-9)
        assert np.max(distance) < MAX_STANDARD_ERRORS, f"{name}: {distance}"
