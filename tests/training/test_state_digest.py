"""A digest is the same wherever a state lies, and another one for any other state."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from spanbert_jax.training.state_digest import _on_devices, leaf_digest, state_digest

DTYPES = (jnp.bool_, jnp.int8, jnp.int32, jnp.bfloat16, jnp.float32)


def numbers(dtype: Any, shape: tuple[int, ...] = (3, 8, 5)) -> np.ndarray:
    return np.asarray(np.random.default_rng(0).normal(scale=9, size=shape), dtype)


def test_the_example_of_the_docstring() -> None:
    state = {"params": {"bias": jnp.zeros(2)}, "step": jnp.int32(3)}
    assert state_digest(state) == {"params/bias": 2462723854, "step": 2247144487}


@pytest.mark.parametrize("dtype", DTYPES)
def test_one_flipped_bit_changes_the_digest_wherever_it_is(dtype: Any) -> None:
    array = numbers(dtype)
    raw, bits = array.tobytes(), 1 if dtype == jnp.bool_ else 8
    digests = {leaf_digest(array)}
    for place in range(len(raw)):
        for bit in range(bits):
            flipped = bytearray(raw)
            flipped[place] ^= 1 << bit
            digests.add(leaf_digest(np.frombuffer(bytes(flipped), dtype).reshape(array.shape)))
    assert len(digests) == 1 + len(raw) * bits


def test_two_elements_that_change_places_change_the_digest_opposite_ones_too() -> None:
    array = np.concatenate([numbers(jnp.float32).ravel(), -numbers(jnp.float32).ravel()])
    digests = {leaf_digest(array)}
    pairs = [(i, j) for i in range(array.size) for j in range(i)]
    for i, j in pairs:
        swapped = array.copy()
        swapped[[i, j]] = swapped[[j, i]]
        digests.add(leaf_digest(swapped))
    # Of 28,680 random numbers below 2^32 some two are the same one time in ten.
    assert len(digests) >= len(pairs) - 2
    assert all(array[i] != array[j] for i, j in pairs)


def test_zeros_of_other_shapes_and_signs_are_told_apart() -> None:
    zeros = [np.zeros(3), np.zeros(4), -np.zeros(3)]
    assert len({leaf_digest(np.float32(each)) for each in zeros}) == 3


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "axes", [(), ("data",), (None, "data"), (("data", "fsdp"),), ("fsdp", "data")]
)
def test_host_and_devices_come_to_the_same_number_however_an_array_is_split(
    dtype: Any, axes: tuple[Any, ...]
) -> None:
    mesh = jax.make_mesh((4, 2), ("data", "fsdp"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
    array = numbers(dtype, (8, 16, 3))
    split = jax.device_put(array, NamedSharding(mesh, PartitionSpec(*axes)))
    assert int(_on_devices(split)) == leaf_digest(array) == leaf_digest(split)


def test_a_long_array_is_the_same_number_in_pieces_as_in_one() -> None:
    array = numbers(jnp.float32, (3, 10_007))
    assert int(_on_devices(jnp.asarray(array))) == leaf_digest(array)


def test_a_number_of_64_bits_is_two_words() -> None:
    wide = numbers(np.int64, (7,))
    assert leaf_digest(wide) == leaf_digest(wide.view(np.int32).reshape(7, 2))
