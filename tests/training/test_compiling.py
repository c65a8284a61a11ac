"""Functions compiled before they are called."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from spanbert_jax.config import PretrainConfig
from spanbert_jax.data.batch import empty_batch
from spanbert_jax.training.compiling import Compiler, Given, OfManyShapes
from spanbert_jax.training.mesh import make_mesh
from spanbert_jax.training.pretraining import build


class Traced:
    """A function of an array and a batch that counts how often it is traced."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self, first: jax.Array, batch: dict[str, jax.Array]) -> jax.Array:
        self.times += 1
        return first + batch["rows"].sum()


def batch(length: int) -> dict[str, np.ndarray]:
    return {"rows": np.ones((2, length), np.float32)}


def test_shapes_compiled_ahead_are_not_traced_again() -> None:
    function = Traced()
    steps = OfManyShapes(jax.jit(function))
    first = jnp.float32(1.0)
    with Compiler() as compiler:
        steps.compile_for(compiler, first, [batch(3), batch(5), batch(3)])
    assert function.times == 2
    assert [float(steps(first, jax.device_put(batch(n)))) for n in (3, 5, 3)] == [7.0, 11.0, 7.0]
    assert function.times == 2


def test_a_shape_that_was_not_foreseen_compiles_when_it_comes() -> None:
    function = Traced()
    steps = OfManyShapes(jax.jit(function))
    assert float(steps(jnp.float32(0.0), batch(4))) == 8.0
    assert function.times == 1


def test_what_cannot_be_compiled_is_told_where_the_compiler_is_left() -> None:
    class Broken:
        def lower(self, *_: object) -> "Broken":
            return self

        def compile(self) -> None:
            raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"), Compiler() as compiler:
        compiler.begin(Broken())


def test_a_given_argument_is_none_of_the_program() -> None:
    jitted = jax.jit(lambda x, y: x * y)
    programs = [Given(jitted, np.uint32(last)).lower(jnp.uint32(3)) for last in (5, 7)]
    assert programs[0].as_text() == programs[1].as_text()
    assert [int(each.compile()(jnp.uint32(3))) for each in programs] == [15, 21]
    assert int(Given(jitted, np.uint32(5))(jnp.uint32(3))) == 15


def test_a_run_of_another_seed_compiles_the_same_programs(config: PretrainConfig) -> None:
    texts = []
    for seed in (3, 4):
        training = dataclasses.replace(config.training, seed=seed)
        mesh = make_mesh(config.mesh)
        with jax.set_mesh(mesh):
            run = build(dataclasses.replace(config, training=training), mesh)
            rows = empty_batch(8, config.data.sequence_length, config.num_predictions)
            step = run.train_step.lower(run.abstract_state, rows)
            texts.append((run.init.lower().as_text(), step.as_text()))
    assert texts[0] == texts[1]
