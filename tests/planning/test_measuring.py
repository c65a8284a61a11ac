"""`spanbert plan --measure`: the planned step on devices that are at hand."""

import json
from pathlib import Path

import jax
import pytest

from spanbert_jax.__main__ import main
from spanbert_jax.commands import plan as command
from spanbert_jax.config import ComputeConfig, DataConfig, ModelConfig, PretrainConfig
from spanbert_jax.config.topologies import parse_topology
from spanbert_jax.errors import UserError
from spanbert_jax.planning.figures import StepFigures
from spanbert_jax.planning.measuring import check_at_hand, measure

BASE = f"{Path(__file__).parents[2]}/configs/pretrain.py:spanbert_base"
TINY = (
    "--model.num-layers 1 --model.hidden-size 16 --model.num-heads 2 --model.mlp-size 32 "
    "--model.vocab-size 50 --data.sequence-length 16 --data.batch-size 8 --compute.dtype float32"
).split()


def test_the_step_is_run_on_every_device() -> None:
    config = PretrainConfig(
        model=ModelConfig(num_layers=1, hidden_size=16, num_heads=2, mlp_size=32, vocab_size=50),
        data=DataConfig(batch_size=8, sequence_length=16),
        compute=ComputeConfig(dtype="float32"),
    )
    found = measure(config)
    assert 0.0 < found.fastest <= found.seconds <= found.slowest
    # XLA:CPU does not count what it holds.
    assert found.peak_bytes is None


def test_other_chips_than_those_of_the_slice_are_refused(capsys, monkeypatch) -> None:
    monkeypatch.setattr(command, "check_libtpu", lambda: "0.0.42.1")
    assert main(["plan", BASE, "--topology", "v5e-8", "--measure"]) == 2
    said = capsys.readouterr().err
    assert "--measure: must run on the 8 x TPU v5 lite of --topology v5e:2x4" in said
    assert f"found {jax.device_count()} x cpu; leave it out" in said


def test_chips_that_are_at_hand_are_taken(monkeypatch) -> None:
    class Chip:
        device_kind = "TPU v6 lite"

    monkeypatch.setattr(jax, "devices", lambda: [Chip()] * 4)
    check_at_hand(parse_topology("v6e:2x2"))
    for other in ("v6e:2x4", "v5e:2x2"):
        with pytest.raises(UserError, match="found 4 x TPU v6 lite"):
            check_at_hand(parse_topology(other))


def test_estimate_and_measurement_stand_side_by_side(capsys, monkeypatch, tmp_path) -> None:
    figures = StepFigures(
        seconds=0.5, parts={"mlp": 0.5}, copy_wait=0.0, collective_wait=0.0, collectives={},
        matrix_seconds=0.2, classic_seconds=0.6, hbm_bytes=1e9, memory={"parameters": 1e6},
    )  # fmt: skip
    monkeypatch.setattr(command, "compiled", lambda job, **_: figures)
    monkeypatch.setattr(command, "check_libtpu", lambda: "0.0.42.1")
    monkeypatch.setattr(command, "check_at_hand", lambda topology: None)
    file = tmp_path / "plan.json"
    arguments = ["plan", BASE, *TINY, "--topology", "v5e-8", "--measure", "--json", str(file)]
    assert main(arguments) == 0
    said = capsys.readouterr().out
    measured = json.loads(file.read_text())["measured"]
    assert "a step, estimated and measured here" in said
    assert f"500.00 ms  {1e3 * measured['seconds']:9.2f} ms" in said
    assert f"{0.5 / measured['seconds']:.0%}" in said
