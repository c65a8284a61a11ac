"""A small step, compiled for TPUs on a machine that has none."""

import dataclasses

import pytest

from spanbert_jax.config import DataConfig, MeshConfig, ModelConfig, PretrainConfig
from spanbert_jax.config.topologies import parse_topology
from spanbert_jax.planning.figures import Answer, OutOfMemory, StepFigures
from spanbert_jax.planning.jobs import Job, check_libtpu, compiled
from spanbert_jax.training.device_peaks import peak_flops

SMALL = PretrainConfig(
    model=ModelConfig(
        vocab_size=1_024, hidden_size=128, num_layers=1, num_heads=2, mlp_size=256,
        max_positions=128,
    ),
    data=DataConfig(batch_size=16, sequence_length=128),
)  # fmt: skip


def ask(config: PretrainConfig, topology: str) -> Answer:
    check_libtpu()
    return compiled(Job(config, parse_topology(topology)), cache="", say=lambda _: None)


@pytest.fixture(scope="module")
def alone() -> StepFigures:
    answer = ask(SMALL, "v5e-1")
    assert isinstance(answer, StepFigures)
    return answer


def test_every_kernel_of_a_step_has_a_cost_and_a_part(alone):
    assert alone.unknown == {}
    assert alone.kernels["bundles"] > 20 * alone.kernels.get("cost_model", 0)
    for part in ("attention", "mlp", "heads", "optimizer", "embeddings"):
        assert alone.parts[part] > 0.0
    waits = alone.copy_wait + alone.collective_wait
    assert sum(alone.parts.values()) + waits == pytest.approx(alone.seconds, rel=0.01)
    assert alone.parts.get("other", 0.0) < 0.2 * alone.seconds
    assert alone.collectives == {}


def test_no_step_is_faster_than_its_matrix_units(alone):
    peak = peak_flops("TPU v5 lite", "bfloat16")
    assert peak is not None
    assert 0.0 < alone.matrix_seconds < alone.seconds


def test_memory_holds_parameters_and_two_moments(alone):
    assert alone.memory["optimizer"] == pytest.approx(2 * alone.memory["parameters"], rel=0.01)
    assert alone.memory["activations"] + alone.memory["gradients_and_temporaries"] > 0
    assert alone.needed_bytes < 2**30


def test_copies_on_several_chips_add_up_their_gradients(alone):
    several = dataclasses.replace(SMALL, data=dataclasses.replace(SMALL.data, batch_size=64))
    answer = ask(several, "v5e-4")
    assert isinstance(answer, StepFigures)
    assert answer.collectives["all-reduce"].num_bytes > alone.memory["parameters"]
    assert answer.memory["parameters"] == alone.memory["parameters"]
    pieces = dataclasses.replace(several, mesh=MeshConfig(data=1, fsdp=4))
    split = ask(pieces, "v5e-4")
    assert isinstance(split, StepFigures)
    assert split.collectives["all-gather"].num_bytes > 0
    assert split.memory["parameters"] < 0.4 * alone.memory["parameters"]


def test_what_does_not_fit_is_answered_with_what_it_needs():
    large = dataclasses.replace(SMALL, data=dataclasses.replace(SMALL.data, batch_size=2**17))
    answer = ask(large, "v5e-1")
    assert isinstance(answer, OutOfMemory)
    assert answer.needed_bytes > answer.available_bytes > 15 * 2**30
