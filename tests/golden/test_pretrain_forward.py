"""The model, its losses and its gradients are those of the original code, number by number.

Golden numbers of the original SpanBERT on random weights: `no_nsp` (the published recipe), `nsp`.
All within 2e-5 in float32, where the original's own error, float32 beside float64, is about 1e-6.
"""

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from spanbert_jax.config import ComputeConfig, ModelConfig, ObjectiveConfig
from spanbert_jax.data.batch import PretrainBatch
from spanbert_jax.model.heads import Pooler
from spanbert_jax.model.pretraining import PretrainLogits, SpanBert
from spanbert_jax.training.objective import (
    PretrainObjective,
    Sums,
    mean_metrics,
    model_inputs,
    total_loss,
)
from spanbert_jax.weights.matching import params_from, tensors_from
from spanbert_jax.weights.names import FAIRSEQ

TOLERANCE = 2e-5
Arrays = Mapping[str, np.ndarray]


class Golden(NamedTuple):
    """What the original computed, and what ours does of the same weights and batch."""

    batch: PretrainBatch
    pair_places: np.ndarray
    """Of every slot that is a span-boundary target: row, slot, pair, offset."""
    outputs: Arrays
    gradients: Arrays
    logits: PretrainLogits
    hidden_states: tuple[jax.Array, ...]
    pooled: jax.Array | None
    sums: Sums
    scales: dict[str, jax.Array]
    our_gradients: Arrays
    """By the original's names."""


@pytest.fixture(scope="module", params=["no_nsp", "nsp"])
def golden(request: pytest.FixtureRequest, reference: Path) -> Golden:
    folder = reference / "pretrain_forward" / request.param
    arrays = {name: dict(np.load(folder / f"{name}.npz")) for name in ("batch", "outputs", "grads")}
    sizes = json.loads((folder / "config.json").read_text())
    model = SpanBert(model_config(sizes), ComputeConfig(dtype="float32"))
    weights = dict(np.load(folder / "weights.npz"))
    params = params_from(weights, names=FAIRSEQ, model=model.config)
    batch, places = to_our_batch(arrays["batch"])
    device_batch = jax.tree.map(jnp.asarray, batch)
    objective = PretrainObjective(model, ObjectiveConfig(span_boundary_weight=sizes["sbo_weight"]))
    scales = objective.scales(device_batch)

    def loss(params: Any) -> tuple[jax.Array, Sums]:
        sums = objective.sums(params, device_batch, None)
        return total_loss(sums, scales), sums

    apply = jax.jit(partial(model.apply, mutable=["intermediates"]))
    logits, state = apply({"params": params}, **model_inputs(device_batch))
    gradients, sums = jax.jit(jax.grad(loss, has_aux=True))(params)
    hidden_states = state["intermediates"]["encoder"]["hidden_states"]
    pooled = None
    if sizes["nsp"]:
        pooler = Pooler(model.config, jnp.dtype("float32"))
        pooled = pooler.apply({"params": jax.device_put(params["pooler"])}, hidden_states[-1])
    return Golden(
        batch, places, arrays["outputs"], arrays["grads"], logits, hidden_states, pooled, sums,
        scales,
        dict(tensors_from(gradients, names=FAIRSEQ, model=model.config)),
    )  # fmt: skip


def model_config(sizes: Mapping[str, Any]) -> ModelConfig:
    return ModelConfig(
        vocab_size=sizes["vocab_size"], hidden_size=sizes["hidden"], num_layers=sizes["layers"],
        num_heads=sizes["heads"], mlp_size=sizes["inter"], max_positions=sizes["max_pos"],
        layer_norm_epsilon=sizes["layer_norm_eps"], dropout_rate=sizes["dropout"],
        attention_dropout_rate=sizes["dropout"], max_boundary_offsets=sizes["max_pair_targets"],
        boundary_offset_size=sizes["pair_position_embedding_size"],
        pooler=sizes["nsp"], next_sentence_head=sizes["nsp"],
    )  # fmt: skip


def to_our_batch(theirs: Arrays) -> tuple[PretrainBatch, np.ndarray]:
    """One slot for every masked token; the original has 15 for every pair of boundaries."""
    targets, (batch_size, length) = theirs["mlm_targets"], theirs["input_ids"].shape
    num_slots = int((targets != 0).sum(axis=1).max())
    slots = np.zeros((7, batch_size, num_slots), np.int32)
    positions, ids, weights, left, right, offset, boundary = slots
    places = []
    for row in range(batch_size):
        masked = np.flatnonzero(targets[row])
        positions[row, : len(masked)], weights[row, : len(masked)] = masked, 1
        ids[row, : len(masked)] = targets[row, masked]
        for pair, (first, last) in enumerate(theirs["pairs"][row]):
            for j in np.flatnonzero(theirs["pair_targets"][row, pair]):
                slot = int(np.flatnonzero(masked == first + 1 + j)[0])
                assert ids[row, slot] == theirs["pair_targets"][row, pair, j]
                left[row, slot], right[row, slot] = first, last
                offset[row, slot], boundary[row, slot] = j, 1
                places.append((row, slot, pair, j))
    labels = theirs.get("nsp_targets", np.full(batch_size, -1))
    batch = PretrainBatch(
        token_ids=theirs["input_ids"].astype(np.int32),
        segment_ids=theirs["segment_ids"].astype(np.int32),
        document_ids=theirs["attention_mask"].astype(np.int32),
        position_ids=np.tile(np.arange(length, dtype=np.int32), (batch_size, 1)),
        masked_positions=positions, masked_ids=ids, masked_weights=weights,
        boundary_left=left, boundary_right=right, boundary_offset=offset,
        boundary_weights=boundary, next_sentence_label=labels.astype(np.int32),
    )  # fmt: skip
    return batch, np.array(places)


def assert_close(name: str, actual: Any, expected: Any) -> None:
    """Within the tolerance; `pytest -s tests/golden` shows how close."""
    print(f"{name}: largest difference {np.abs(np.asarray(actual) - expected).max():.1e}")
    np.testing.assert_allclose(actual, expected, rtol=0, atol=TOLERANCE, err_msg=name)


def test_embeddings_and_every_hidden_layer_are_the_originals(golden: Golden) -> None:
    real = golden.batch.document_ids == 1
    num_layers = len(golden.hidden_states) - 1
    names = ["hidden_0_embeddings", *(f"hidden_{i}" for i in range(1, num_layers + 1))]
    assert set(names) == {name for name in golden.outputs if name.startswith("hidden_")}
    for name, hidden in zip(names, golden.hidden_states, strict=True):
        assert_close(name, np.asarray(hidden)[real], golden.outputs[name][real])


def test_masked_language_logits_are_the_originals(golden: Golden) -> None:
    used = golden.batch.masked_weights == 1
    rows = np.nonzero(used)[0]
    expected = golden.outputs["mlm_logits"][rows, golden.batch.masked_positions[used]]
    assert_close("mlm_logits", np.asarray(golden.logits.mlm)[used], expected)


def test_span_boundary_logits_are_the_originals(golden: Golden) -> None:
    row, slot, pair, offset = golden.pair_places.T
    assert len(row) == golden.batch.boundary_weights.sum() > 0
    pairs_in_row = len(golden.outputs["sbo_logits"]) // len(golden.batch.token_ids)
    expected = golden.outputs["sbo_logits"][row * pairs_in_row + pair, offset]
    assert_close("sbo_logits", np.asarray(golden.logits.span_boundary)[row, slot], expected)


def test_next_sentence_logits_are_the_originals(golden: Golden) -> None:
    if "nsp_logits" in golden.outputs:
        assert_close("nsp_logits", golden.logits.next_sentence, golden.outputs["nsp_logits"])
    else:
        assert golden.logits.next_sentence is None


def test_the_pooled_state_is_the_originals(golden: Golden) -> None:
    assert ("pooled" in golden.outputs) == (golden.pooled is not None)
    if golden.pooled is not None:
        assert_close("pooled", golden.pooled, golden.outputs["pooled"])


def test_every_loss_and_the_total_are_the_originals(golden: Golden) -> None:
    outputs, sums, scales = golden.outputs, golden.sums, golden.scales
    # Sums over some 30 targets of several nats: relative, in units of the means compared below.
    np.testing.assert_allclose(sums["mlm"].loss, outputs["mlm_loss_sum"], rtol=TOLERANCE)
    np.testing.assert_allclose(sums["sbo"].loss, outputs["sbo_loss_sum"], rtol=TOLERANCE)
    assert sums["mlm"].weight == outputs["n_mlm_targets"]
    assert sums["sbo"].weight + 1 == outputs["sbo_denominator"]
    assert_close("mlm_loss", sums["mlm"].loss * scales["mlm"], outputs["mlm_loss"])
    weighted = outputs["sbo_loss"] * outputs["sbo_weight"]
    assert_close("sbo_loss", sums["sbo"].loss * scales["sbo"], weighted)
    for name in ("total_loss", "total_loss_f64"):
        assert_close(name, total_loss(sums, scales), outputs[name])
    assert ("nsp" in sums) == ("nsp_loss" in outputs)
    if "nsp" in sums:
        assert_close("nsp_loss", mean_metrics(sums)["nsp_loss"], outputs["nsp_loss"])


def test_the_gradient_of_every_parameter_is_the_originals(golden: Golden) -> None:
    assert set(golden.our_gradients) == set(golden.gradients)
    for name, expected in golden.gradients.items():
        assert_close(f"gradient of {name}", golden.our_gradients[name], expected)
