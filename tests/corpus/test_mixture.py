"""A mixture of sources: shares of text as asked, by a rule on hashes."""

import dataclasses

import numpy as np
import pytest

from spanbert_jax.config import PrepareConfig
from spanbert_jax.corpus.mixture import histogram, is_beyond_mixture, mixture_limits, shares
from spanbert_jax.corpus.prepare import prepare
from spanbert_jax.corpus.progress import SilentProgress
from spanbert_jax.errors import ConfigError, UserError


def corpus(sizes: list[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    sources = np.repeat(np.arange(len(sizes)), sizes)
    checks = rng.integers(0, 1 << 64, len(sources), np.uint64)
    return sources, checks, rng.integers(50, 150, len(sources))


@pytest.mark.parametrize(
    ("sizes", "weights"),
    [([1_000, 3_000], (0.5, 0.5)), ([4_000, 500, 500], (0.2, 0.5, 0.3)), ([9, 4_000], (0.1, 0.9))],
)
def test_shares_follow_the_weights_and_the_scarcest_is_used_whole(sizes, weights):
    sources, checks, num_bytes = corpus(sizes)
    totals = histogram(sources, checks, num_bytes, num_sources=len(sizes))
    assert totals.sum(axis=1).tolist() == [num_bytes[sources == n].sum() for n in range(len(sizes))]
    limits = mixture_limits(totals, weights)
    beyond = is_beyond_mixture(sources, checks, limits)
    kept = np.array([num_bytes[(sources == n) & ~beyond].sum() for n in range(len(sizes))])
    np.testing.assert_allclose(kept / kept.sum(), weights, atol=0.01)
    assert shares(totals, limits) == tuple(kept / kept.sum())
    scarcest = min(range(len(sizes)), key=lambda n: totals[n].sum() / weights[n])
    assert not beyond[sources == scarcest].any()
    for source in range(len(sizes)):
        mine = sources == source
        if beyond[mine].any():
            assert checks[mine & ~beyond].max() < checks[mine & beyond].min()


def test_the_rule_does_not_depend_on_order_and_adds_up():
    sources, checks, num_bytes = corpus([300, 700])
    order = np.random.default_rng(1).permutation(1_000)
    parts = [
        histogram(sources[p], checks[p], num_bytes[p], num_sources=2) for p in np.split(order, 5)
    ]
    whole = histogram(sources, checks, num_bytes, num_sources=2)
    np.testing.assert_array_equal(sum(parts), whole)


@pytest.fixture
def config(write_stories, tmp_path) -> PrepareConfig:
    write_stories([100, 50], folder="small")
    write_stories([300, 10, 140], first=1_000, folder="large")
    return PrepareConfig(
        source=(f"text:{tmp_path}/small/*.txt", f"text:{tmp_path}/large/*.txt"), vocab_size=120,
        out=str(tmp_path / "shards"), sentencepiece_type="bpe", mixture=(0.4, 0.6), num_workers=1,
        tokenizer_sample_mb=0.02, shard_tokens=5_000,
    )  # fmt: skip


def test_the_mixture_is_counted_and_recorded(config, tmp_path):
    said = []
    progress = SilentProgress()
    progress.say = said.append
    manifest = prepare(config, progress=progress)
    np.testing.assert_allclose(manifest.source_shares, (0.4, 0.6), atol=0.005)
    left = manifest.counts["documents beyond the mixture"]
    kept = sum(totals["num_documents"] for totals in manifest.totals.values())
    assert kept + left == 600 and abs(kept - 150 / 0.4) < 8
    assert f"share of the text: {manifest.source_shares[0]:.1%} of {config.source[0]}" in said
    assert any("documents beyond the mixture" in line for line in said)
    # Found complete: the shares were recorded.
    assert prepare(config, progress=SilentProgress()) == manifest


def test_the_rule_is_the_same_in_other_files(config, write_stories, tmp_path):
    first = prepare(config, progress=SilentProgress())
    write_stories([1, 449], first=1_000, folder="other")
    again = dataclasses.replace(
        config, source=(config.source[0], f"text:{tmp_path}/other/*.txt"),
        out=str(tmp_path / "again"),
    )  # fmt: skip
    second = prepare(again, progress=SilentProgress())
    assert first.splits == second.splits and first.counts == second.counts


@pytest.mark.parametrize(
    ("mixture", "message"),
    [
        ((0.7, 0.7), r"--mixture 0.7 0.7: must add up to 1, adds up to 1.4; use --mixture 0.5 0.5"),
        ((1.0,), "one share for each of the 2 sources, found 1; name a share for every --source"),
        ((1.5, -0.5), "every share must be greater than 0"),
    ],
)
def test_mistakes_are_named(config, mixture, message):
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(config, mixture=mixture)


def test_a_source_without_text_is_named(config, tmp_path):
    (tmp_path / "stub.txt").write_text("Tiny.\n")
    stub = f"text:{tmp_path}/stub.txt"
    with pytest.raises(
        UserError, match=r"--mixture 0.4 0.6: every source must have text left, found none .*stub"
    ):
        prepare(
            dataclasses.replace(config, source=(config.source[0], stub), min_characters=20),
            progress=SilentProgress(),
        )
    assert not (tmp_path / "shards").exists()


def test_what_is_kept_is_spread_over_all_shards(config):
    manifest = prepare(dataclasses.replace(config, shard_tokens=20_000), progress=SilentProgress())
    sizes = [shard.num_documents for shard in manifest.splits["train"]]
    # About 75 in each: standard deviation 9.
    assert len(sizes) == 5 and max(sizes) - min(sizes) < 45
