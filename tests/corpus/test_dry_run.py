"""A dry run says what would happen, close to what does, and writes nothing."""

import dataclasses
import re

import pytest

from spanbert_jax.commands.prepare import run
from spanbert_jax.config import PrepareConfig
from spanbert_jax.corpus import dry_run as dry_run_module
from spanbert_jax.corpus.prepare import prepare
from spanbert_jax.corpus.progress import SilentProgress
from spanbert_jax.errors import UserError


@pytest.fixture
def config(write_stories, tmp_path) -> PrepareConfig:
    paths = write_stories([200, 150, 250])
    with paths[1].open("a") as file:
        file.write("\n\nShort.\n\n" + paths[0].read_text().split("\n\n")[0])
    return PrepareConfig(
        source=(f"text:{tmp_path}/text/*.txt",), out=str(tmp_path / "shards"), vocab_size=300,
        sentencepiece_type="bpe", shard_tokens=10_000, min_characters=20, dry_run=True,
    )  # fmt: skip


def numbers(line: str) -> list[int]:
    return [int(found.replace(",", "")) for found in re.findall(r"\d[\d,]*", line)]


def test_it_names_what_would_happen_and_writes_nothing(config, tmp_path, capsys, folder_bytes):
    before = folder_bytes(tmp_path)
    run(config)
    source, left_out, _, tokens, shards, duration, written = capsys.readouterr().out.splitlines()
    assert folder_bytes(tmp_path) == before
    assert source.startswith(f"{config.source[0]}: 3 files, ")
    assert source.endswith(" 602 documents")
    assert left_out == (
        "left out of the 602 documents of the sample: 1 documents shorter than --min-characters, "
        "1 exact duplicates"
    )
    assert duration.startswith("about ") and "MB/s" in duration
    assert written == f"nothing was written; {config.out} is as it was"
    manifest = prepare(dataclasses.replace(config, dry_run=False), progress=SilentProgress())
    true = sum(totals["num_tokens"] for totals in manifest.totals.values())
    assert abs(numbers(tokens)[0] - true) < 0.02 * true
    assert abs(numbers(shards)[0] - len(manifest.splits["train"])) <= 1


def test_a_sample_stands_for_the_whole(config, capsys, monkeypatch):
    monkeypatch.setattr(dry_run_module, "_SAMPLE_CHARACTERS", 60_000)
    run(config)
    source, _, _, tokens, *_ = capsys.readouterr().out.splitlines()
    assert 540 < numbers(source.partition("MB, about ")[2])[0] < 660
    monkeypatch.undo()
    run(config)
    whole = capsys.readouterr().out.splitlines()[3]
    assert 0.8 < numbers(tokens)[0] / numbers(whole)[0] < 1.25


def test_with_a_mixture_and_near_duplicates(config, tmp_path, capsys):
    spec = f"text:{tmp_path}/text/000.txt"
    config = dataclasses.replace(
        config, source=(spec, f"text:{tmp_path}/text/002.txt"), near_duplicates=0.8,
        mixture=(0.8, 0.2),
    )  # fmt: skip
    run(config)
    tokens = capsys.readouterr().out.splitlines()[4]
    run(dataclasses.replace(config, source=(spec,), mixture=()))
    of_first = capsys.readouterr().out.splitlines()[3]
    assert 0.7 < numbers(of_first)[0] / numbers(tokens)[0] < 0.9


def test_mistakes_are_named_as_in_earnest(config, tmp_path):
    with pytest.raises(UserError, match="--source text:/nowhere"):
        run(dataclasses.replace(config, source=("text:/nowhere/*.txt",)))
    with pytest.raises(UserError, match="--tokenizer /nowhere/vocab.txt: no such file"):
        run(dataclasses.replace(config, tokenizer="/nowhere/vocab.txt"))
    with pytest.raises(UserError, match="--dry-run: is of `spanbert prepare` alone"):
        prepare(config, progress=SilentProgress())
    assert not (tmp_path / "shards").exists()


def test_a_folder_that_is_there_is_said_to_be_complete_or_of_something_else(config, capsys):
    prepare(dataclasses.replace(config, dry_run=False), progress=SilentProgress())
    run(config)
    assert capsys.readouterr().out == f"{config.out}: is complete; prepare would do nothing\n"
    with pytest.raises(UserError, match="was made with --min-characters 20, not 30"):
        run(dataclasses.replace(config, min_characters=30))


def test_filters_that_leave_nothing_are_named(config, capsys):
    run(dataclasses.replace(config, min_characters=10**9))
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == ("nothing is left of the sample: 602 documents shorter than --min-characters")


def test_a_tag_whose_pipeline_is_not_there_is_named(config):
    with pytest.raises(UserError, match="--tag-model no_such_pipeline"):
        run(dataclasses.replace(config, tag="spacy:ents", tag_model="no_such_pipeline"))
