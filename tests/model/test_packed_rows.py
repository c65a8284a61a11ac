"""A packed row is to the model what its runs are, each alone in a row."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from spanbert_jax.config import ComputeConfig, ModelConfig, ObjectiveConfig
from spanbert_jax.data.batch import PretrainBatch, empty_batch
from spanbert_jax.model.pretraining import SpanBert
from spanbert_jax.training.objective import PretrainObjective, model_inputs, total_loss

LENGTH, SLOTS, VOCAB = 32, 8, 50
CLS, SEP, MASK = 2, 3, 4
RUNS = [[6, 11, 4], [30], [1, 20], [3, 1, 5, 2, 9]]
"""Lengths of the runs in each row."""
POSITIONS = ("masked_positions", "boundary_left", "boundary_right")
Fields = dict[str, list[int]]


def random_run(rng: np.random.Generator, length: int) -> tuple[np.ndarray, list[Fields]]:
    """[CLS] tokens [SEP], one or two of which are hidden; and the slots of these."""
    tokens = np.array([CLS, *rng.integers(5, VOCAB, length), SEP])
    first = int(rng.integers(1, length + 1))
    hidden = [first, first + 1][: min(2, length + 1 - first)]
    has_boundary = first > 1 and hidden[-1] < length
    slots = []
    for column in hidden:
        boundary = (first - 1, hidden[-1] + 1, column - first, 1) if has_boundary else (0, 0, 0, 0)
        names = ("boundary_left", "boundary_right", "boundary_offset", "boundary_weights")
        target = {"masked_positions": column, "masked_ids": tokens[column], "masked_weights": 1}
        slots.append(target | dict(zip(names, boundary, strict=True)))
    tokens[hidden] = MASK
    return tokens, slots


def batch_of(rows: list[list[tuple[np.ndarray, list[Fields]]]]) -> PretrainBatch:
    """Rows of these runs, one after the other."""
    batch = empty_batch(len(rows), LENGTH, SLOTS)
    for i, runs in enumerate(rows):
        start = slot = 0
        for number, (tokens, slots) in enumerate(runs):
            here = slice(start, start + len(tokens))
            batch.token_ids[i, here] = tokens
            batch.document_ids[i, here] = number + 1
            batch.position_ids[i, here] = np.arange(len(tokens))
            for target in slots:
                for name, value in target.items():
                    is_place = name in POSITIONS and value > 0
                    getattr(batch, name)[i, slot] = value + start * is_place
                slot += 1
            start += len(tokens)
    return batch


@pytest.fixture(scope="module")
def objective() -> PretrainObjective:
    config = ModelConfig(
        vocab_size=VOCAB, hidden_size=16, num_layers=3, num_heads=4, mlp_size=32, max_positions=32,
        num_segments=1, boundary_offset_size=6, max_boundary_offsets=4,
    )  # fmt: skip
    return PretrainObjective(SpanBert(config, ComputeConfig(dtype="float32")), ObjectiveConfig())


@pytest.fixture(scope="module")
def params(objective: PretrainObjective) -> Any:
    example = jax.tree.map(jnp.asarray, empty_batch(1, LENGTH, SLOTS))
    initial = nn.unbox(jax.jit(objective.init)(jax.random.key(0), example))
    # Larger than the initialisation, so that differences show.
    return jax.tree.map(lambda leaf: leaf * 8 if leaf.ndim > 1 else leaf + 0.1, initial)


@pytest.fixture(scope="module")
def packed_and_single() -> tuple[PretrainBatch, PretrainBatch]:
    """The same runs several in a row, and each in a row of its own."""
    rng = np.random.default_rng(0)
    rows = [[random_run(rng, length) for length in lengths] for lengths in RUNS]
    return batch_of(rows), batch_of([[run] for row in rows for run in row])


def hidden_states(objective: PretrainObjective, params: Any, batch: PretrainBatch) -> np.ndarray:
    @jax.jit
    def apply(params: Any, batch: PretrainBatch) -> Any:
        inputs = model_inputs(batch)
        return objective.model.apply({"params": params}, **inputs, mutable=["intermediates"])[1]

    found = apply(params, jax.tree.map(jnp.asarray, batch))
    return np.asarray(found["intermediates"]["encoder"]["hidden_states"])


def test_hidden_states_of_a_run_are_those_of_the_run_alone(
    objective: PretrainObjective, params: Any, packed_and_single: tuple
) -> None:
    packed, single = packed_and_single
    of_packed, of_single = (hidden_states(objective, params, batch) for batch in packed_and_single)
    run = 0
    for row, lengths in enumerate(RUNS):
        start = 0
        for length in lengths:
            here = of_packed[:, row, start : start + length + 2]
            alone = of_single[:, run, : length + 2]
            # Sums over more keys, all but the run's with weight 0, are rounded otherwise.
            np.testing.assert_allclose(here, alone, rtol=1e-5, atol=2e-5)
            start, run = start + length + 2, run + 1
    assert run == len(single.token_ids) > len(packed.token_ids)


def test_losses_of_packed_rows_are_the_sums_over_their_runs_and_so_are_gradients(
    objective: PretrainObjective, params: Any, packed_and_single: tuple
) -> None:
    def loss_and_sums(params: Any, batch: PretrainBatch) -> tuple[jax.Array, Any]:
        sums = objective.sums(params, batch, None)
        return total_loss(sums, objective.scales(batch)), sums

    value_and_gradient = jax.jit(jax.value_and_grad(loss_and_sums, has_aux=True))
    ((loss, sums), gradients), ((loss_of_runs, sums_of_runs), gradients_of_runs) = (
        value_and_gradient(params, jax.tree.map(jnp.asarray, batch)) for batch in packed_and_single
    )
    np.testing.assert_allclose(loss, loss_of_runs, rtol=1e-5)
    for name in ("mlm", "sbo"):
        assert sums[name].weight > 3
        for field, expected in zip(sums[name], sums_of_runs[name], strict=True):
            np.testing.assert_allclose(field, expected, rtol=1e-5)
    jax.tree.map(
        lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5),
        gradients, gradients_of_runs,
    )  # fmt: skip


def test_a_run_that_did_not_restart_its_positions_would_be_another(
    objective: PretrainObjective, params: Any, packed_and_single: tuple
) -> None:
    packed, _ = packed_and_single
    ongoing = packed._replace(position_ids=np.tile(np.arange(LENGTH), (len(RUNS), 1)))
    one_document = packed._replace(document_ids=np.minimum(packed.document_ids, 1))
    before = hidden_states(objective, params, packed)
    for changed in (ongoing, one_document):
        after = hidden_states(objective, params, changed)
        # The second run of the first row.
        assert np.abs(after - before)[-1, 0, 8:21].max() > 1e-2
