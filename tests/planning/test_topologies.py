"""Slices by their names."""

import pytest

from spanbert_jax.config.topologies import SHAPES, Topology, parse_topology, slices
from spanbert_jax.errors import ConfigError


@pytest.mark.parametrize(
    "name, topology",
    [
        ("v5e:4x8", Topology("v5e", (4, 8))),
        ("v5e-32", Topology("v5e", (4, 8))),
        ("v5litepod-32", Topology("v5e", (4, 8))),
        ("V6E-1", Topology("v6e", (1, 1))),
        # Cloud TPU counts cores of v4 and v5p, of which a chip has two.
        ("v4-8", Topology("v4", (2, 2, 1))),
        ("v5p-512", Topology("v5p", (4, 8, 8))),
        ("v5p:4x8x8", Topology("v5p", (4, 8, 8))),
    ],
)
def test_a_slice_is_named_by_its_shape_or_by_its_size(name, topology):
    assert parse_topology(name) == topology


def test_every_slice_is_found_by_both_of_its_names_and_none_has_more_than_256_chips():
    for generation in SHAPES:
        found = slices(generation)
        assert [each.num_chips for each in found] == [2**n for n in (0, 2, 3, 4, 5, 6, 7, 8)]
        for each in found:
            assert parse_topology(str(each)) == parse_topology(each.short_name) == each


@pytest.mark.parametrize(
    "name, listed",
    [
        ("v5e:3x3", "use one of v5e:1x1 (v5e-1), v5e:2x2 (v5e-4), "),
        ("v5e-5", "v5e:16x16 (v5e-256)"),
        ("v4-7", "use one of v4:1x1x1 (v4-2), v4:2x2x1 (v4-8), "),
        ("v9:2x2", "v4:1x1x1 (v4-2), v4:2x2x1 (v4-8), "),
        ("h100", "v6e:16x16 (v6e-256)"),
        ("h100-8", "; on a GPU or CPU nothing is planned: a few steps of `spanbert pretrain` "),
        ("cpu", "on a GPU or CPU nothing is planned"),
    ],
)
def test_an_unknown_slice_is_refused_with_those_that_there_are(name, listed):
    with pytest.raises(ConfigError) as raised:
        parse_topology(name)
    assert str(raised.value).startswith(f"--topology {name}: must be a slice of TPU v4, v5e, ")
    assert listed in str(raised.value)


def test_rings_are_rows_of_sixteen_and_slices_of_whole_cubes():
    assert parse_topology("v5e:16x16").rings == (True, True)
    assert parse_topology("v6e:8x16").rings == (False, True)
    assert parse_topology("v4:4x4x8").rings == (True, True, True)
    assert parse_topology("v4:2x4x4").rings == (False, False, False)
