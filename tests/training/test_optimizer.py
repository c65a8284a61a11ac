"""Each form of Adam against the formulas of its paper, and configs that make no sense.

tests/golden compares them with the numbers of the original.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from spanbert_jax.config import FINE_TUNING_OPTIMIZER, OptimizerConfig, PretrainConfig
from spanbert_jax.errors import ConfigError
from spanbert_jax.training.mesh import make_mesh
from spanbert_jax.training.optimizer import decay_mask, make_optimizer, scale_by_raw_moments
from spanbert_jax.training.pretraining import build


def test_decay_mask_of_the_docstring() -> None:
    params = {"dense": {"kernel": 1.0, "bias": 1.0}}
    assert decay_mask(params, ("bias",)) == {"dense": {"kernel": True, "bias": False}}
    assert decay_mask(params, ()) == {"dense": {"kernel": True, "bias": True}}


def test_decay_mask_knows_parts_of_names_at_every_depth() -> None:
    params = {"layer_norm": {"scale": 1.0}, "head": {"qkv_bias": 1.0, "kernel": 1.0}}
    assert decay_mask(params, ("bias", "layer_norm")) == {
        "layer_norm": {"scale": False}, "head": {"qkv_bias": False, "kernel": True},
    }  # fmt: skip


def test_fine_tuning_decays_matrices_and_embeddings_alone(config: PretrainConfig) -> None:
    mesh = make_mesh(config.mesh)
    with jax.set_mesh(mesh):
        params = build(config, mesh).abstract_state.params
    mask = decay_mask(params, FINE_TUNING_OPTIMIZER.no_decay)
    names: dict[bool, set[str]] = {True: set(), False: set()}
    for path, decays in jax.tree_util.tree_leaves_with_path(mask):
        names[decays].add(path[-1].key)
    assert names[True] == {
        "kernel", "qkv_kernel", "out_kernel", "token_embedding", "position_embedding",
        "segment_embedding", "offset_embedding",
    }  # fmt: skip
    assert names[False] == {"bias", "qkv_bias", "out_bias", "scale"}


CONFIG = OptimizerConfig(
    learning_rate=0.1, beta1=0.8, beta2=0.9, epsilon=1e-3, weight_decay=0.5, max_grad_norm=2.0
)
RATES = (0.1, 0.3)
PARAMS = {"dense": {"kernel": np.array([[1.0, -2.0]]), "bias": np.array([4.0])}}
# Of norms 13, which is clipped to 2, and 1, which is not.
GRADIENTS = (
    {"dense": {"kernel": np.array([[3.0, 4.0]]), "bias": np.array([12.0])}},
    {"dense": {"kernel": np.array([[0.6, 0.0]]), "bias": np.array([-0.8])}},
)


def updated(config: OptimizerConfig) -> Any:
    """PARAMS after one step for each of GRADIENTS."""
    optimizer = make_optimizer(config, lambda count: jnp.array(RATES)[count])
    params = jax.tree.map(jnp.float32, PARAMS)
    state = optimizer.init(params)
    for gradients in GRADIENTS:
        updates, state = optimizer.update(jax.tree.map(jnp.float32, gradients), state, params)
        params = jax.tree.map(jnp.add, params, updates)
    return params["dense"]


def adam(param: np.ndarray, gradients: list[np.ndarray], *, decay: float) -> np.ndarray:
    """Kingma and Ba 2015, algorithm 1, with the decay of Loshchilov and Hutter 2019 outside it."""
    first = second = np.zeros_like(param)
    for step, (rate, gradient) in enumerate(zip(RATES, gradients, strict=True), start=1):
        first = 0.8 * first + 0.2 * gradient
        second = 0.9 * second + 0.1 * gradient**2
        root = np.sqrt(second / (1 - 0.9**step)) + 1e-3
        param = param - rate * (first / (1 - 0.8**step) / root + decay * param)
    return param


@pytest.mark.parametrize(
    ("no_decay", "kernel_decay", "bias_decay"),
    [((), 0.5, 0.5), (("bias",), 0.5, 0.0), (("dense",), 0.0, 0.0)],
)
def test_steps_are_those_of_adamw_on_gradients_clipped_by_their_global_norm(
    no_decay: tuple[str, ...], kernel_decay: float, bias_decay: float
) -> None:
    actual = updated(dataclasses.replace(CONFIG, name="adamw", no_decay=no_decay))
    kernel, bias = PARAMS["dense"]["kernel"], PARAMS["dense"]["bias"]
    kernel_gradients = [np.array([[3.0, 4.0]]) * 2 / 13, np.array([[0.6, 0.0]])]
    bias_gradients = [np.array([12.0]) * 2 / 13, np.array([-0.8])]
    np.testing.assert_allclose(
        actual["kernel"], adam(kernel, kernel_gradients, decay=kernel_decay), rtol=1e-6
    )
    np.testing.assert_allclose(
        actual["bias"], adam(bias, bias_gradients, decay=bias_decay), rtol=1e-6
    )


def from_raw_moments(param: np.ndarray, gradients: list[np.ndarray], *, corrects: bool) -> Any:
    """Kingma and Ba 2015, end of sec. 2, after the decay; with no bias correction, as BERT."""
    first = second = np.zeros_like(param)
    for step, (rate, gradient) in enumerate(zip(RATES, gradients, strict=True), start=1):
        first = 0.8 * first + 0.2 * gradient
        second = 0.9 * second + 0.1 * gradient**2
        factor = np.sqrt(1 - 0.9**step) / (1 - 0.8**step) if corrects else 1.0
        param = param * (1 - rate * 0.5)
        param = param - rate * factor * first / (np.sqrt(second) + 1e-3)
    return param


@pytest.mark.parametrize(("name", "corrects"), [("fairseq_adamw", True), ("bert_adam", False)])
def test_steps_of_the_released_code_add_epsilon_to_the_raw_root(name: str, corrects: bool) -> None:
    actual = updated(dataclasses.replace(CONFIG, name=name, max_grad_norm=0.0))
    for part, param in PARAMS["dense"].items():
        gradients = [each["dense"][part] for each in GRADIENTS]
        expected = from_raw_moments(param, gradients, corrects=corrects)
        np.testing.assert_allclose(actual[part], expected, rtol=1e-6)


def test_gradients_may_be_clipped_tensor_by_tensor() -> None:
    config = dataclasses.replace(CONFIG, name="bert_adam", clip_by="tensor_norm")
    gradients = [np.array([[3.0, 4.0]]) * 2 / 5, np.array([[0.6, 0.0]])]
    expected = from_raw_moments(PARAMS["dense"]["kernel"], gradients, corrects=False)
    np.testing.assert_allclose(updated(config)["kernel"], expected, rtol=1e-6)


@pytest.mark.parametrize("beta", [0.0, 0.9, 0.999])
def test_bias_correction_is_exact_from_the_first_update_on(beta: float) -> None:
    """A constant gradient has moments g and g^2 however few updates there were."""
    adam = scale_by_raw_moments(beta, beta, epsilon=1e-30, bias_correction=True)
    state = adam.init(jnp.zeros(2))
    for step in range(1, 4):
        update, state = adam.update(jnp.array([2.0, -3.0]), state)
        # sqrt(v) is g sqrt(1 - beta^t), and so is its correction.
        np.testing.assert_allclose(update, [1.0, -1.0], rtol=5e-7, err_msg=f"update {step}")


def test_forms_of_adam_keep_the_same_state_so_that_a_run_can_change_its_own() -> None:
    params = jax.tree.map(jnp.float32, PARAMS)
    states = [
        make_optimizer(config, optax.constant_schedule(0.1)).init(params)
        for config in (
            CONFIG,
            dataclasses.replace(CONFIG, name="adamw", max_grad_norm=0.0),
            dataclasses.replace(CONFIG, name="bert_adam", clip_by="tensor_norm"),
            dataclasses.replace(CONFIG, name="lamb", layer_decay=0.8),
        )
    ]
    shapes = [jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), state) for state in states]
    assert all(each == shapes[0] for each in shapes)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"name": "sgd"},
            "--optimizer.name sgd: must be one of fairseq_adamw, adamw, bert_adam, lamb, adafactor",
        ),
        ({"schedule": "cosine"}, "--optimizer.schedule cosine: must be one of polynomial, warmup"),
        ({"clip_by": "norm"}, "--optimizer.clip-by norm: must be one of global_norm, tensor_norm;"),
        ({"max_grad_norm": -1.0}, "--optimizer.max-grad-norm -1.0: must not be negative; use 1.0"),
        (
            {"max_grad_norm": 0.0, "clip_by": "tensor_norm"},
            "--optimizer.clip-by tensor_norm: has no effect with --optimizer.max-grad-norm 0;",
        ),
        ({"warmup_fraction": 1.0}, r"--optimizer.warmup-fraction 1.0: must be in \[0, 1\);"),
        (
            {"warmup_fraction": 0.1},
            "--optimizer.warmup-fraction 0.1: stands beside --optimizer.warmup-steps 10000; a "
            "warmup has one length; set the other one to 0",
        ),
        ({"decay_power": 0.0}, "--optimizer.decay-power 0.0: must be greater than 0;"),
        (
            {"end_learning_rate": 2e-4},
            r"--optimizer.end-learning-rate 0.0002: must be in \[0, --optimizer.learning-rate ",
        ),
        (
            {"schedule": "warmup_linear", "decay_power": 2.0},
            "--optimizer.decay-power 2.0: has no effect on --optimizer.schedule warmup_linear;",
        ),
        (
            {"schedule": "warmup_linear", "end_learning_rate": 1e-5},
            "--optimizer.end-learning-rate 1e-05: has no effect on --optimizer.schedule warmup_",
        ),
    ],
)
def test_a_field_out_of_range_or_without_effect_is_refused(
    fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        OptimizerConfig(**fields)
