"""A run begins with somebody's weights: with all that fit, and says what became of the rest."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from spanbert_jax.config import (
    ComputeConfig,
    DataConfig,
    MeshConfig,
    ModelConfig,
    OptimizerConfig,
    PretrainConfig,
)
from spanbert_jax.corpus.tokenizers.word_piece import parse_vocabulary
from spanbert_jax.errors import UserError
from spanbert_jax.model.layer_stack import unstack_layers
from spanbert_jax.training.checkpoint import Checkpoints, DataPosition
from spanbert_jax.training.mesh import make_mesh
from spanbert_jax.training.pretraining import build
from spanbert_jax.weights.loading import Pretrained
from spanbert_jax.weights.parameters import flatten, initial_parameters, nest, parameter_shapes
from spanbert_jax.weights.starting import read_start, with_start

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"word{i}" for i in range(11))]
MODEL = ModelConfig(
    vocab_size=len(PIECES), hidden_size=16, num_layers=2, num_heads=2, mlp_size=32,
    max_positions=32, boundary_offset_size=8,
)  # fmt: skip
BERT = dataclasses.replace(MODEL, span_boundary_head=False, pooler=True)
TOKENIZER = parse_vocabulary("\n".join(PIECES), lowercase=False, where="test")


def pretrained(model: ModelConfig, *, fresh: frozenset[str] = frozenset()) -> Pretrained:
    params = nest(initial_parameters(model, list(parameter_shapes(model)), seed=9))
    return Pretrained(model, params, TOKENIZER, fresh)


def random_start(model: ModelConfig, *, scan_layers: bool = False) -> Any:
    """The parameters of a new run, in pieces on eight devices."""
    config = PretrainConfig(
        model=model, data=DataConfig(sequence_length=32, batch_size=8),
        compute=ComputeConfig(dtype="float32", scan_layers=scan_layers),
        optimizer=OptimizerConfig(warmup_steps=1),
    )  # fmt: skip
    mesh = make_mesh(MeshConfig(2, 2, 2))
    with jax.set_mesh(mesh):
        return build(config, mesh).init().params


@pytest.mark.parametrize("scan_layers", [False, True])
def test_everything_that_fits_is_taken_and_the_rest_begins_at_random(scan_layers: bool) -> None:
    random = random_start(MODEL, scan_layers=scan_layers)
    start = pretrained(BERT)
    params, summary = with_start(random, start)
    assert summary == (
        "weights: 34 of 36 matched; initialised: span_boundary_head (10); unused: pooler (2)"
    )
    assert jax.tree.map(lambda leaf: leaf.sharding, params) == jax.tree.map(
        lambda leaf: leaf.sharding, random
    )
    begun, given = dict(flatten(unstack_layers(params))), dict(flatten(start.params))
    untouched = dict(flatten(unstack_layers(random)))
    for path, leaf in begun.items():
        head = path.startswith("span_boundary_head")
        np.testing.assert_array_equal(leaf, untouched[path] if head else given[path])


def test_a_head_that_was_only_initialised_at_import_is_no_weight() -> None:
    fresh = frozenset(p for p in parameter_shapes(MODEL) if p.startswith("span_boundary_head"))
    random = random_start(MODEL)
    params, summary = with_start(random, pretrained(MODEL, fresh=fresh))
    assert summary == "weights: 34 of 34 matched; initialised: span_boundary_head (10)"
    np.testing.assert_array_equal(
        params["span_boundary_head"]["offset_embedding"],
        random["span_boundary_head"]["offset_embedding"],
    )


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    (folder / "tokenizer").mkdir()
    TOKENIZER.save(folder / "tokenizer")
    config = PretrainConfig(model=MODEL, data=DataConfig(sequence_length=32))
    params = jax.tree.map(jax.numpy.asarray, pretrained(MODEL).params)
    with Checkpoints(folder, config, tokenizer_fingerprint=TOKENIZER.fingerprint) as checkpoints:
        checkpoints.save(5, {"params": params}, position=DataPosition(0), score=None)
    return folder


def test_a_run_is_begun_with_the_checkpoint_of_another(run_dir: Path) -> None:
    start = read_start(str(run_dir), model=MODEL, tokenizer_fingerprint=TOKENIZER.fingerprint)
    jax.tree.map(np.testing.assert_array_equal, start.params, pretrained(MODEL).params)


def test_shards_of_another_tokenizer_are_refused(run_dir: Path) -> None:
    with pytest.raises(UserError, match=r"--init-from .*16 entries.*prepare` with the --tokenizer"):
        read_start(str(run_dir), model=MODEL, tokenizer_fingerprint="0" * 64)


def test_another_size_is_an_error_that_gives_the_flags(run_dir: Path) -> None:
    other = dataclasses.replace(MODEL, num_layers=3, layer_norm_epsilon=1e-5)
    with pytest.raises(UserError) as error:
        read_start(str(run_dir), model=other, tokenizer_fingerprint=TOKENIZER.fingerprint)
    assert str(error.value).endswith(
        "found --model.num-layers 3, --model.layer-norm-epsilon 1e-05; add --model.num-layers 2 "
        "--model.layer-norm-epsilon 1e-12"
    )


def test_a_span_boundary_head_of_another_size_is_refused_with_the_flag(run_dir: Path) -> None:
    wide = dataclasses.replace(MODEL, boundary_offset_size=9)
    with pytest.raises(UserError, match=r"add --model.boundary-offset-size 8$"):
        read_start(str(run_dir), model=wide, tokenizer_fingerprint=TOKENIZER.fingerprint)
    without = dataclasses.replace(wide, span_boundary_head=False)
    read_start(str(run_dir), model=without, tokenizer_fingerprint=TOKENIZER.fingerprint)
