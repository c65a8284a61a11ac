"""A checkpoint is the run itself: every bit of it, on any mesh, and the right ones kept."""

import dataclasses
import logging
import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from spanbert_jax.config import CheckpointConfig, MeshConfig, OptimizerConfig, PretrainConfig
from spanbert_jax.errors import UserError
from spanbert_jax.model.layer_stack import stack_layers
from spanbert_jax.training.checkpoint import Checkpoints, DataPosition
from spanbert_jax.training.mesh import make_mesh
from spanbert_jax.training.pretraining import build
from spanbert_jax.training.saved_run import load_run
from spanbert_jax.training.train_step import TrainState


def abstract_state(config: PretrainConfig, mesh_config: MeshConfig) -> TrainState:
    mesh = make_mesh(mesh_config)
    with jax.set_mesh(mesh):
        return build(config, mesh).abstract_state


def random_state(abstract: TrainState) -> TrainState:
    rng = np.random.default_rng(0)

    def values(leaf: jax.ShapeDtypeStruct) -> jax.Array:
        array = np.asarray(rng.normal(scale=1000, size=leaf.shape), leaf.dtype)
        return jax.device_put(array, leaf.sharding)

    return jax.tree.map(values, abstract)


@pytest.fixture(scope="module")
def state(config: PretrainConfig) -> TrainState:
    """Of a mesh that splits it by fsdp."""
    return random_state(abstract_state(config, MeshConfig(4, 2, 1)))


def other_rate(config: PretrainConfig) -> PretrainConfig:
    return dataclasses.replace(config, optimizer=OptimizerConfig(learning_rate=0.3, warmup_steps=2))


@pytest.fixture(scope="module")
def run_dir(
    state: TrainState, config: PretrainConfig, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A run that was saved at step 9 and, of another config and with `state`, at step 10."""
    folder = tmp_path_factory.mktemp("run")
    with Checkpoints(folder, other_rate(config), tokenizer_fingerprint="abc") as checkpoints:
        older = jax.tree.map(jnp.zeros_like, state)
        checkpoints.save(9, older, position=DataPosition(72), score=1.0)
    with Checkpoints(folder, config, tokenizer_fingerprint="abc") as checkpoints:
        checkpoints.save(10, state, position=DataPosition(80), score=None)
    return folder


def assert_same_bits(actual: Any, expected: Any) -> None:
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


def test_a_state_comes_back_bit_for_bit_on_another_mesh(
    run_dir: Path, state: TrainState, config: PretrainConfig
) -> None:
    other = abstract_state(config, MeshConfig(1, 4, 2))
    with Checkpoints(run_dir, config, tokenizer_fingerprint="abc") as checkpoints:
        assert checkpoints.latest_step() == 10
        restored, position = checkpoints.restore(10, other)
        older, older_position = checkpoints.restore(9, other)
    assert_same_bits(restored, state)
    assert jax.tree.map(lambda leaf: leaf.sharding, restored) == jax.tree.map(
        lambda leaf: leaf.sharding, other
    )
    kernel = restored.params["encoder"]["layer_0"]["feed_forward"]["inner"]["kernel"]
    assert kernel.addressable_data(0).shape == (4, 16)
    assert (position, older_position) == (DataPosition(80, 16), DataPosition(72, 16))
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(older))


def test_a_run_goes_on_with_its_layers_scanned_or_unrolled_whichever_it_was_saved_with(
    run_dir: Path, state: TrainState, config: PretrainConfig, tmp_path: Path
) -> None:
    scanned = dataclasses.replace(
        config, compute=dataclasses.replace(config.compute, scan_layers=True)
    )
    abstract = abstract_state(scanned, MeshConfig(1, 4, 2))
    with Checkpoints(run_dir, scanned, tokenizer_fingerprint="abc") as checkpoints:
        stacked, position = checkpoints.restore(10, abstract)
    assert_same_bits(stacked, stack_layers(state))
    assert jax.tree.leaves(stacked)[3].sharding == jax.tree.leaves(abstract)[3].sharding
    with Checkpoints(tmp_path, scanned, tokenizer_fingerprint="abc") as checkpoints:
        checkpoints.save(11, stacked, position=position, score=None)
    with Checkpoints(tmp_path, config, tokenizer_fingerprint="abc") as checkpoints:
        again, _ = checkpoints.restore(11, abstract_state(config, MeshConfig(4, 2, 1)))
    assert_same_bits(again, state)
    assert_same_bits(load_run(tmp_path).params, stacked.params)


def test_a_run_begins_to_look_for_spikes_on_its_way_and_ceases_to(
    state: TrainState, config: PretrainConfig, tmp_path: Path
) -> None:
    training = dataclasses.replace(config.training, max_grad_norm_ratio=10.0)
    looking = dataclasses.replace(config, training=training)
    with Checkpoints(tmp_path, config, tokenizer_fingerprint="abc") as checkpoints:
        checkpoints.save(1, state, position=DataPosition(8), score=None)
        checkpoints.wait()
        begun, _ = checkpoints.restore(1, abstract_state(looking, MeshConfig(8)))
        assert begun.usual_grad_norm == 0.0 and begun.usual_grad_norm.sharding.is_fully_replicated
        begun = begun.replace(usual_grad_norm=begun.usual_grad_norm + 3.0)
        checkpoints.save(2, begun, position=DataPosition(16), score=None)
        checkpoints.wait()
        goes_on, _ = checkpoints.restore(2, abstract_state(looking, MeshConfig(8)))
        assert goes_on.usual_grad_norm == 3.0
        ceased, _ = checkpoints.restore(2, abstract_state(config, MeshConfig(8)))
        assert ceased.usual_grad_norm is None
        jax.tree.map(np.testing.assert_array_equal, ceased.params, state.params)


def test_parameters_are_read_alone_bit_for_bit_onto_one_device_and_without_a_warning(
    run_dir: Path, state: TrainState, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        params = load_run(run_dir).params
    assert_same_bits(params, state.params)
    devices = {device for leaf in jax.tree.leaves(params) for device in leaf.devices()}
    assert devices == {jax.devices()[0]}
    assert caplog.messages == []


def test_a_run_is_loaded_with_its_config_and_newest_parameters(
    run_dir: Path, state: TrainState, config: PretrainConfig
) -> None:
    run = load_run(run_dir)
    assert (run.config, run.step) == (config, 10)
    assert_same_bits(run.params, state.params)


def test_an_older_checkpoint_is_loaded_with_the_config_it_was_made_with(
    run_dir: Path, config: PretrainConfig
) -> None:
    run = load_run(run_dir, step=9)
    assert (run.config, run.step) == (other_rate(config), 9)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(run.params))


def test_a_step_that_is_not_kept_is_an_error_that_lists_those_that_are(run_dir: Path) -> None:
    with pytest.raises(UserError) as error:
        load_run(run_dir, step=8)
    assert str(error.value) == (
        f"--step 8: must be a checkpoint that {run_dir} keeps, found those of 9, 10; use one of "
        "them, or leave it out for the newest, or the best of fine-tuning"
    )


def test_a_checkpoint_knows_its_tokenizer(run_dir: Path) -> None:
    run = load_run(run_dir)
    run.check_tokenizer("abc")
    with pytest.raises(UserError, match=r"step 10 was made with .*abc\), found another one \(xyz"):
        run.check_tokenizer("xyz")


@pytest.mark.parametrize("unfinished", ["", "12.orbax-checkpoint-tmp"])
def test_a_run_that_has_saved_nothing_yet_is_an_error(tmp_path: Path, unfinished: str) -> None:
    if unfinished:
        (tmp_path / "checkpoints" / unfinished / "state").mkdir(parents=True)
    with pytest.raises(UserError, match="must hold a complete checkpoint in checkpoints/, found"):
        load_run(tmp_path)


def test_the_layout_of_an_earlier_version_is_an_error_and_no_traceback(
    tmp_path: Path, config: PretrainConfig
) -> None:
    old = {"params": {"encoder": {"layers": {"layer": {"bias": jnp.zeros((1, 3))}}}}}
    with Checkpoints(tmp_path, config, tokenizer_fingerprint="abc") as checkpoints:
        checkpoints.save(1, old, position=DataPosition(0), score=None)
        checkpoints.wait()
        with pytest.raises(UserError, match="found the layout of an earlier one"):
            checkpoints.restore(1, abstract_state(config, MeshConfig()))
    with pytest.raises(UserError, match="go on with the version that wrote it"):
        load_run(tmp_path)


def test_what_is_saved_is_the_state_of_that_moment_though_its_memory_is_used_again(
    tmp_path: Path,
) -> None:
    step = jax.jit(lambda state: jax.tree.map(lambda leaf: leaf + 1, state), donate_argnums=0)
    state = step({"params": jnp.zeros((512, 512))})
    abstract = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), state)
    with Checkpoints(tmp_path, PretrainConfig(), tokenizer_fingerprint="abc") as checkpoints:
        checkpoints.save(1, state, position=DataPosition(0), score=None)
        for _ in range(5):
            state = step(state)
        checkpoints.wait()
        restored, _ = checkpoints.restore(1, abstract)
    np.testing.assert_array_equal(restored["params"], np.ones((512, 512)))
    np.testing.assert_array_equal(state["params"], np.full((512, 512), 6.0))


def save_steps(folder: Path, config: CheckpointConfig, losses: dict[int, float | None]) -> set[int]:
    """Save a tiny state at each step; return the steps that are left."""
    pretrain = PretrainConfig(checkpoint=config)
    with Checkpoints(folder, pretrain, tokenizer_fingerprint="abc") as checkpoints:
        for step, loss in losses.items():
            state = {"params": jnp.float32(step)}
            checkpoints.save(step, state, position=DataPosition(step), score=loss)
    return {int(path.name) for path in (folder / "checkpoints").iterdir()}


def test_the_newest_and_the_best_are_kept(tmp_path: Path) -> None:
    losses = {1: 5.0, 2: 2.0, 3: 3.0, 4: 4.0, 5: None}
    config = CheckpointConfig(keep_latest=2, keep_best=1)
    assert save_steps(tmp_path / "a", config, losses) == {2, 4, 5}
    config = CheckpointConfig(keep_latest=1, keep_best=2)
    assert save_steps(tmp_path / "b", config, losses) == {2, 3, 5}
    config = CheckpointConfig(keep_latest=2, keep_best=0)
    assert save_steps(tmp_path / "c", config, losses) == {4, 5}


def test_checkpoints_at_multiples_of_a_number_of_steps_are_kept_for_good(tmp_path: Path) -> None:
    config = CheckpointConfig(every_steps=2, keep_latest=1, keep_best=0, keep_every_steps=4)
    losses = dict.fromkeys(range(2, 15, 2))
    assert save_steps(tmp_path, config, losses) == {4, 8, 12, 14}


def test_a_resumed_run_still_knows_which_of_its_checkpoints_was_the_best(tmp_path: Path) -> None:
    config = CheckpointConfig(keep_latest=1, keep_best=1)
    assert save_steps(tmp_path, config, {1: 2.0, 2: 3.0}) == {1, 2}
    assert save_steps(tmp_path, config, {3: 2.5, 4: 2.6}) == {1, 4}
    assert save_steps(tmp_path, config, {5: 1.9, 6: 2.0}) == {5, 6}


def test_of_equal_scores_the_first_is_kept_whether_or_not_the_run_was_interrupted(
    tmp_path: Path,
) -> None:
    config = CheckpointConfig(keep_latest=1, keep_best=1)
    assert save_steps(tmp_path / "one", config, {1: 2.0, 2: 2.0, 3: 2.0, 4: 2.5}) == {1, 4}
    save_steps(tmp_path / "two", config, {1: 2.0, 2: 2.0})
    assert save_steps(tmp_path / "two", config, {4: 2.5}) == {1, 4}
    assert save_steps(tmp_path / "none", config, {1: None, 2: None, 3: None}) == {3}


def test_a_loss_that_is_no_number_is_never_the_best(tmp_path: Path) -> None:
    config = CheckpointConfig(keep_latest=1, keep_best=1)
    assert save_steps(tmp_path, config, {1: 2.0, 2: math.nan, 3: None}) == {1, 3}


def test_a_position_remembers_the_order_of_rows_of_every_length() -> None:
    short = DataPosition(0).of_length(128).after(80)
    assert short == DataPosition(80, 128)
    long = short.of_length(512).after(8)
    assert long == DataPosition(8, 512, ((128, 80),))
    assert long.of_length(512) == long
    assert long.of_length(128) == DataPosition(80, 128, ((512, 8),))


@pytest.mark.parametrize("position", [DataPosition(80, 16), DataPosition(8, 16, ((128, 80),))])
def test_a_position_comes_back_as_it_was_saved(
    position: DataPosition, config: PretrainConfig, tmp_path: Path
) -> None:
    state = {"params": jnp.zeros(1)}
    with Checkpoints(tmp_path, config, tokenizer_fingerprint="abc") as checkpoints:
        checkpoints.save(1, state, position=position, score=None)
        checkpoints.wait()
        _, restored = checkpoints.restore(1, jax.eval_shape(lambda: state))
    assert restored == position


def test_a_position_of_an_earlier_version_is_of_the_length_that_its_config_had(
    config: PretrainConfig, tmp_path: Path
) -> None:
    state = {"params": jnp.zeros(1)}
    with Checkpoints(tmp_path, config, tokenizer_fingerprint="abc") as checkpoints:
        checkpoints.save(1, state, position=DataPosition(80), score=None)
        checkpoints.wait()
        (file,) = (tmp_path / "checkpoints" / "1" / "data").glob("metadata")
        file.write_text('{"next_example": 80}')
        _, restored = checkpoints.restore(1, jax.eval_shape(lambda: state))
    assert restored == DataPosition(80, config.data.sequence_length)


def test_a_checkpoint_of_other_text_is_known_as_such(tmp_path):
    def checkpoints(text: str) -> Checkpoints:
        return Checkpoints(
            tmp_path, PretrainConfig(), tokenizer_fingerprint="abc", text_fingerprint=text
        )

    with checkpoints("old") as first:
        first.save(1, {"params": jnp.ones(2)}, position=DataPosition(8, 16), score=None)
    for text, is_other in (("old", False), ("new", True)):
        with checkpoints(text) as later:
            assert later.is_of_other_text(1) is is_other
