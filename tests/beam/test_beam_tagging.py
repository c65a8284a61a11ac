"""What is tagged on Beam is what one machine tags, whatever threads a worker runs."""

import dataclasses
import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
import spacy

from spanbert_jax.config import PrepareConfig
from spanbert_jax.corpus import job, tagging
from spanbert_jax.corpus.prepare import prepare
from spanbert_jax.corpus.progress import SilentProgress
from spanbert_jax.corpus.tagging import Tagger, find_tagging

# Beam is full of them, at our expense.
pytestmark = pytest.mark.filterwarnings("ignore")

WORDS = "river mountain window garden letter winter summer bridge castle silver copper".split()
# Each works off batches in threads of its own process.
MODES = {
    "in_memory": "--direct_running_mode=in_memory",
    "threads": "--direct_running_mode=multi_threading --direct_num_workers=4",
    "processes": "--direct_running_mode=multi_processing --direct_num_workers=2",
}


def story(number: int) -> str:
    """Sentences in which every story has words of its own, which a zone forgets again."""
    source = random.Random(number)
    sentences = (
        [f"x{source.randrange(10**6)}", *source.choices(WORDS, k=source.randint(5, 12))]
        for _ in range(8)
    )
    return " ".join(f"{' '.join(words).capitalize()}." for words in sentences)


@pytest.fixture
def config(tmp_path, monkeypatch) -> PrepareConfig:
    monkeypatch.setattr(job, "TASK_CHARACTERS", 4_000)
    # So that zones begin early.
    monkeypatch.setattr(tagging, "_REMEMBERED_CHARACTERS", 5_000)
    pipeline = spacy.blank("en")
    ruler = pipeline.add_pipe("entity_ruler")
    ruler.add_patterns(
        [
            {"label": "ORG", "pattern": "silver copper"},
            {"label": "PERSON", "pattern": [{"TEXT": {"REGEX": "^[Xx][0-9]*[05]$"}}]},
        ]
    )
    pipeline.to_disk(tmp_path / "rules")
    (tmp_path / "a.txt").write_text("\n\n".join(map(story, range(300))))
    return PrepareConfig(
        source=(f"text:{tmp_path}/a.txt",), out=str(tmp_path / "local"), vocab_size=150,
        sentencepiece_type="bpe", held_out=0.1, shard_tokens=5_000, num_workers=1,
        tag="spacy:ents", tag_model=str(tmp_path / "rules"),
    )  # fmt: skip


@pytest.mark.parametrize("mode", MODES)
def test_tagged_shards_are_the_same_bytes_as_on_one_machine(config, tmp_path, mode):
    manifest = prepare(config, progress=SilentProgress())
    assert manifest.totals["train"]["num_spans"] > 300
    on_beam = dataclasses.replace(
        config, out=str(tmp_path / "beam"), runner="beam",
        beam_options=f"--runner=DirectRunner {MODES[mode]}",
    )  # fmt: skip
    assert prepare(on_beam, progress=SilentProgress()) == manifest
    names = {path.name for path in (tmp_path / "local").iterdir()}
    assert names == {path.name for path in (tmp_path / "beam").iterdir()}
    for name in names:
        assert (tmp_path / "beam" / name).read_bytes() == (tmp_path / "local" / name).read_bytes()


def test_threads_that_share_a_tagger_find_what_one_alone_finds(config):
    found = find_tagging(config)
    assert found is not None
    tagger = Tagger(found)

    def tag(number: int) -> list[list[tuple[int, int]]]:
        documents = [[[story(100 * number + each)]] for each in range(40)]
        return tagger.tag(documents, [Counter() for _ in documents])

    alone = list(map(tag, range(40)))
    assert sum(map(len, alone)) == 1_600 and any(map(any, alone))
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(tag, range(40))) == alone
