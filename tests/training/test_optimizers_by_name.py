"""LAMB, Adafactor, Lion and Muon against optax on plain matrices; on arrays that hold several
tensors, each as if it were alone; on any mesh, and back from a checkpoint.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optax import contrib

from spanbert_jax.config import MeshConfig, OptimizerConfig, PretrainConfig
from spanbert_jax.data.batch import PretrainBatch
from spanbert_jax.errors import ConfigError, UserError
from spanbert_jax.model.layer_stack import stack_layers
from spanbert_jax.training.checkpoint import Checkpoints, DataPosition
from spanbert_jax.training.mesh import make_mesh
from spanbert_jax.training.optimizer import make_optimizer
from spanbert_jax.training.pretraining import build

NAMES = ("adamw", "fairseq_adamw", "bert_adam", "lamb", "adafactor", "lion", "muon")
RATE, DECAY, STEPS = 0.1, 0.3, 3


def named(name: str, **fields: Any) -> OptimizerConfig:
    """One whose gradients are not clipped, at a constant rate."""
    return OptimizerConfig(name=name, max_grad_norm=0.0, weight_decay=DECAY, **fields)


def random_tree(seed: int, shapes: Any) -> Any:
    rng = np.random.default_rng(seed)
    return jax.tree.map(
        lambda shape: jnp.asarray(rng.normal(size=shape), jnp.float32), shapes,
        is_leaf=lambda node: isinstance(node, tuple),
    )  # fmt: skip


def after_steps(optimizer: optax.GradientTransformation, shapes: Any, change: Any = None) -> Any:
    """Parameters after some steps of random gradients; change: of parameters and gradients."""
    change = change or (lambda tree: tree)
    params = change(random_tree(0, shapes))
    state = optimizer.init(params)
    for step in range(1, STEPS + 1):
        updates, state = optimizer.update(change(random_tree(step, shapes)), state, params)
        params = optax.apply_updates(params, updates)
    return params


def ours(config: OptimizerConfig) -> optax.GradientTransformation:
    return make_optimizer(config, optax.constant_schedule(RATE))


def assert_equal(actual: Any, expected: Any) -> None:
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6), actual, expected
    )


PLAIN = {"inner": {"kernel": (130, 140), "bias": (140,)}, "token_embedding": (150, 130)}


def no_bias(params: Any) -> Any:
    return jax.tree.map_with_path(lambda path, _: path[-1].key != "bias", params)


def decayed(inner: optax.GradientTransformation) -> optax.GradientTransformation:
    """An optimizer of optax without its own rate and decay, with ours."""
    return optax.chain(inner, optax.add_decayed_weights(DECAY), optax.scale_by_learning_rate(RATE))


def test_lamb_is_that_of_optax_but_for_the_length_of_what_is_not_decayed() -> None:
    config = named("lamb", epsilon=1e-6, no_decay=("bias",))
    expected = optax.chain(
        optax.scale_by_adam(eps=1e-6), optax.add_decayed_weights(DECAY, mask=no_bias),
        optax.masked(optax.scale_by_trust_ratio(), no_bias), optax.scale_by_learning_rate(RATE),
    )  # fmt: skip
    assert_equal(after_steps(ours(config), PLAIN), after_steps(expected, PLAIN))
    matrices = {"inner": {"kernel": (130, 140)}}
    whole = optax.lamb(RATE, eps=1e-6, weight_decay=DECAY)
    assert_equal(after_steps(ours(config), matrices), after_steps(whole, matrices))


def test_lion_is_that_of_optax() -> None:
    expected = optax.lion(RATE, b1=0.9, b2=0.99, weight_decay=DECAY)
    assert_equal(after_steps(ours(named("lion", beta2=0.99)), PLAIN), after_steps(expected, PLAIN))


def test_adafactor_is_that_of_optax_with_our_weight_decay() -> None:
    inner = optax.adafactor(min_dim_size_to_factor=128)
    # Its own last link turns the sign, for a rate that does not.
    expected = decayed(optax.chain(inner, optax.scale(-1.0)))
    assert_equal(after_steps(ours(named("adafactor")), PLAIN), after_steps(expected, PLAIN))


def test_muon_is_that_of_optax_for_matrices_and_adam_for_embeddings_and_vectors() -> None:
    found = after_steps(ours(named("muon")), PLAIN)
    matrices, rest = {"kernel": (130, 140)}, {"bias": (140,), "token_embedding": (150, 130)}
    config = named("adamw")
    adam = make_optimizer(config, optax.constant_schedule(RATE))
    muon = contrib.muon(RATE, weight_decay=DECAY, consistent_rms=0.2)

    # Each sees the values that it has in the whole.
    def part(names: Any) -> Callable[[Any], Any]:
        flat = lambda tree: {**tree["inner"], "token_embedding": tree["token_embedding"]}  # noqa: E731
        return lambda tree: {name: flat(tree)[name] for name in names}

    assert_equal(part(matrices)(found), after_steps(muon, PLAIN, part(matrices)))
    assert_equal(part(rest)(found), after_steps(adam, PLAIN, part(rest)))


def test_muon_leaves_what_gives_out_labels_to_adam() -> None:
    found = after_steps(ours(named("muon")), PAIRS)
    assert_equal(found, after_steps(ours(named("adamw")), PAIRS))


def test_muon_gives_every_direction_of_a_matrix_the_same_weight() -> None:
    shapes = {"attention": {"qkv_kernel": (3, 32, 4, 8), "out_kernel": (4, 8, 32)}}
    config = dataclasses.replace(named("muon"), weight_decay=0.0)
    before, after = random_tree(0, shapes), after_steps(ours(config), shapes)
    optimizer = ours(config)
    updates, _ = optimizer.update(random_tree(1, shapes), optimizer.init(before), before)
    update = jax.tree.map(np.asarray, updates)["attention"]
    matrices = [*update["qkv_kernel"].reshape(3, 32, 32), update["out_kernel"].reshape(32, 32)]
    for matrix in matrices:
        values = np.linalg.svd(matrix / (RATE * 0.2 * np.sqrt(32)), compute_uv=False)
        # Five iterations leave most of them between 0.7 and 1.2 (Jordan 2024).
        assert 0.6 < np.median(values) < 1.25 and values.max() < 1.3
        assert np.sqrt(np.mean(matrix**2)) == pytest.approx(RATE * 0.2, rel=0.2)
    assert jax.tree.structure(after) == jax.tree.structure(before)


LAYER = {
    "attention": {"qkv_kernel": (3, 16, 2, 8), "qkv_bias": (3, 2, 8), "out_kernel": (2, 8, 16)},
    "inner": {"kernel": (16, 24), "bias": (24,)},
}
PAIRS = {"next_sentence_head": {"kernel": (16, 2)}, "task_head": {"kernel": (16, 3)}}
ENCODER = {
    "encoder": {"embeddings": {"token_embedding": (30, 16)}, "layer_0": LAYER, "layer_1": LAYER},
    "head": {"bias": (30,)},
}


@pytest.mark.parametrize("name", NAMES)
def test_layers_step_the_same_stacked_or_separate(name: str) -> None:
    fields: dict[str, Any] = {"no_decay": ("bias",), "layer_decay": 0.5}
    separate = after_steps(ours(named(name, **fields)), ENCODER)
    stacked = after_steps(ours(named(name, **fields)), ENCODER, stack_layers)
    assert_equal(stacked, stack_layers(separate))


@pytest.mark.parametrize("name", ["lamb", "adafactor", "muon"])
def test_query_key_and_value_step_as_three_tensors(name: str) -> None:
    """One alone is what it is beside two others, whose sizes are not its own."""
    scales = jnp.array([1.0, 10.0, 0.1]).reshape(3, 1, 1, 1)
    shapes = {"qkv_kernel": (3, 16, 2, 8)}

    def beside_others(tree: Any) -> Any:
        return {"qkv_kernel": tree["qkv_kernel"] * scales}

    def alone(tree: Any) -> Any:
        return {"qkv_kernel": tree["qkv_kernel"][1:2] * 10.0}

    together = after_steps(ours(named(name)), shapes, beside_others)["qkv_kernel"]
    assert_equal(together[1:2], after_steps(ours(named(name)), shapes, alone)["qkv_kernel"])


def test_layers_below_learn_more_slowly() -> None:
    config = dataclasses.replace(named("lion", beta2=0.99), weight_decay=0.0, layer_decay=0.5)
    params = random_tree(0, ENCODER)
    optimizer = ours(config)
    updates, _ = optimizer.update(random_tree(1, ENCODER), optimizer.init(params), params)
    steps = {
        jax.tree_util.keystr(path, simple=True, separator="/"): np.unique(np.abs(leaf))
        for path, leaf in jax.tree_util.tree_leaves_with_path(updates)
    }
    # Every update of Lion is a sign.
    for part, scale in (("embeddings", 0.125), ("layer_0", 0.25), ("layer_1", 0.5), ("head/", 1.0)):
        found = np.concatenate([values for name, values in steps.items() if part in name])
        np.testing.assert_allclose(found, RATE * scale, rtol=1e-6)


def with_optimizer(config: PretrainConfig, name: str) -> PretrainConfig:
    optimizer = dataclasses.replace(config.optimizer, name=name, learning_rate=0.01)
    model = dataclasses.replace(config.model, num_layers=2)
    return dataclasses.replace(config, optimizer=optimizer, model=model)


@pytest.mark.parametrize("name", ["lamb", "adafactor", "lion", "muon"])
def test_a_model_learns_the_same_on_a_mesh_and_comes_back_scanned(
    name: str,
    config: PretrainConfig,
    make_batch: Callable[[int], PretrainBatch],
    trained: Callable[..., Any],
    tmp_path: Path,
) -> None:
    config, batch = with_optimizer(config, name), make_batch(0)
    state, losses = trained(config, MeshConfig(2, 2, 2), batch)
    alone, expected = trained(config, MeshConfig(1, 1, 1), batch)
    np.testing.assert_allclose(losses, expected, rtol=2e-3 if name == "lion" else 1e-4)
    assert losses[-1] < losses[0]
    # What has the shape of a parameter lies as it does.
    kernel = "['layer_0']['feed_forward']['inner']['kernel']"
    for path, leaf in jax.tree_util.tree_leaves_with_path(state.optimizer_state):
        if jax.tree_util.keystr(path).endswith(kernel):
            assert leaf.sharding.shard_shape(leaf.shape) == (8, 16)
    scanned = dataclasses.replace(
        config, compute=dataclasses.replace(config.compute, scan_layers=True)
    )
    with Checkpoints(tmp_path, config, tokenizer_fingerprint="abc") as checkpoints:
        checkpoints.save(6, alone, position=DataPosition(48), score=None)
    mesh = make_mesh(MeshConfig(2, 2, 2))
    with jax.set_mesh(mesh), Checkpoints(
        tmp_path, scanned, tokenizer_fingerprint="abc"
    ) as checkpoints:  # fmt: skip
        run = build(scanned, mesh)
        restored, _ = checkpoints.restore(6, run.abstract_state)
    jax.tree.map(np.testing.assert_array_equal, restored, stack_layers(alone))


def test_a_run_of_an_earlier_version_goes_on_and_may_change_between_forms_of_adam(
    config: PretrainConfig, tmp_path: Path
) -> None:
    mesh = make_mesh(MeshConfig())
    with jax.set_mesh(mesh):
        runs = {name: build(with_optimizer(config, name), mesh) for name in ("adamw", "lamb")}
    state = runs["adamw"].init()
    # As it was before there were others: clip, moments, decay, rate.
    chain = optax.chain(
        optax.clip_by_global_norm(1.0), optax.scale_by_adam(),
        optax.add_decayed_weights(0.01, mask=no_bias), optax.scale_by_learning_rate(lambda _: 0.1),
    )  # fmt: skip
    state = dataclasses.replace(state, optimizer_state=chain.init(state.params))
    for step, name in enumerate(("lamb", "adamw"), start=1):
        with Checkpoints(tmp_path, config, tokenizer_fingerprint="abc") as checkpoints:
            checkpoints.save(step, state, position=DataPosition(8), score=None)
        with jax.set_mesh(mesh), Checkpoints(
            tmp_path, config, tokenizer_fingerprint="abc"
        ) as checkpoints:  # fmt: skip
            restored, _ = checkpoints.restore(step, runs[name].abstract_state)
        jax.tree.map(np.testing.assert_array_equal, restored.params, state.params)
        assert jax.tree.structure(restored) == jax.tree.structure(runs[name].abstract_state)
        state = restored


def test_a_run_with_other_moments_does_not_go_on_with_those_of_its_checkpoint(
    config: PretrainConfig, tmp_path: Path
) -> None:
    mesh = make_mesh(MeshConfig())
    with jax.set_mesh(mesh):
        saved = build(with_optimizer(config, "adamw"), mesh)
        wanted = build(with_optimizer(config, "muon"), mesh).abstract_state
        with Checkpoints(tmp_path, config, tokenizer_fingerprint="abc") as checkpoints:
            checkpoints.save(1, saved.init(), position=DataPosition(8), score=None)
        with Checkpoints(tmp_path, config, tokenizer_fingerprint="abc") as checkpoints:
            with pytest.raises(UserError, match="put the flags of --optimizer back"):
                checkpoints.restore(1, wanted)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": "lion", "epsilon": 1e-6}, "--optimizer.epsilon 1e-06: has no effect on --o"),
        ({"name": "adafactor", "beta1": 0.5}, "--optimizer.beta1 0.5: has no effect on --o"),
        ({"momentum": 0.9}, "--optimizer.momentum 0.9: has no effect on --optimizer.name fa"),
        ({"layer_decay": 0.0}, r"--optimizer.layer-decay 0.0: must be in \(0, 1\]; use 0.8 or 0.9"),
        ({"decay_fraction": 0.2}, "--optimizer.decay-fraction 0.2: has no effect on --o"),
        (
            {"schedule": "warmup_stable_decay", "decay_fraction": 0.0},
            r"--optimizer.decay-fraction 0.0: must be in \(0, 1\]; use 0.1",
        ),
        (
            {
                "schedule": "warmup_stable_decay", "decay_fraction": 0.7, "warmup_steps": 0,
                "warmup_fraction": 0.4,
            },
            "--optimizer.decay-fraction 0.7: leaves no room for --optimizer.warmup-fraction 0.4",
        ),
    ],
)  # fmt: skip
def test_a_field_out_of_range_or_without_effect_is_refused(
    fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        OptimizerConfig(**fields)
