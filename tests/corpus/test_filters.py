"""Filters: each drops what it says, and nothing else."""

import json
from collections import Counter

import pytest

from spanbert_jax.config import PrepareConfig
from spanbert_jax.corpus.documents import RawDocument
from spanbert_jax.corpus.filters import garbled_share, keep_document, letter_share, reason_to_drop
from spanbert_jax.corpus.prepare import prepare
from spanbert_jax.corpus.progress import SilentProgress
from spanbert_jax.errors import ConfigError


def test_the_shares_of_the_docstrings():
    assert letter_share("a b1") == 0.75
    assert garbled_share("caf\ufffd") == 0.25


def test_letters_of_every_script_are_letters():
    assert letter_share("Привет 東京 नमस्ते été") == 1.0
    assert letter_share("12.5%") == 0.0
    assert garbled_share("Привет\t東京\n(1) 🙂 नमस्ते") == 0.0
    assert garbled_share("\x00\x07\ue000\ufffd") == 1.0


@pytest.mark.parametrize(
    ("values", "text", "reason"),
    [
        ({}, "", "empty documents"),
        ({}, "\x00 1", ""),
        ({"min_characters": 9}, "Too short", ""),
        ({"min_characters": 9}, "Short", "documents shorter than --min-characters"),
        ({"max_characters": 5}, "Short", ""),
        ({"max_characters": 5}, "Longer", "documents longer than --max-characters"),
        ({"min_letter_share": 0.75}, "a b1", ""),
        ({"min_letter_share": 0.76}, "a b1", "documents below --min-letter-share"),
        ({"max_garbled_share": 0.25}, "caf\ufffd", ""),
        ({"max_garbled_share": 0.24}, "caf\ufffd", "documents above --max-garbled-share"),
        ({"max_garbled_share": 0.0}, "coffee", ""),
    ],
)
def test_each_filter_drops_what_it_says(values, text, reason):
    assert reason_to_drop(text, PrepareConfig(**values)) == reason


def test_a_key_is_of_the_text_after_cleaning():
    counts = Counter()
    plain = RawDocument("One line.\n \nAnother one.", "a.txt:1", "plain")
    other = RawDocument("One line.\nAnother one.", "b.txt:9", "plain")
    first, second = (keep_document(raw, PrepareConfig(), counts) for raw in (plain, other))
    assert first == second
    assert first.paragraphs == ["One line.", "Another one."]
    assert (first.key, first.check) != (0, 0) and first.num_bytes == 22
    assert not counts


def test_every_dropped_document_is_counted_by_its_reason(tmp_path):
    texts = ["A story of some length.", "Short.", "9 8 7 6 5 4 3 2 1 0", "A story of some length."]
    texts += [f"Another story, and this is number {'x' * n}." for n in range(20)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "##s"]
    (tmp_path / "vocab.txt").write_text("\n".join(pieces))
    values = {
        "source": (f"jsonl:{tmp_path}/a.jsonl",), "min_characters": 10, "min_letter_share": 0.7,
        "tokenizer": str(tmp_path / "vocab.txt"), "held_out": 0.2,
    }  # fmt: skip
    config = PrepareConfig(**values, out=str(tmp_path / "shards"))
    manifest = prepare(config, progress=SilentProgress())
    assert manifest.counts == {
        "documents": 24, "text bytes": sum(map(len, texts)), "exact duplicates": 1,
        "documents shorter than --min-characters": 1, "documents below --min-letter-share": 1,
    }  # fmt: skip
    assert sum(totals["num_documents"] for totals in manifest.totals.values()) == 21
    config = PrepareConfig(**values, out=str(tmp_path / "kept"), exact_duplicates="keep")
    manifest = prepare(config, progress=SilentProgress())
    assert sum(totals["num_documents"] for totals in manifest.totals.values()) == 22


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"min_characters": -1}, "--min-characters -1: must not be negative"),
        ({"min_characters": 9, "max_characters": 5}, "at least --min-characters 9; use 0"),
        ({"min_letter_share": 1.5}, "--min-letter-share 1.5: must be a share"),
        ({"max_garbled_share": -0.1}, "--max-garbled-share -0.1: must be a share"),
    ],
)
def test_values_out_of_range_are_named(values, message):
    with pytest.raises(ConfigError, match=message):
        PrepareConfig(**values)
