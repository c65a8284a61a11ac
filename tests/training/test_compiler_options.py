"""Flags of the compiler: those of the kind of device, then those of the config."""

import dataclasses
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest

from spanbert_jax.config import ComputeConfig, MeshConfig, PretrainConfig
from spanbert_jax.errors import ConfigError, UserError
from spanbert_jax.training import compiler_options as module
from spanbert_jax.training.compiler_options import OPTIONS, OptionsOfKind, compiler_options
from spanbert_jax.training.mesh import make_mesh
from spanbert_jax.training.pretraining import build


def of_kind(kind: str) -> Any:
    """A mesh, as far as it is looked at, of one device."""
    return SimpleNamespace(devices=np.array([SimpleNamespace(device_kind=kind)]))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("TPU v5 lite", {}),
        ("TPU v6 lite", {}),
        ("NVIDIA H100 80GB HBM3", {"xla_gpu_enable_latency_hiding_scheduler": True}),
        ("Tesla V100-SXM2-16GB", {"xla_gpu_enable_latency_hiding_scheduler": True}),
        ("cpu", {}),
        ("a chip of tomorrow", {}),
    ],
)
def test_every_kind_has_its_options(kind: str, expected: dict) -> None:
    assert compiler_options(of_kind(kind)) == expected


def test_what_was_found_for_one_generation_is_said_of_no_other() -> None:
    first_match = {
        kind: next(each for each in OPTIONS if re.match(each.kind, kind))
        for kind in ("TPU v5 lite", "TPU v5", "TPU v4", "TPU v6 lite")
    }
    assert "v5e:4x4" in first_match.pop("TPU v5 lite").why
    assert all("nothing is known" in each.why for each in first_match.values())


def test_a_config_adds_to_them_and_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    own = OptionsOfKind("cpu", {"xla_cpu_enable_fast_math": True, "xla_cpu_max_isa": "AVX2"}, "")
    monkeypatch.setattr(module, "OPTIONS", (own, *OPTIONS))
    added = ("xla_cpu_enable_fast_math=false", "xla_backend_optimization_level=1")
    assert compiler_options(make_mesh(MeshConfig()), added) == {
        "xla_cpu_enable_fast_math": False, "xla_cpu_max_isa": "AVX2",
        "xla_backend_optimization_level": "1",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("xla_no_such_flag=1", "No such compile option: 'xla_no_such_flag'"),
        ("xla_cpu_enable_fast_math=perhaps", "'perhaps' is not a valid bool value"),
    ],
)
def test_what_the_compiler_does_not_know_is_told_before_anything_is_compiled(
    text: str, said: str, config: PretrainConfig
) -> None:
    compute = dataclasses.replace(config.compute, compiler_options=(text,))
    with pytest.raises(UserError, match=f"--compute.compiler-options {text}: must be .*{said}"):
        build(dataclasses.replace(config, compute=compute), make_mesh(MeshConfig()))


def test_an_option_is_a_name_and_a_value() -> None:
    with pytest.raises(ConfigError, match="--compute.compiler-options --xla_a=1: must be NAME=VAL"):
        ComputeConfig(compiler_options=("--xla_a=1",))


def test_steps_are_compiled_with_them(
    config: PretrainConfig, make_batch: Any, tmp_path: Path
) -> None:
    compute = dataclasses.replace(config.compute, compiler_options=(f"xla_dump_to={tmp_path}",))
    mesh = make_mesh(MeshConfig(), jax.devices()[:1])
    with jax.set_mesh(mesh):
        pretraining = build(dataclasses.replace(config, compute=compute), mesh)
        (batch,) = pretraining.on_devices([make_batch(0)])
        for file in tmp_path.iterdir():
            file.unlink()
        pretraining.train_step.lower(pretraining.abstract_state, batch).compile()
    assert any("jit_traced" in file.name for file in tmp_path.iterdir())
