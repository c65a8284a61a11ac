"""Near duplicates: what is alike is found, what is not is left, in whatever order it comes."""

import dataclasses
import random
import zlib

import numpy as np
import pytest

from spanbert_jax.config import PrepareConfig
from spanbert_jax.corpus import near_duplicates, spilling, units
from spanbert_jax.corpus.near_duplicates import band_shape, bands, is_near_duplicate, signature
from spanbert_jax.corpus.prepare import prepare
from spanbert_jax.corpus.progress import SilentProgress
from spanbert_jax.errors import ConfigError, UserError


def words(seed: int, number: int = 200) -> list[str]:
    return [f"w{random.Random(seed * 1000 + n).randrange(5_000)}" for n in range(number)]


def runs(text: list[str]) -> set[tuple[str, ...]]:
    return {tuple(text[i : i + 5]) for i in range(len(text) - 4)}


def test_the_example_of_the_docstring():
    signatures = np.array([[1, 1, 1, 1], [1, 1, 1, 2], [3, 3, 3, 3]], np.uint32)
    assert is_near_duplicate(signatures, threshold=0.75).tolist() == [False, True, False]
    assert band_shape(0.8) == (16, 8)


@pytest.mark.parametrize("changes", [0, 4, 12, 40])
def test_signatures_estimate_the_similarity_of_runs_of_five_words(changes):
    errors = []
    for seed in range(20):
        one = words(seed)
        other = list(one)
        for place in random.Random(seed).sample(range(200), changes):
            other[place] = "changed"
        true = len(runs(one) & runs(other)) / len(runs(one) | runs(other))
        found = (signature(" ".join(one)) == signature(" ".join(other))).mean()
        errors.append(found - true)
    # Of one estimate with 128 hashes: standard deviation 0.044 at most.
    assert abs(np.mean(errors)) < 4 * 0.044 / 20**0.5
    assert max(map(abs, errors)) < 4 * 0.044


def test_case_and_white_space_are_no_difference():
    assert (
        signature("One two three\nfour five six") == signature("one two  THREE four five six")
    ).all()


def test_short_texts_are_compared_whole():
    assert (signature("Stub") == signature("stub")).all()
    assert (signature("Stub") == signature("Page")).mean() < 0.1
    assert (signature("") == signature("")).all()


def test_a_signature_never_changes():
    # Shards made before would no longer be those made now.
    assert zlib.crc32(signature(" ".join(words(0))).tobytes()) == 3372695355


def test_a_long_text_is_taken_in_parts(monkeypatch):
    whole = signature(" ".join(words(1, 3_000)))
    monkeypatch.setattr(near_duplicates, "_SHINGLES_AT_ONCE", 7)
    assert (signature(" ".join(words(1, 3_000))) == whole).all()


def test_pairs_above_the_threshold_share_a_band():
    found = 0
    for seed in range(100):
        one = words(seed)
        other = [*one[:182], *words(seed + 500, 18)]  # 178 of 214 runs: 0.83
        both = np.stack([signature(" ".join(it)) for it in (one, other)])
        found += int(np.equal(*bands(both, threshold=0.8)).any())
    assert found >= 90


def test_a_dropped_document_still_drops_those_alike_to_it():
    chain = np.zeros((3, 10), np.uint32)
    chain[1, :2] = chain[2, :4] = 1
    assert is_near_duplicate(chain, threshold=0.8).tolist() == [False, True, True]


@pytest.fixture
def config(tmp_path) -> PrepareConfig:
    documents = [words(seed) for seed in range(60)]
    for seed in range(0, 60, 3):  # of 20 documents a copy with one word changed
        copy = list(documents[seed])
        copy[100] = "changed"
        documents.append(copy)
    documents.append(documents[1])
    (tmp_path / "text").mkdir()
    for number in range(3):
        text = "\n\n".join(map(" ".join, documents[number::3]))
        (tmp_path / "text" / f"{number}.txt").write_text(text)
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "w", *(f"##{n}" for n in range(10))]
    (tmp_path / "vocab.txt").write_text("\n".join(pieces))
    return PrepareConfig(
        source=(f"text:{tmp_path}/text/*.txt",), out=str(tmp_path / "shards"), split="lines",
        tokenizer=str(tmp_path / "vocab.txt"), held_out=0.1, near_duplicates=0.8, num_workers=1,
    )  # fmt: skip


def run(config: PrepareConfig, **values):
    return prepare(dataclasses.replace(config, **values), progress=SilentProgress())


def test_of_every_pair_one_stays_and_all_are_counted(config):
    manifest = run(config)
    assert manifest.counts["near duplicates"] == 20
    assert manifest.counts["exact duplicates"] == 1
    assert manifest.counts["documents"] == 81
    kept = sum(totals["num_documents"] for totals in manifest.totals.values())
    assert kept == 60
    assert "near duplicates" not in run(config, out=f"{config.out}2", near_duplicates=0.0).counts


@pytest.mark.parametrize("workers", [1, 2])
def test_units_and_processes_change_nothing(config, tmp_path, folder_bytes, monkeypatch, workers):
    run(config)
    monkeypatch.setattr(units, "UNIT_BYTES", 5_000)
    monkeypatch.setattr(spilling, "TASK_CHARACTERS", 2_000)
    run(config, out=str(tmp_path / "again"), num_workers=workers)
    assert folder_bytes(tmp_path / "again") == folder_bytes(tmp_path / "shards")


def test_a_missing_shard_is_made_anew(config, tmp_path, folder_bytes):
    manifest = run(config, shard_tokens=1_000)
    before = folder_bytes(tmp_path / "shards")
    (tmp_path / "shards" / manifest.splits["train"][1].file("pieces")).unlink()
    assert run(config, shard_tokens=1_000) == manifest
    assert folder_bytes(tmp_path / "shards") == before


def test_mistakes_are_named(config, monkeypatch, tmp_path):
    with pytest.raises(ConfigError, match=r"--near-duplicates 8.0: must be 0, or .* use 0.8"):
        dataclasses.replace(config, near_duplicates=8.0)
    monkeypatch.setitem(__import__("sys").modules, "datasketch", None)
    with pytest.raises(UserError, match="needs the package datasketch.*pip install"):
        run(config)
    assert not (tmp_path / "shards").exists()
