"""A run whose rows change on the way, stopped wherever it can be: in this process, on 8 devices.

Its phases have 6 steps of 16 rows of 16 tokens, 3 of 8 rows of 32, and 5 of 8 rows of 16 again.
"""

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest

from spanbert_jax.__main__ import main
from spanbert_jax.commands import run_data
from spanbert_jax.config import PretrainConfig
from spanbert_jax.config.files import load_config
from spanbert_jax.data.batch import PretrainBatch
from spanbert_jax.data.pipeline import pretrain_dataset
from spanbert_jax.data.token_shards import open_token_shards
from spanbert_jax.errors import RUN_AGAIN
from spanbert_jax.training.saved_run import load_run

NUM_STEPS = 14
CONFIG = """
from spanbert_jax.config import *


def phases():
    return PretrainConfig(
        workdir="run",
        model=ModelConfig(
            hidden_size=16, num_layers=1, num_heads=2, mlp_size=32, max_positions=32,
            boundary_offset_size=8,
        ),
        data=DataConfig(
            shards="shards", sequence_length=16, batch_size=8,
            phases=(LengthPhase(6, 16, batch_size=16), LengthPhase(3, 32)),
        ),
        optimizer=OptimizerConfig(learning_rate=1e-2, warmup_steps=4),
        training=TrainingConfig(num_steps=14, log_every=1, eval_every=3, eval_batches=2),
        checkpoint=CheckpointConfig(every_steps=100, keep_latest=9),
    )
"""
FIRST_EXAMPLES = {16: [16 * step for step in range(6)] + [96 + 8 * step for step in range(5)],
                  32: [0, 8, 16]}  # fmt: skip


class Told(NamedTuple):
    """What became of one start of the program."""

    code: int
    said: str
    batches: list[PretrainBatch]
    """Of the steps that it took, as they lay on the devices."""


@pytest.fixture(scope="module")
def folder(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the config, and shards of a dozen documents."""
    folder = tmp_path_factory.mktemp("phases")
    documents = (tiny / "text.txt").read_text().split("\n\n")[:12]
    (folder / "text.txt").write_text("\n\n".join(documents) + "\n")
    (folder / "phases.py").write_text(CONFIG)
    prepare = ["prepare", "--source", f"text:{folder}/text.txt", "--out", f"{folder}/shards"]
    assert main([*prepare, "--vocab-size", "120", "--held-out", "0.2"]) == 0
    return folder


class Pretrain:
    """pretrain("--flag", "value", steps=3): start in `folder`, and stop after so many steps."""

    def __init__(self, folder: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self._capsys, self._monkeypatch = capsys, monkeypatch
        monkeypatch.chdir(folder)

    def __call__(self, *flags: str, steps: int = NUM_STEPS) -> Told:
        seen: list[PretrainBatch] = []
        announced = run_data.announced

        def seeing(*args: Any, **kwargs: Any) -> Iterator[PretrainBatch]:
            for batch in announced(*args, **kwargs):
                seen.append(jax.tree.map(np.asarray, batch))
                if len(seen) == steps < NUM_STEPS:
                    signal.raise_signal(signal.SIGTERM)
                yield batch

        self._capsys.readouterr()
        with self._monkeypatch.context() as patch:
            patch.setattr(run_data, "announced", seeing)
            code = main(["pretrain", "phases.py", *flags])
        return Told(code, self._capsys.readouterr().err, seen)


@pytest.fixture
def pretrain(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Pretrain:
    return Pretrain(folder, capsys, monkeypatch)


@pytest.fixture(scope="module")
def uninterrupted(folder: Path) -> dict[str, Told]:
    """Kept between tests: the first that asks makes it."""
    return {}


def whole_run(pretrain: Pretrain, uninterrupted: dict[str, Told]) -> Told:
    if not uninterrupted:
        uninterrupted["run"] = pretrain()
    return uninterrupted["run"]


def assert_same_batches(actual: list[PretrainBatch], expected: list[PretrainBatch]) -> None:
    assert len(actual) == len(expected)
    for ours, theirs in zip(actual, expected, strict=True):
        for name, ours_field, field in zip(PretrainBatch._fields, ours, theirs, strict=True):
            np.testing.assert_array_equal(ours_field, field, err_msg=name)


def batches_of_order(
    folder: Path, *, length: int, first_example: int, batch_size: int, num_batches: int
) -> list[PretrainBatch]:
    config = load_config(f"{folder}/phases.py", PretrainConfig)
    shards = open_token_shards(folder / "shards", sequence_length=length)
    dataset = pretrain_dataset(
        shards, masking=config.masking, batch_size=batch_size, seed=config.training.seed,
        max_boundary_offsets=config.model.max_boundary_offsets, first_example=first_example,
    )  # fmt: skip
    batches = dataset.as_numpy_iterator()
    return [next(batches) for _ in range(num_batches)]


CLOCK = (
    "time", "tokens_per_second", "data_wait", "eta_seconds", "mfu", "goodput", "host_seconds",
    "step_seconds_p50", "step_seconds_p95",
)  # fmt: skip


def figures(run: str) -> list[dict[str, float]]:
    """metrics.jsonl without what a clock measured."""
    records = [json.loads(line) for line in Path(run, "metrics.jsonl").read_text().splitlines()]
    return [{name: x for name, x in each.items() if name not in CLOCK} for each in records]


def assert_same_run(run: str, expected: str) -> None:
    assert figures(run) == figures(expected)
    ours, theirs = load_run(run), load_run(expected)
    assert ours.step == theirs.step == NUM_STEPS
    for leaf, other in zip(*map(jax.tree.leaves, (ours.params, theirs.params)), strict=True):
        assert np.asarray(leaf).tobytes() == np.asarray(other).tobytes()


def position_of(run: str, step: int) -> dict[str, Any]:
    """Where the data stand in a checkpoint, without the checksums that lie beside it."""
    saved = json.loads((Path(run) / "checkpoints" / str(step) / "data" / "metadata").read_text())
    return {name: saved[name] for name in ("next_example", "sequence_length", "other_lengths")}


def test_every_phase_reads_the_order_of_its_length_and_one_of_the_same_length_goes_on(
    pretrain, uninterrupted, folder
):
    code, said, batches = whole_run(pretrain, uninterrupted)
    assert code == 0, said
    assert_same_batches(batches, [
        *batches_of_order(folder, length=16, first_example=0, batch_size=16, num_batches=6),
        *batches_of_order(folder, length=32, first_example=0, batch_size=8, num_batches=3),
        *batches_of_order(folder, length=16, first_example=96, batch_size=8, num_batches=5),
    ])  # fmt: skip
    assert [batch.token_ids.shape for batch in batches[5:10]] == [
        (16, 16), (8, 32), (8, 32), (8, 32), (8, 16),
    ]  # fmt: skip
    lines = said.splitlines()
    assert (
        "phases: 16 rows of 16 tokens to step 6; 8 rows of 32 tokens to step 9; 8 rows of 16 "
        "tokens to step 14"
    ) in lines
    assert "step 6: rows of 32 tokens, 8 a batch; this step compiles" in lines
    assert "step 9: rows of 16 tokens, 8 a batch; this step compiles" in lines


def test_figures_follow_the_phase(pretrain, uninterrupted, folder):
    whole_run(pretrain, uninterrupted)
    num_blocks = {
        length: open_token_shards(folder / "shards", sequence_length=length).num_blocks
        for length in (16, 32)
    }
    read = [16 * s / num_blocks[16] for s in range(1, 7)]
    read += [8 * s / num_blocks[32] for s in range(1, 4)]
    read += [(96 + 8 * s) / num_blocks[16] for s in range(1, 6)]
    assert [each["epoch"] for each in figures("run") if "loss" in each] == read
    assert max(read[:6]) > 1.0  # The order of its second epoch was begun.
    held_out = [each["step"] for each in figures("run") if "held_out_loss" in each]
    assert held_out == [0, 3, 6, 9, 12, 14]


def test_a_run_stopped_in_every_phase_and_at_both_borders_is_the_one_that_never_stopped(
    pretrain, uninterrupted
):
    whole = whole_run(pretrain, uninterrupted)
    batches, taken = [], 0
    for stop in (3, 6, 8, 9, 12, NUM_STEPS):
        told = pretrain("--workdir", "stopped", steps=stop - taken)
        assert told.code == (0 if stop == NUM_STEPS else RUN_AGAIN), told.said
        assert len(told.batches) == stop - taken
        begins = "step 6: rows of 32 tokens" in told.said, "step 9: rows of 16" in told.said
        assert begins == (taken <= 6 < stop, taken <= 9 < stop)
        batches, taken = [*batches, *told.batches], stop
    assert_same_batches(batches, whole.batches)
    assert_same_run("stopped", "run")
    assert position_of("stopped", 6) == {
        "next_example": 96, "sequence_length": 16, "other_lengths": [],
    }  # fmt: skip
    assert position_of("stopped", 9) == {
        "next_example": 24, "sequence_length": 32, "other_lengths": [[16, 96]],
    }  # fmt: skip
    assert position_of("stopped", 12) == {
        "next_example": 120, "sequence_length": 16, "other_lengths": [[32, 24]],
    }  # fmt: skip


def test_rows_of_another_length_than_were_counted_begin_at_the_first(pretrain, folder):
    one_phase = ("--workdir", "longer", "--data.phases")
    assert pretrain(*one_phase, steps=3).code == RUN_AGAIN
    told = pretrain(*one_phase, "--data.sequence-length", "32", steps=2)
    assert told.code == RUN_AGAIN
    assert "--data.sequence-length from 16 to 32" in told.said
    expected = batches_of_order(folder, length=32, first_example=0, batch_size=8, num_batches=2)
    assert_same_batches(told.batches, expected)
    assert position_of("longer", 5) == {
        "next_example": 16, "sequence_length": 32, "other_lengths": [[16, 24]],
    }  # fmt: skip
    told = pretrain(*one_phase, steps=1)
    expected = batches_of_order(folder, length=16, first_example=24, batch_size=8, num_batches=1)
    assert_same_batches(told.batches, expected)


def test_a_shard_altered_on_the_way_stops_the_run_and_it_goes_on_after_the_repair(
    pretrain, folder, monkeypatch
):
    """Each batch reads the text more than twice, and so comes upon what was altered."""
    shard = folder / "shards" / "train-00000.tokens.npy"
    whole = shard.read_bytes()
    flags = ("--workdir", "altered", "--data.phases", "--data.batch-size", "256")
    flags = (*flags, "--training.num-steps", "100")
    announced = run_data.announced

    def altering(*args: Any, **kwargs: Any) -> Iterator[PretrainBatch]:
        for batch in announced(*args, **kwargs):
            shard.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
            yield batch

    with monkeypatch.context() as patch:
        patch.setattr(run_data, "announced", altering)
        broken = pretrain(*flags)
    # As it is started again before the repair, with the checksums of all shards compared or not.
    assert pretrain(*flags, "--data.verify-shards").code == 2
    again = pretrain(*flags)
    shard.write_bytes(whole)
    step = len(broken.batches)
    assert broken.code == again.code == 2 and 1 <= step < 100
    saved = f"the run is saved at step {step}: the same command goes on from there once this is"
    for told in (broken, again):
        error = told.said.splitlines()[-1]
        assert error.startswith("spanbert: error: ") and shard.name in error and saved in error
    assert [each["step"] for each in figures("altered") if "loss" in each][-1] == step
    repaired = pretrain(*flags, steps=2)
    assert repaired.code == RUN_AGAIN
    assert_same_batches([*broken.batches, *repaired.batches], batches_of_order(
        folder, length=16, first_example=0, batch_size=256, num_batches=step + 2,
    ))  # fmt: skip


def test_phases_that_leave_no_step_or_no_even_batch_are_refused(pretrain):
    told = pretrain("--workdir", "no", "--data.phases", "14:16")
    assert told.code == 2 and "--data.phases 14:16: takes 14 steps" in told.said
    told = pretrain("--workdir", "no", "--data.phases", "2:16:12")
    assert told.code == 2
    assert "--data.phases 2:16:12, batch size 12: is not divisible by the 8 devices" in told.said
    assert not Path("no").exists()
