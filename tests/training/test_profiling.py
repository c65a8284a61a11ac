"""A real trace of a tiny step."""

import io
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from spanbert_jax.config import ProfileConfig
from spanbert_jax.errors import ConfigError
from spanbert_jax.training.console import Console
from spanbert_jax.training.profiling import PROFILE_FOLDER, Profiler


@jax.jit
def step(state: jax.Array, batch: jax.Array) -> tuple[jax.Array, jax.Array]:
    return state + batch, state


def run(folder: Path, steps: str, *, start_step: int, num_steps: int) -> list[str]:
    said, state = io.StringIO(), jnp.zeros(2)
    with Profiler(
        step, run_dir=folder, steps=ProfileConfig(steps).range, start_step=start_step,
        console=Console(0, said),
    ) as profiled:  # fmt: skip
        for _ in range(num_steps):
            state, _ = profiled(state, jnp.ones(2))
    assert state.tolist() == [num_steps, num_steps]
    return said.getvalue().splitlines()


def test_the_steps_that_are_asked_for_are_traced_and_it_is_said_where_they_lie(tmp_path) -> None:
    said = run(tmp_path, "3:4", start_step=0, num_steps=6)
    folder = tmp_path / PROFILE_FOLDER
    assert said == [f"profile up to step 4: tensorboard --logdir {folder}"]
    assert len(list(folder.rglob("*.xplane.pb"))) == 1


def test_a_run_that_goes_on_counts_its_steps_from_the_checkpoint(tmp_path) -> None:
    assert run(tmp_path, "3:4", start_step=10, num_steps=6) == []
    assert run(tmp_path, "12:12", start_step=10, num_steps=6) != []


def test_a_run_that_ends_within_them_still_writes_its_trace(tmp_path) -> None:
    assert run(tmp_path, "2:100", start_step=0, num_steps=3) != []
    assert list((tmp_path / PROFILE_FOLDER).rglob("*.xplane.pb"))


def test_without_a_wish_nothing_is_traced(tmp_path) -> None:
    assert run(tmp_path, "", start_step=0, num_steps=3) == []
    assert not (tmp_path / PROFILE_FOLDER).exists()


@pytest.fixture
def forgotten() -> Iterator[None]:
    """For the other tests: JAX takes a trace that could not be written for one that goes on."""
    yield
    jax._src.profiler._profile_state.reset()


@pytest.mark.parametrize("steps", ["2:3", "2:100"], ids=["on the way", "at the end"])
def test_a_profile_that_cannot_be_written_is_said_once_and_every_step_is_taken(
    tmp_path: Path, forgotten: None, steps: str
) -> None:
    """A file in the place of its folder: root may write all."""
    (tmp_path / PROFILE_FOLDER).write_text("")
    (message,) = run(tmp_path, steps, start_step=0, num_steps=6)
    assert message.startswith(f"no profile in {tmp_path / PROFILE_FOLDER}: ")
    assert message.endswith("; training goes on without one")


def test_a_profile_that_cannot_be_begun_is_said_once_and_every_step_is_taken(
    tmp_path: Path,
) -> None:
    with jax.profiler.trace(str(tmp_path / "another")):
        (message,) = run(tmp_path, "2:4", start_step=0, num_steps=6)
    assert "Only one profile may be run at a time" in message


@pytest.mark.parametrize("steps", ["5", "5:", "6:5", "0:3", "a:b", "-1:2"])
def test_steps_that_are_none_are_an_error_with_a_remedy(steps: str) -> None:
    with pytest.raises(ConfigError, match="--profile.steps .* use for instance 100:105"):
        ProfileConfig(steps)
