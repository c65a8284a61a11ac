"""`spanbert inspect shards`: a folder in words and numbers, its masks measured and shown."""

import dataclasses
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from spanbert_jax.__main__ import main
from spanbert_jax.config import MaskingConfig
from spanbert_jax.config.inspect import InspectConfig
from spanbert_jax.corpus.shards import load_shard, read_manifest, write_manifest, write_shard
from spanbert_jax.errors import ConfigError

MASKS = ["--sequence-length", "32", "--rows", "100"]


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> str:
    """Shards of 120 documents, some of which hold what HTML takes for its own."""
    folder = tmp_path_factory.mktemp("inspected")
    sentences = ["The old <b>bridge</b> & the river are quiet.", "A farmer walked to the tower."]
    documents = [" ".join(sentences * (2 + i % 3)) + f" Line {i}." for i in range(120)]
    (folder / "text.txt").write_text("\n\n".join(documents))
    out = folder / "shards"
    arguments = ["--source", f"text:{folder}/text.txt", "--tokenizer", "wordpiece"]
    assert main(["prepare", *arguments, "--vocab-size", "120", "--out", str(out)]) == 0
    return str(out)


@pytest.fixture(scope="module")
def tagged(shards, tmp_path_factory) -> str:
    """The same shards, with the second and third token of every sentence annotated."""
    folder = tmp_path_factory.mktemp("tagged") / "shards"
    folder.mkdir()
    for file in Path(shards).iterdir():
        if file.is_file():
            (folder / file.name).write_bytes(file.read_bytes())
    manifest = read_manifest(folder)
    splits = {}
    for split, infos in manifest.splits.items():
        rewritten = []
        for info in infos:
            shard = load_shard(folder, info)
            starts = np.append(0, shard.sentence_ends[:-1])
            spans = np.stack([starts + 1, starts + 3], axis=1)
            spans = spans[spans[:, 1] <= shard.sentence_ends]
            rewritten.append(write_shard(folder, info.name, shard._replace(spans=spans)))
        splits[split] = tuple(rewritten)
    write_manifest(folder, dataclasses.replace(manifest, splits=splits))
    return str(folder)


def inspect(capsys, *arguments: str) -> str:
    capsys.readouterr()
    assert main(["inspect", "shards", *arguments]) == 0
    return capsys.readouterr().out


def refused(capsys, *arguments: str) -> str:
    capsys.readouterr()
    assert main(["inspect", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    return err.removeprefix("spanbert: error: ").rstrip("\n")


def test_a_folder_is_described_without_tensorflow_and_jax(shards):
    script = f"""
import sys
from spanbert_jax.__main__ import main
code = main(["inspect", "shards", {shards!r}])
print([code, [name for name in ("jax", "tensorflow") if name in sys.modules]])
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    *said, last = run.stdout.splitlines()
    assert last == "[0, []]"
    assert any("tokenizer: wordpiece, 120 entries" in line for line in said)
    assert any(line.startswith("train documents ") for line in said)


def test_masks_are_measured_and_shown_without_a_model(shards, tmp_path):
    script = f"""
import sys
from spanbert_jax.__main__ import main
flags = {[*MASKS, "--mask", "geometric_span", "--out", str(tmp_path / "a.html")]!r}
code = main(["inspect", "shards", {shards!r}, *flags])
# TensorFlow itself imports jax where it finds it.
print([code, [name for name in ("flax", "optax") if name in sys.modules]])
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "[0, []]"


def test_a_folder_in_json_holds_its_totals_and_percentiles(shards, capsys):
    found = json.loads(inspect(capsys, shards, "--json"))
    manifest = read_manifest(shards)
    assert found["tokenizer"]["vocab_size"] == 120
    for split, totals in manifest.totals.items():
        assert totals.items() <= found["splits"][split].items()
    longest = found["length_percentiles"]["train"]["documents"]["100%"]
    assert longest > found["length_percentiles"]["train"]["sentences"]["100%"] > 1


def test_measures_are_those_of_the_rows_that_training_is_fed(shards, capsys):
    found = json.loads(inspect(capsys, shards, "--mask", "geometric_span", *MASKS, "--json"))
    assert found["rows"] == 100
    assert found["masking"]["scheme"] == "geometric_span"
    assert 0.15 <= found["hidden_share"] < 0.2
    shares = [found[f"{kind}_share"] for kind in ("mask", "random", "kept")]
    assert sum(shares) == pytest.approx(1.0)
    hidden = sum(int(n) * count for n, count in found["spans_by_tokens"].items())
    text = found["tokens_per_row"] * found["rows"]
    assert hidden / text == pytest.approx(found["hidden_share"])
    spans = sum(found["spans_by_words"].values())
    assert spans == sum(found["spans_by_tokens"].values())
    assert spans / 100 == pytest.approx(found["spans_per_row"])
    assert found["padding_share"] == pytest.approx(1 - (text + 200) / 3_200)


def test_the_same_seed_shows_the_same_rows_and_another_others(shards, capsys):
    one, again, other = (
        inspect(capsys, shards, "--mask", "whole_word", *MASKS, "--seed", seed) for seed in "112"
    )
    assert one == again
    assert one.replace("seed 1", "seed 2") != other


def test_all_rows_of_a_small_corpus_are_measured_once(shards, capsys):
    flags = ["--mask", "subword", "--sequence-length", "32", "--rows", "100000", "--json"]
    found = json.loads(inspect(capsys, shards, *flags))
    num_tokens = read_manifest(shards).totals["train"]["num_tokens"]
    assert found["rows"] * found["tokens_per_row"] == pytest.approx(num_tokens)


def test_flags_of_masking_change_what_is_measured(shards, capsys):
    flags = ["--mask", "uniform_span", *MASKS, "--masking.max-span-words", "1"]
    flags += ["--masking.mask-ratio", "0.3", "--masking.mask-token-prob", "1"]
    found = json.loads(
        inspect(capsys, shards, *flags, "--masking.random-token-prob", "0", "--json")
    )
    assert found["mask_share"] == 1.0
    assert 0.3 <= found["hidden_share"] < 0.36
    assert found["masking"]["max_span_words"] == 1


def test_the_table_names_every_figure_and_length(shards, capsys):
    table = inspect(capsys, shards, "--mask", "geometric_span", *MASKS)
    first, *lines = table.splitlines()
    assert first == (
        f"geometric_span on the train split of {shards}: document blocks of 32 tokens, seed 0"
    )
    for label in (
        "tokens of text a row", "padding", "hidden tokens", "replaced by [MASK]", "kept",
        "replaced at random", "with a span-boundary target", "spans a row", "words a span",
    ):  # fmt: skip
        assert any(line.strip().startswith(label) for line in lines), label
    one = next(line for line in lines if re.match(r" +1 ", line))
    assert re.search(r"22\.4%", one), "the law of the lengths"
    assert max(map(len, lines)) <= 80


class Page(HTMLParser):
    """Tags that are open, their classes, and text; asserts that all are closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.classes: dict[str, int] = {}
        self.attributes: list[tuple[str, str | None]] = []
        self.tags: set[str] = set()
        self.texts: list[str] = []
        self.feed(html)
        self.close()
        assert self.stack == []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += attrs
        for name in (dict(attrs).get("class") or "").split():
            self.classes[name] = self.classes.get(name, 0) + 1
        if tag != "meta":
            self.stack.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.add(tag)

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def test_the_page_stands_alone_and_shows_every_kind_of_token(shards, capsys, tmp_path):
    out = tmp_path / "masks.html"
    flags = ["--mask", "geometric_span", *MASKS, "--texts", "40", "--out", str(out)]
    assert str(out) in inspect(capsys, shards, *flags)
    assert [file.name for file in tmp_path.iterdir()] == ["masks.html"]
    page = Page(out.read_text())
    assert not page.tags & {"script", "link", "img", "b"}
    assert not [value for name, value in page.attributes if name in ("src", "href")]
    assert "color-scheme: light dark" in out.read_text()
    assert page.classes["line"] == 40
    for kind in ("mask", "random", "kept", "boundary", "special"):
        # The legend shows every kind but the special ones once.
        assert page.classes[kind] > 1, kind
    text = " ".join("".join(page.texts).split())
    # Of the corpus: escaped, no markup.
    assert "< b" in text or "b >" in text
    assert "hidden, replaced by [MASK]" in text


def test_a_page_shows_what_the_model_sees_and_above_it_what_stood_there(shards, capsys, tmp_path):
    out = tmp_path / "masks.html"
    flags = ["--masking.mask-token-prob", "1", "--masking.random-token-prob", "0"]
    inspect(capsys, shards, "--mask", "whole_word", *MASKS, *flags, "--out", str(out))
    hidden = re.findall(r"<ruby>(.*?)<rt>(.*?)</rt></ruby>", out.read_text())
    assert len(hidden) > 6
    assert all(re.fullmatch(r"\[MASK\]( \[MASK\])*", seen) for seen, _ in hidden)
    assert all(stood and "[MASK]" not in stood for _, stood in hidden)


def test_annotated_spans_are_drawn_from_shards_that_hold_them(tagged, capsys):
    flags = [*MASKS, "--masking.tagged-prob", "0.9", "--json"]
    found = json.loads(inspect(capsys, tagged, "--mask", "tagged_span", *flags))
    assert found["masking"]["scheme"] == "tagged_span"
    assert found["rows"] == 100
    assert json.loads(inspect(capsys, tagged, "--json"))["splits"]["train"]["num_spans"] > 100


def test_what_is_annotated_is_hidden_the_more_the_likelier_it_is_drawn(tagged, capsys):
    shares = []
    for tagged_prob in ("0", "0.9"):
        flags = ["--masking.tagged-prob", tagged_prob, "--masking.base-scheme", "whole_word"]
        found = json.loads(
            inspect(capsys, tagged, "--mask", "tagged_span", *MASKS, *flags, "--json")
        )
        spans = found["spans_by_tokens"]
        shares.append(spans.get("2", 0) / sum(spans.values()))
    # Every annotated span is of two tokens.
    assert shares[1] > shares[0] + 0.2


def test_packed_rows_can_be_inspected(shards, capsys):
    flags = ["--mask", "geometric_span", "--sequence-length", "64", "--rows", "50", "--json"]
    packed = json.loads(inspect(capsys, shards, *flags, "--blocks", "packed"))
    document = json.loads(inspect(capsys, shards, *flags))
    assert packed["padding_share"] < document["padding_share"]
    assert packed["rows"] == 50


def test_sentence_pairs_and_held_out_documents_can_be_inspected(shards, capsys):
    flags = ["--mask", "geometric_span", *MASKS, "--json"]
    pairs = json.loads(inspect(capsys, shards, *flags, "--blocks", "sentence_pair"))
    assert pairs["blocks"] == "sentence_pair" and pairs["rows"] > 50
    held_out = json.loads(inspect(capsys, shards, *flags, "--split", "held_out"))
    assert held_out["split"] == "held_out" and held_out["rows"] < 100


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ([], ["takes what to inspect shards first", "spanbert inspect shards --help"]),
        (["runs"], ["shards first, not runs"]),
        (["shards"], ["SHARDS is missing", "`spanbert prepare` wrote"]),
        (["shards", "/no/such"], ["/no/such: a folder of shards must hold manifest.json"]),
        (["shards", "/no/such", "--mask", "geometric"],
         ["--mask geometric: is no masking scheme", "nearest one is geometric_span"]),
        (["shards", "--shards", "x"], ["SHARDS is typed by itself"]),
        (["shards", "x", "--mask", "tagged_span", "--masking.tagged-prob", "1"],
         ["--masking.tagged-prob 1.0: must be in [0, 1)"]),
        (["shards", "x", "--rows", "0"], ["--rows 0: must be greater than 0"]),
        (["shards", "x", "--texts", "101"], ["--texts 101: must be in 1 to 100"]),
        (["shards", "x", "--sequence-length", "3"], ["--sequence-length 3: must be at least 8"]),
        (["shards", "x", "--out", "a.html"], ["--out a.html: belongs to masks", "name one, such"]),
        (["shards", "x", "--masking.mask-ratio", "0.3"], ["--masking: belongs to masks"]),
        (["shards", "x", "--masking.scheme", "subword"],
         ["--masking.scheme subword: the scheme to inspect", "use --mask subword"]),
    ],
)  # fmt: skip
def test_mistakes_are_one_paragraph_with_rule_value_and_remedy(capsys, arguments, parts):
    message = refused(capsys, *arguments)
    for part in parts:
        assert part in message


@pytest.mark.parametrize(
    ("values", "flag"),
    [
        ({"seed": -1}, "--seed -1"),
        ({"seed": 2**31}, "--seed 2147483648"),
        ({"blocks": "packed", "over_long_sentences": "original"}, "--over-long-sentences original"),
        ({"max_boundary_offsets": 0}, "--max-boundary-offsets 0"),
        ({"masking": MaskingConfig(scheme="subword"), "mask": "whole_word"}, "--masking.scheme"),
    ],
)
def test_a_value_out_of_range_is_a_config_error(values, flag):
    with pytest.raises(ConfigError, match=flag):
        InspectConfig(shards="x", **values)


def test_annotated_spans_of_shards_without_any_are_refused(shards, capsys):
    message = refused(capsys, "shards", shards, "--mask", "tagged_span", *MASKS)
    assert message.startswith("--mask tagged_span: hides annotated spans, of which the shards in")
    assert "`spanbert prepare --tag spacy:ents`" in message


def test_text_that_makes_no_sentence_pairs_is_refused_by_the_flag_that_is_typed_here(
    shards, capsys, tmp_path
):
    (tmp_path / "text.txt").write_text("A farmer walked to the tower. " * 30)
    out = str(tmp_path / "shards")
    tokenizer = f"{shards}/{read_manifest(shards).tokenizer.file}"
    arguments = ["--source", f"text:{tmp_path}/text.txt", "--tokenizer", tokenizer, "--out", out]
    assert main(["prepare", *arguments, "--held-out", "0"]) == 0
    flags = ["--mask", "subword", *MASKS]
    message = refused(capsys, "shards", out, *flags, "--blocks", "sentence_pair")
    assert message.startswith("--blocks sentence_pair: a random second segment is of another")
    assert "--data" not in message
    held_out = refused(capsys, "shards", out, *flags, "--split", "held_out")
    assert held_out.startswith(f"--split held_out: {out} holds no document of it")


def test_a_page_without_a_place_is_refused_before_anything_is_measured(shards, capsys, tmp_path):
    flags = ["shards", shards, "--mask", "subword", "--out"]
    missing = refused(capsys, *flags, str(tmp_path / "no" / "a.html"))
    assert "its folder" in missing and "make it first" in missing
    folder = refused(capsys, *flags, str(tmp_path))
    assert "must be a file, found a folder" in folder
