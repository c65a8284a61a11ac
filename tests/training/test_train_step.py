"""One step of training: its loss and gradient, what it counts, and what it refuses to apply."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from spanbert_jax.config import ObjectiveConfig, PretrainConfig
from spanbert_jax.data.batch import PretrainBatch
from spanbert_jax.model.losses import WeightedSums
from spanbert_jax.model.pretraining import SpanBert
from spanbert_jax.training.assembly import Assembly
from spanbert_jax.training.mesh import make_mesh
from spanbert_jax.training.objective import (
    PretrainObjective,
    mean_metrics,
    model_inputs,
    total_loss,
)
from spanbert_jax.training.pretraining import build
from spanbert_jax.training.train_step import TrainState, init_state, make_train_step


@pytest.fixture(scope="module")
def batch(make_batch: Callable[[int], PretrainBatch]) -> PretrainBatch:
    return jax.tree.map(jnp.asarray, make_batch(0))


def objective_of(config: PretrainConfig, **fields: Any) -> PretrainObjective:
    """Without dropout."""
    model = dataclasses.replace(config.model, dropout_rate=0.0, attention_dropout_rate=0.0)
    return PretrainObjective(SpanBert(model, config.compute), ObjectiveConfig(**fields))


# A transformation whose state is the gradient that it was given.
KEEP_GRADIENT = optax.trace(decay=0.0)


def step_with_gradient(
    objective: PretrainObjective, batch: PretrainBatch, num_microbatches: int
) -> tuple[Any, dict[str, Any]]:
    """Gradient and metrics of a first step."""
    init = jax.jit(lambda: nn.unbox(init_state(objective, KEEP_GRADIENT, batch=batch, seed=0)))
    step = make_train_step(
        objective, KEEP_GRADIENT, schedule=optax.constant_schedule(0.0),
        num_microbatches=num_microbatches, seed=0,
    )  # fmt: skip
    state, metrics = jax.jit(step)(init(), batch)
    return state.optimizer_state.trace, metrics


@pytest.fixture(scope="module")
def whole_batch(config: PretrainConfig, batch: PretrainBatch) -> tuple[Any, dict[str, Any]]:
    return step_with_gradient(objective_of(config, span_boundary_weight=0.5), batch, 1)


@pytest.mark.parametrize("num_microbatches", [2, 4])
def test_microbatches_of_unequal_numbers_of_targets_have_the_gradient_of_the_batch(
    num_microbatches: int, config: PretrainConfig, batch: PretrainBatch, whole_batch
) -> None:
    for weights in (batch.masked_weights, batch.boundary_weights):
        parts = weights.reshape(-1, num_microbatches, weights.shape[-1]).sum(axis=(0, 2))
        assert len(set(parts.tolist())) > 1
    gradient, metrics = step_with_gradient(
        objective_of(config, span_boundary_weight=0.5), batch, num_microbatches
    )
    expected_gradient, expected = whole_batch
    # Float32 sums in another order, of terms up to 1.
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
        gradient, expected_gradient,
    )  # fmt: skip
    assert max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(gradient)) > 0.01
    assert metrics.keys() == expected.keys()
    for name in metrics:
        np.testing.assert_allclose(metrics[name], expected[name], rtol=1e-5)


def numpy_sums(logits: jax.Array, targets: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """Cross-entropy and hits over the slots of weight 1, in float64."""
    x = np.asarray(logits, np.float64)
    log_p = x - np.log(np.exp(x).sum(axis=-1, keepdims=True))
    losses = -np.take_along_axis(log_p, targets[..., None], axis=-1)[..., 0]
    return float((losses * weights).sum()), float(((x.argmax(-1) == targets) * weights).sum())


class NumpyLoss(NamedTuple):
    mlm: float
    mlm_hits: float
    sbo: float
    sbo_hits: float

    @property
    def total(self) -> float:
        # 20 targets of the masked language model, 12 of the span boundary, whose weight is 0.5.
        return self.mlm / 20 + 0.5 * self.sbo / 13


def test_loss_gradient_and_metrics_of_a_step_are_those_of_numpy(
    config: PretrainConfig, batch: PretrainBatch, whole_batch
) -> None:
    objective = objective_of(config)
    params = jax.jit(lambda: nn.unbox(objective.init(jax.random.key(0), batch)))()
    apply = jax.jit(lambda params: objective.model.apply({"params": params}, **model_inputs(batch)))
    targets, mlm_weights, sbo_weights = map(
        np.asarray, (batch.masked_ids, batch.masked_weights, batch.boundary_weights)
    )

    def loss(params: Any) -> NumpyLoss:
        logits: Any = apply(params)
        mlm = numpy_sums(logits.mlm, targets, mlm_weights)
        return NumpyLoss(*mlm, *numpy_sums(logits.span_boundary, targets, sbo_weights))

    gradient, metrics = whole_batch
    squares = sum(float((np.asarray(leaf) ** 2).sum()) for leaf in jax.tree.leaves(gradient))
    at = loss(params)
    expected = {
        "loss": at.total,
        "mlm_loss": at.mlm / 20,
        "sbo_loss": at.sbo / 12,
        "mlm_accuracy": at.mlm_hits / 20,
        "sbo_accuracy": at.sbo_hits / 12,
        "grad_norm": np.sqrt(squares),
        "learning_rate": 0.0,
        "skipped_steps": 0.0,
    }
    assert metrics.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(metrics[name], value, rtol=1e-5, err_msg=name)
    # Along its gradient a loss grows by the square of it.
    small = 1e-3
    further, back = (
        loss(jax.tree.map(lambda p, g, by=by: p + by * g, params, gradient)).total
        for by in (small, -small)
    )
    assert (further - back) / (2 * small) == pytest.approx(squares, rel=0.01)


SUMS = {"mlm": WeightedSums(*map(jnp.float32, (30.0, 5.0, 20.0))),
        "sbo": WeightedSums(*map(jnp.float32, (26.0, 3.0, 12.0)))}  # fmt: skip


@pytest.mark.parametrize(
    ("normalization", "expected"),
    [
        ("original", 30 / 20 + 0.5 * 26 / 13),  # the released criterion: SBO targets plus one
        ("paper", (30 + 0.5 * 26) / 20),
    ],
)
def test_loss_is_normalized_as_in_the_released_code_or_as_in_the_paper(
    normalization: str, expected: float, config: PretrainConfig, batch: PretrainBatch
) -> None:
    objective = objective_of(config, loss_normalization=normalization, span_boundary_weight=0.5)
    np.testing.assert_allclose(total_loss(SUMS, objective.scales(batch)), expected, rtol=1e-6)


def test_means_are_over_each_objectives_own_targets() -> None:
    expected = {"mlm_loss": 1.5, "mlm_accuracy": 0.25, "sbo_loss": 26 / 12, "sbo_accuracy": 0.25}
    actual = {name: float(value) for name, value in mean_metrics(SUMS).items()}
    assert actual == pytest.approx(expected)


@pytest.mark.parametrize("normalization", ["original", "paper"])
def test_a_batch_without_targets_has_loss_zero(
    normalization: str, config: PretrainConfig, batch: PretrainBatch
) -> None:
    nothing = jnp.zeros_like(batch.masked_weights)
    empty = batch._replace(masked_weights=nothing, boundary_weights=nothing)
    zeros = WeightedSums(*[jnp.float32(0.0)] * 3)
    sums = {"mlm": zeros, "sbo": zeros}
    scales = objective_of(config, loss_normalization=normalization).scales(empty)
    assert total_loss(sums, scales) == 0.0
    assert {float(mean) for mean in mean_metrics(sums).values()} == {0.0}


@pytest.fixture(scope="module")
def pretraining(config: PretrainConfig) -> Assembly:
    """As the command builds it, with dropout, on one device."""
    return build(config, make_mesh(config.mesh, jax.devices()[:1]))


Step = Callable[[TrainState], tuple[TrainState, dict[str, Any]]]


@pytest.fixture(scope="module")
def step(pretraining: Assembly, make_batch: Callable[[int], PretrainBatch]) -> Step:
    """One step on the same batch, from a state on the host to a state on the host."""
    (batch,) = pretraining.on_devices([make_batch(0)])
    shardings = jax.tree.map(lambda leaf: leaf.sharding, pretraining.abstract_state)

    def step(state: TrainState) -> tuple[TrainState, dict[str, Any]]:
        # Placed as the loop's states are: for others jit would compile once more.
        return jax.device_get(pretraining.train_step(jax.device_put(state, shardings), batch))

    return step


@pytest.fixture(scope="module")
def first_state(pretraining: Assembly) -> TrainState:
    return jax.device_get(pretraining.init())


def test_steps_count_and_follow_the_schedule(step: Step, first_state: TrainState) -> None:
    state, rates = first_state, []
    for number in range(4):
        assert state.step == number
        state, metrics = step(state)
        rates.append(metrics["learning_rate"])
    # Peak 0.02 after 2 steps of warmup, then 0.02 x (1 - step / 100).
    np.testing.assert_allclose(rates, [0.01, 0.01, 0.02, 0.0194], rtol=1e-5)
    assert (state.step, state.skipped_steps) == (4, 0)


def test_loss_falls_when_a_batch_is_repeated(step: Step, first_state: TrainState) -> None:
    state, losses = first_state, []
    for _ in range(30):
        state, metrics = step(state)
        losses.append(metrics["loss"])
    # By chance: ln 50 = 3.9 for each objective, of the second 12 of 13.
    assert 7.0 < losses[0] < 8.0
    assert np.mean(losses[-5:]) < 3.0


def test_dropout_is_a_function_of_the_step(step: Step, first_state: TrainState) -> None:
    states = [first_state.replace(step=np.int32(number)) for number in (0, 1, 2, 1)]
    losses = [float(step(state)[1]["loss"]) for state in states]
    assert losses[1] == losses[3]
    assert len(set(losses)) == 3


def test_evaluation_drops_nothing(
    config: PretrainConfig, pretraining: Assembly, first_state: TrainState, batch: PretrainBatch
) -> None:
    undropped = jax.jit(lambda params: objective_of(config).sums(params, batch, None))
    expected = undropped(first_state.params)
    actual = pretraining.eval_step(first_state.params, batch)
    np.testing.assert_allclose(actual["mlm"], expected["mlm"], rtol=1e-6)
    np.testing.assert_allclose(actual["sbo"], expected["sbo"], rtol=1e-6)


def test_a_spike_is_skipped_once_it_is_known_what_is_usual() -> None:
    quadratic = Quadratic()
    optimizer = optax.sgd(0.0)
    step = jax.jit(
        make_train_step(
            quadratic, optimizer, schedule=lambda _: 0.0, num_microbatches=1, seed=0,
            max_norm_ratio=4.0,
        )
    )  # fmt: skip
    state = init_state(quadratic, optimizer, batch=jnp.float32(1.0), seed=0, looks_for_spikes=True)
    # The gradient is the batch: 99 steps of 2, a spike among them, which is taken.
    for number in range(100):
        state, _ = step(state, jnp.float32(202.0 if number == 50 else 2.0))
    assert state.skipped_steps == 0
    np.testing.assert_allclose(state.usual_grad_norm, 4.0, rtol=1e-5)
    skipped, metrics = step(state, jnp.float32(16.1))
    assert (skipped.skipped_steps, skipped.step, metrics["skipped_steps"]) == (1, 101, 1)
    assert skipped.usual_grad_norm == state.usual_grad_norm
    taken, _ = step(skipped, jnp.float32(15.9))
    assert taken.skipped_steps == 1
    np.testing.assert_allclose(taken.usual_grad_norm, 4.0 + (15.9 - 4.0) / 100, rtol=1e-5)
    broken, _ = step(taken, jnp.float32(np.nan))
    assert broken.skipped_steps == 2
    assert broken.usual_grad_norm == taken.usual_grad_norm


def test_a_run_that_begins_to_look_for_spikes_on_its_way_takes_what_it_finds_as_usual() -> None:
    step = make_train_step(
        Quadratic(), optax.sgd(0.0), schedule=lambda _: 0.0, num_microbatches=1, seed=0,
        max_norm_ratio=4.0,
    )  # fmt: skip
    state = init_state(
        Quadratic(), optax.sgd(0.0), batch=jnp.float32(1.0), seed=0, looks_for_spikes=True
    )
    state = state.replace(step=jnp.int32(5_000))
    for norm, skipped in ((2.0, 0), (3.0, 0), (30.0, 1), (2.0, 1)):
        state, _ = step(state, jnp.float32(norm))
        assert state.skipped_steps == skipped, norm


class Quadratic:
    """A loss whose gradient is the batch."""

    def init(self, key: jax.Array, batch: jax.Array) -> dict:
        return {"x": jnp.zeros(())}

    def sums(self, params: dict, batch: jax.Array, dropout_key: jax.Array | None) -> dict:
        return {"line": WeightedSums(batch * params["x"], None, jnp.float32(1.0))}

    def scales(self, batch: jax.Array) -> dict:
        return {"line": jnp.float32(1.0)}


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_a_gradient_that_is_not_finite_changes_nothing_and_is_counted(
    broken: float, step: Step, first_state: TrainState
) -> None:
    # After a step, so that the moments are not zero.
    state, _ = step(first_state)
    params = jax.tree.map(np.copy, state.params)
    params["mlm_head"]["transform"]["dense"]["bias"][0] = broken
    after, metrics = step(state.replace(params=params))
    assert not np.isfinite(metrics["grad_norm"])
    assert (after.step, after.skipped_steps, metrics["skipped_steps"]) == (2, 1, 1)
    assert_same_bits((after.params, after.optimizer_state), (params, state.optimizer_state))


def test_after_a_skipped_step_training_goes_on_as_if_it_had_not_been(
    step: Step, first_state: TrainState
) -> None:
    state, _ = step(first_state)
    broken = jax.tree.map(lambda leaf: np.full_like(leaf, np.nan), state.params)
    skipped, _ = step(state.replace(params=broken))
    actual, metrics = step(skipped.replace(params=state.params))
    # Dropout follows the number of the step, skipped ones included; the learning rate does not.
    expected, _ = step(state.replace(step=np.int32(2)))
    assert (actual.step, actual.skipped_steps) == (3, 1)
    assert metrics["learning_rate"] == np.float32(0.01)
    assert_same_bits(
        (actual.params, actual.optimizer_state), (expected.params, expected.optimizer_state)
    )
    assert np.any(actual.params["mlm_head"]["bias"] != state.params["mlm_head"]["bias"])


def assert_same_bits(actual: Any, expected: Any) -> None:
    jax.tree.map(np.testing.assert_array_equal, actual, expected)
