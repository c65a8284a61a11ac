"""By what a program knows that it is one of several processes."""

import pytest

from spanbert_jax.config import DistributedConfig
from spanbert_jax.errors import ConfigError
from spanbert_jax.training import surroundings
from spanbert_jax.training.surroundings import is_one_of_several

STEP = {
    "SLURM_JOB_ID": "7", "SLURM_STEP_NODELIST": "n[1-2]", "SLURM_NTASKS": "2", "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0",
}  # fmt: skip


def told(**values) -> DistributedConfig:
    return DistributedConfig(
        **({"coordinator": "10.0.0.1:1234", "num_processes": 2, "process_id": 1} | values)
    )


def test_a_process_that_is_told_its_place_is_one_of_several() -> None:
    assert is_one_of_several(told())


def test_a_program_by_itself_is_alone() -> None:
    assert not is_one_of_several(DistributedConfig())


@pytest.mark.parametrize(("tasks", "expected"), [("2", True), ("1", False)])
def test_a_step_of_slurm_says_how_many_there_are(
    tasks: str, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (STEP | {"SLURM_NTASKS": tasks}).items():
        monkeypatch.setenv(name, value)
    assert is_one_of_several(DistributedConfig()) == expected


def test_the_shell_of_salloc_is_alone_whatever_its_job_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in (STEP | {"SLURM_NTASKS": "16", "SLURM_STEP_NUM_TASKS": "1"}).items():
        monkeypatch.setenv(name, value)
    assert not is_one_of_several(DistributedConfig())


def test_a_tpu_outside_google_cloud_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surroundings, "_has_tpu", lambda: True)
    told = ("TPU_SKIP_MDS_QUERY", "TPU_PROCESS_ADDRESSES", "TPU_WORKER_HOSTNAMES")
    for name in (*STEP, *told, "JAX_PLATFORMS"):
        monkeypatch.delenv(name, raising=False)
    assert is_one_of_several(DistributedConfig())
    monkeypatch.setenv("TPU_SKIP_MDS_QUERY", "1")
    assert not is_one_of_several(DistributedConfig())
    # In a pod of Kubernetes, which says in another way who the others are.
    monkeypatch.setenv("TPU_WORKER_HOSTNAMES", "host-0,host-1")
    assert is_one_of_several(DistributedConfig())


def test_a_job_of_slurm_that_is_no_step_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    # As in a batch script outside srun: JAX would not know its place either.
    for name in ("SLURM_JOB_ID", "SLURM_NTASKS"):
        monkeypatch.setenv(name, STEP[name])
    assert not is_one_of_several(DistributedConfig())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"num_processes": None}, "belong together: all of them, or none"),
        ({"coordinator": ""}, "belong together"),
        ({"coordinator": "10.0.0.1"}, "must be a host and a port .* 10.0.0.1:1234"),
        ({"coordinator": "host:99999"}, "must be a host and a port"),
        ({"process_id": 2}, r"--distributed.process-id 2: must be in \[0, 2\)"),
        ({"process_id": -1}, r"must be in \[0, 2\)"),
        ({"num_processes": 0, "process_id": 0}, "--distributed.num-processes 0: must be greater"),
        ({"silence_seconds": 0}, "--distributed.silence-seconds 0: must be greater"),
    ],
)
def test_a_place_that_cannot_be_is_an_error_with_a_remedy(values: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        told(**values)
