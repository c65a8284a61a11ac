"""Tagged spans: found in text, found again among tokens, the same in every process."""

import dataclasses
import importlib.util
import json
import random
import shutil
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import spacy
from spacy.language import Language
from spacy.tokens import Doc

from spanbert_jax.__main__ import main
from spanbert_jax.config import PrepareConfig
from spanbert_jax.corpus import tagging as tagging_module
from spanbert_jax.corpus.documents import RawDocument
from spanbert_jax.corpus.encoding import Encoder
from spanbert_jax.corpus.prepare import prepare
from spanbert_jax.corpus.progress import SilentProgress
from spanbert_jax.corpus.shards import load_shard
from spanbert_jax.corpus.tagged_encoding import token_spans
from spanbert_jax.corpus.tagging import Tagger, find_tagging
from spanbert_jax.corpus.tokenizers import Tokenizer, load_tokenizer, train_tokenizer
from spanbert_jax.errors import UserError

ENTITIES = {
    "PERSON": ["Al Fox", "Dr. Éva Nagy"],
    "GPE": ["New York", "Athens"],
    "ORG": ["The Daily Harbour"],
    "DATE": ["1854", "last winter"],
    "CARDINAL": ["twelve"],
}
NAMES = [name for label in ("PERSON", "GPE", "ORG") for name in ENTITIES[label]]
WORDS = "a the old green river lake bridge house saw crossed found near under quickly and".split()
NOUNS = {"river", "lake", "bridge", "house"}
MODIFIERS = {"a", "the", "old", "green"}


@Language.component("spanbert_test_chunks", assigns=["token.dep", "token.head", "token.pos"])
def tag_noun_phrases(doc: Doc) -> Doc:
    """A parse good enough for noun chunks: what stands before a noun hangs on it."""
    nouns = [word.i for word in doc if word.lower_ in NOUNS]
    for word in doc:
        noun = next((i for i in nouns if i >= word.i), None)
        before = doc[word.i : noun] if noun is not None else ()
        inside = all(other.lower_ in MODIFIERS for other in before)
        if noun is not None and inside:
            word.head, word.dep_ = doc[noun], "dobj" if word.i == noun else "det"
            word.pos_ = "NOUN" if word.i == noun else "DET"
        else:
            word.head, word.dep_, word.pos_ = word, "ROOT", "X"
    return doc


@pytest.fixture(scope="module")
def ruler(tmp_path_factory) -> str:
    """A pipeline of spaCy that finds entities by rules, on disk."""
    return save_ruler(tmp_path_factory.mktemp("ruler") / "rules", ENTITIES)


def save_ruler(folder, entities: dict[str, list[str]]) -> str:
    pipeline = spacy.blank("en")
    patterns = [{"label": label, "pattern": n} for label, names in entities.items() for n in names]
    pipeline.add_pipe("entity_ruler").add_patterns(patterns)
    pipeline.to_disk(folder)
    return str(folder)


@pytest.fixture(scope="module")
def chunker(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("chunker")
    pipeline = spacy.blank("en")
    pipeline.add_pipe("spanbert_test_chunks")
    pipeline.to_disk(folder)
    return str(folder)


def tagger(model: str, tag: str = "spacy:ents", **values) -> Tagger:
    found = find_tagging(PrepareConfig(tag=tag, tag_model=model, **values))
    assert found is not None
    return Tagger(found)


def tagged(tagger: Tagger, documents: list[list[list[str]]]) -> list[list[str]]:
    """Texts of the spans of every sentence."""
    spans = tagger.tag(documents, [Counter() for _ in documents])
    sentences = [sentence for paragraphs in documents for part in paragraphs for sentence in part]
    return [
        [sentence[start:end] for start, end in found]
        for sentence, found in zip(sentences, spans, strict=True)
    ]


# Spans of tokens.


def test_spans_of_characters_become_spans_of_whole_words():
    offsets, dropped = [(0, 3), (3, 8), (8, 13), (13, 14)], Counter()
    spans = token_spans(
        [(0, 8), (9, 13)], offsets=offsets, word_starts=[1, 1, 1, 0], dropped=dropped
    )
    assert spans == [(0, 2), (2, 4)]
    assert not dropped


def test_tokens_that_cover_nothing_belong_to_the_character_behind_them():
    offsets = [(0, 1), (1, 1), (1, 1), (1, 2), (2, 3)]
    for word_starts in ([1, 1, 1, 1, 1], [1, 1, 0, 0, 1]):
        spans = token_spans([(1, 2)], offsets=offsets, word_starts=word_starts, dropped=Counter())
        assert spans == [(1, 4)]


def test_of_spans_that_share_words_the_longest_stays_and_of_those_the_first():
    offsets, dropped = [(i, i + 1) for i in range(6)], Counter()
    spans = [(0, 2), (1, 4), (1, 2), (1, 4), (5, 6)]
    apart = token_spans(spans, offsets=offsets, word_starts=[1] * 6, dropped=dropped)
    assert apart == [(1, 4), (5, 6)]
    assert dropped == {"overlapping tags": 3}
    # "New York-based": one word, two tags.
    both = token_spans([(0, 2), (2, 4)], offsets=offsets, word_starts=[1, 1, 0, 0, 1, 1],
                       dropped=dropped)  # fmt: skip
    assert both == [(0, 4)]


def test_spans_without_tokens_are_counted():
    dropped = Counter()
    assert token_spans([(2, 3)], offsets=[(0, 1)], word_starts=[1], dropped=dropped) == []
    assert token_spans([(0, 1)], offsets=[], word_starts=[], dropped=dropped) == []
    assert dropped == {"tags without tokens": 2}


def test_random_spans_hold_every_token_that_they_share_a_character_with():
    source = random.Random(3)
    for _ in range(300):
        ends = np.cumsum([source.randint(1, 4) for _ in range(source.randint(1, 20))]).tolist()
        offsets = list(zip([0, *ends[:-1]], ends, strict=True))
        starts = sorted(source.randint(0, ends[-1]) for _ in range(2))
        if starts[0] == starts[1]:
            continue
        word_starts = [True] + [source.random() < 0.5 for _ in offsets[1:]]
        ((first, last),) = token_spans(
            [tuple(starts)], offsets=offsets, word_starts=word_starts, dropped=Counter()
        )
        shared = [i for i, (s, e) in enumerate(offsets) if s < starts[1] and e > starts[0]]
        assert first <= shared[0] and shared[-1] < last
        assert word_starts[first] and (last == len(offsets) or word_starts[last])
        for begin, end in pairwise([*(i for i in range(first, last) if word_starts[i]), last]):
            assert set(range(begin, end)) & set(shared)


# Spans of characters.


def test_every_sentence_gets_its_own_spans(ruler):
    documents = [[["I met Al Fox.", "He left."], ["Athens"]], [], [["Al Fox ran to New York."]]]
    assert tagger(ruler).tag(documents, [Counter() for _ in documents]) == [
        [(6, 12)], [], [(0, 6)], [(0, 6), (14, 22)],
    ]  # fmt: skip


def test_numerical_entities_are_left_out_and_counted(ruler):
    documents, dropped = [[["In 1854 Al Fox saw twelve bridges in Athens last winter."]]], Counter()
    (spans,) = tagger(ruler).tag(documents, [dropped])
    assert [documents[0][0][0][start:end] for start, end in spans] == ["Al Fox", "Athens"]
    assert dropped == {"tags DATE": 2, "tags CARDINAL": 1}
    with_dates = tagger(ruler, tag_skip_labels=("CARDINAL", "GPE"))
    assert tagged(with_dates, documents) == [["1854", "Al Fox", "last winter"]]


def test_a_span_across_the_end_of_a_sentence_is_left_out_and_counted(ruler):
    documents, dropped = [[["We saw Dr.", "Éva Nagy in Athens."]]], Counter()
    spans = tagger(ruler).tag(documents, [dropped])
    assert spans == [[], [(12, 18)]]
    assert dropped == {"tags across sentences": 1}


def test_what_is_too_long_for_spacy_is_counted_and_the_rest_tagged(ruler, monkeypatch):
    monkeypatch.setattr(tagging_module, "_MOST_CHARACTERS", 40)
    sentences = ["Al Fox ran.", "x" * 41, "Athens is far.", "New York is not.", "Al Fox"]
    documents, dropped = [[sentences, ["Athens"] * 30]], Counter()
    spans = tagger(ruler).tag(documents, [dropped])
    assert [len(found) for found in spans] == [1, 0, 1, 1, 1] + [1] * 30
    assert dropped == {"sentences too long to tag": 1}


def test_noun_chunks_are_found_where_the_pipeline_can(chunker):
    documents = [[["The old bridge crossed a river.", "Quickly!"], ["near green house"]]]
    found = tagged(tagger(chunker, "spacy:noun_chunks"), documents)
    assert found == [["The old bridge", "a river"], [], ["green house"]]


# Spans in shards.


def text_of(number: int) -> str:
    """A document of paragraphs with entities between words, some beside punctuation."""
    source = random.Random(number)
    choices = WORDS + NAMES + ENTITIES["DATE"]
    paragraphs = []
    for _ in range(3):
        sentences = [" ".join(source.choices(choices, k=source.randint(4, 12))) for _ in range(4)]
        paragraphs.append(
            " ".join(f"So {sentence}, “{source.choice(NAMES)}”." for sentence in sentences)
        )
    return "\n".join(paragraphs)


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory, train_byte_level) -> dict[str, Tokenizer]:
    source = random.Random(5)
    others = ("".join(source.choices("aeioudlnrst", k=source.randint(2, 8))) for _ in range(900))
    texts = [text_of(number) for number in range(30)] + [" ".join(others)]
    folder = tmp_path_factory.mktemp("tokenizers")
    found = {"byte-level": load_tokenizer(train_byte_level(folder, texts, vocab_size=400))}
    for kind in ("sentencepiece", "wordpiece"):
        found[kind] = train_tokenizer(PrepareConfig(tokenizer=kind, vocab_size=130), iter(texts))
    return found


@pytest.mark.parametrize("kind", ["sentencepiece", "wordpiece", "byte-level"])
def test_spans_of_tokens_spell_the_entities(tokenizers, ruler, kind):
    tokenizer = tokenizers[kind]
    texts = [text_of(number) for number in range(20)] + ["", "\x00", "Athens"]
    raws = [RawDocument(text, "here", "plain") for text in texts]
    encoded = Encoder(tokenizer, PrepareConfig(), tagger=tagger(ruler)).encode(raws)
    plain = Encoder(tokenizer, PrepareConfig()).encode(raws)
    np.testing.assert_array_equal(encoded.tokens, plain.tokens)
    assert plain.spans.shape == (0, 2)
    spelled = Counter()
    for start, end in encoded.spans.tolist():
        text = tokenizer.decode(encoded.tokens[start:end])
        # Without word marks before punctuation, it is part of the word.
        (name,) = (name for name in NAMES if name in text)
        assert set(text.replace(name, "")) <= set(" .,“”")
        spelled[name] += 1
    said = "\n".join(texts)
    expected = {name: said.count(name) for name in NAMES}
    lost = sum(expected.values()) - spelled.total()
    # "Dr." may end a sentence, and then cuts a name in two.
    across = sum(counts["tags across sentences"] for counts in encoded.dropped)
    overlapping = sum(counts["overlapping tags"] for counts in encoded.dropped)
    assert lost == across + overlapping < 0.2 * spelled.total()
    assert (np.diff(encoded.spans.ravel()) >= 0).all()
    ends = np.cumsum(encoded.sentence_lengths)
    sentence_of = np.searchsorted(ends, encoded.spans[:, 0], side="right")
    assert (encoded.spans[:, 1] <= ends[sentence_of]).all()


def test_spans_do_not_depend_on_the_documents_that_come_along(tokenizers, ruler):
    raws = [RawDocument(text_of(number), "here", "plain") for number in range(12)]
    encoder = Encoder(tokenizers["wordpiece"], PrepareConfig(), tagger=tagger(ruler))
    together = encoder.encode(raws)
    alone = [encoder.encode([raw]) for raw in raws]
    begins = np.cumsum([0, *(len(each.tokens) for each in alone[:-1])])
    spans = [each.spans + begin for each, begin in zip(alone, begins, strict=True)]
    np.testing.assert_array_equal(together.spans, np.concatenate(spans))


def test_the_same_is_found_once_new_words_are_forgotten(ruler, monkeypatch):
    documents = [[[text_of(number).replace("\n", " ")]] for number in range(6)]
    remembering = tagged(tagger(ruler), documents)
    monkeypatch.setattr(tagging_module, "_REMEMBERED_CHARACTERS", 1_000)
    forgetting = tagger(ruler)
    assert [tagged(forgetting, [document])[0] for document in documents] == remembering
    known = len(forgetting._pipeline.vocab.strings)
    tagged(forgetting, [[[" ".join(f"word{number}" for number in range(1_000))]]])
    assert len(forgetting._pipeline.vocab.strings) == known


@pytest.fixture
def config(tmp_path, ruler) -> PrepareConfig:
    text = "\n\n".join(text_of(number) for number in range(60))
    (tmp_path / "text.txt").write_text(text, encoding="utf-8")
    return PrepareConfig(
        source=(f"text:{tmp_path}/text.txt",), out=str(tmp_path / "shards"), vocab_size=120,
        tokenizer="wordpiece", held_out=0.1, shard_tokens=2_000, num_workers=1,
        tag="spacy:ents", tag_model=ruler,
    )  # fmt: skip


def run(config: PrepareConfig, **values):
    return prepare(dataclasses.replace(config, **values), progress=SilentProgress())


def test_tagged_shards_hold_the_spans_and_say_what_was_tagged(config, tmp_path):
    manifest = run(config)
    folder = tmp_path / "shards"
    tokenizer = load_tokenizer(folder)
    shards = [load_shard(folder, info) for infos in manifest.splits.values() for info in infos]
    texts = [
        tokenizer.decode(shard.tokens[start:end])
        for shard in shards
        for start, end in shard.spans.tolist()
    ]
    assert len(shards) > 4
    assert set(texts) <= set(NAMES) and len(texts) > 500
    assert manifest.totals["train"]["num_spans"] + manifest.totals["held_out"]["num_spans"] == len(
        texts
    )
    assert manifest.options["tag"] == "spacy:ents"
    assert manifest.options["tag_model"].startswith("en_pipeline 0.0.0 (files ")
    assert f"spaCy {spacy.__version__}" in manifest.options["tag_model"]
    assert "DATE" in manifest.options["tag_skip_labels"]
    assert manifest.counts["tags DATE"] > 100


def test_two_processes_tag_as_one_does(config, tmp_path):
    one, two = run(config), run(config, out=str(tmp_path / "two"), num_workers=2)
    assert one == two
    for path in (tmp_path / "shards").glob("*.npy"):
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_without_a_tag_nothing_is_tagged_and_spacy_not_asked(config, tmp_path, monkeypatch):
    monkeypatch.setattr(tagging_module, "_load", lambda tagging: pytest.fail("asked for spaCy"))
    manifest = run(config, tag="")
    assert manifest.totals["train"]["num_spans"] == 0
    assert manifest.options["tag"] == ""
    assert "tag_model" not in manifest.options


def test_a_resumed_run_refuses_another_pipeline_and_other_tags(config, tmp_path):
    model = tmp_path / "rules"
    save_ruler(model, ENTITIES)
    run(config, tag_model=str(model))
    (tmp_path / "shards" / "manifest.json").unlink()
    assert run(config, tag_model=str(model)).totals["train"]["num_spans"] > 0
    (tmp_path / "shards" / "manifest.json").unlink()
    shutil.rmtree(model)
    save_ruler(model, ENTITIES | {"GPE": ["Athens"]})
    with pytest.raises(UserError, match="was made with --tag-model en_pipeline 0.0.0"):
        run(config, tag_model=str(model))
    with pytest.raises(UserError, match="made with --tag spacy:ents, not without it; use --tag"):
        run(config, tag="")
    with pytest.raises(UserError, match="--tag-skip-labels"):
        run(config, tag_model=str(config.tag_model), tag_skip_labels=())


def test_a_folder_without_tags_is_not_taken_for_one_with(config):
    run(config, tag="")
    with pytest.raises(UserError, match="was made without --tag, not with --tag spacy:ents"):
        run(config)


def test_a_complete_folder_needs_no_pipeline(config, tmp_path, monkeypatch):
    model = tmp_path / "rules"
    save_ruler(model, ENTITIES)
    first = run(config, tag_model=str(model))
    monkeypatch.setattr(tagging_module.importlib.metadata, "version", lambda name: "3.99")
    assert run(config, tag_model=str(model)) == first
    shutil.rmtree(model)
    assert run(config, tag_model=str(model)) == first


# Bad input.


def test_an_unknown_tag_is_named_with_the_nearest_one(capsys):
    with pytest.raises(UserError, match=r"--tag spacy:entities: .* perhaps you meant spacy:ents"):
        PrepareConfig(tag="spacy:entities")
    with pytest.raises(UserError, match="--tag flair: must be KIND:WHAT, one of spacy:ents, spacy"):
        PrepareConfig(tag="flair")
    with pytest.raises(UserError, match="--tag-model '': must name"):
        PrepareConfig(tag="spacy:ents", tag_model="")
    assert main(["pretrain", "configs/quickstart.py", "--prepare.tag", "spacy:noun-chunks"]) != 0
    said = capsys.readouterr().err
    assert "--prepare.tag spacy:noun-chunks" in said and "spacy:noun_chunks" in said


def test_missing_spacy_names_the_command_that_installs_it(config, tmp_path, monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(
        tagging_module.importlib.util, "find_spec",
        lambda name: None if name == "spacy" else real(name),
    )  # fmt: skip
    with pytest.raises(UserError, match=r"needs spaCy.*pip install -e '\.\[spacy\]'"):
        run(config)
    assert not (tmp_path / "shards").exists()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("en_core_web_none", r"found neither; install one with `python -m spacy download"),
        ("/nowhere/model", "found neither"),
        (".", "found a folder without meta.json"),
        ("json", "found a folder without meta.json"),
    ],
)
def test_a_missing_pipeline_is_named(config, tmp_path, monkeypatch, model, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=f"--tag-model {model}: .*{message}"):
        run(config, tag_model=model)
    assert not (tmp_path / "shards").exists()


def test_a_pipeline_of_another_language_is_refused(config, ruler):
    with pytest.raises(UserError, match=r"must be of --language de or of many \(xx\), found .* en"):
        run(config, language="de")


@pytest.mark.parametrize(
    ("content", "message"),
    [("[1, 2", "its meta.json must be a JSON object"), ("[1, 2]", "must be a JSON object")],
)
def test_a_damaged_pipeline_is_named(config, tmp_path, content, message):
    model = tmp_path / "rules"
    save_ruler(model, ENTITIES)
    (model / "meta.json").write_text(content)
    with pytest.raises(UserError, match=message):
        run(config, tag_model=str(model))


def test_a_pipeline_that_cannot_be_loaded_is_named(config, tmp_path):
    model = tmp_path / "rules"
    save_ruler(model, ENTITIES)
    file = model / "config.cfg"
    file.write_text(file.read_text().replace('factory = "entity_ruler"', 'factory = "no_such"'))
    with pytest.raises(
        UserError, match=r"must be a pipeline that spaCy can load, found ValueError"
    ):
        run(config, tag_model=str(model))
    assert not (tmp_path / "shards").exists()


def test_what_a_pipeline_lacks_is_named(ruler, tmp_path):
    with pytest.raises(UserError, match="must have the component parser, found entity_ruler"):
        tagger(ruler, "spacy:noun_chunks")
    spacy.blank("en").to_disk(tmp_path / "blank")
    with pytest.raises(UserError, match="finds entities, such as ner .*, found no component"):
        tagger(str(tmp_path / "blank"))
    spacy.blank("xx").to_disk(tmp_path / "many")
    with pytest.raises(UserError, match="rules for the noun chunks of its language, xx"):
        tagger(str(tmp_path / "many"), "spacy:noun_chunks")
    pipeline = spacy.blank("en")
    pipeline.add_pipe("attribute_ruler").add([[{}]], {"DEP": "dep"})
    pipeline.to_disk(tmp_path / "no_pos")
    with pytest.raises(UserError, match="a component that sets parts of speech"):
        tagger(str(tmp_path / "no_pos"), "spacy:noun_chunks")


def test_a_pipeline_that_differs_between_processes_is_refused(tmp_path):
    model = save_ruler(tmp_path / "rules", ENTITIES)
    found = find_tagging(PrepareConfig(tag="spacy:ents", tag_model=model))
    meta = json.loads((tmp_path / "rules" / "meta.json").read_text())
    (tmp_path / "rules" / "meta.json").write_text(json.dumps(meta | {"version": "0.0.1"}))
    with pytest.raises(UserError, match="must be the same in every process"):
        Tagger(found)


def test_components_that_nothing_needs_do_not_run(tmp_path):
    pipeline = spacy.blank("en")
    # This tok2vec serves nobody: ner has its own.
    for name in ("sentencizer", "tok2vec", "senter", "ner"):
        pipeline.add_pipe(name)
    pipeline.get_pipe("ner").add_label("PERSON")
    pipeline.initialize()
    pipeline.to_disk(tmp_path / "model")
    assert tagger(str(tmp_path / "model"))._pipeline.pipe_names == ["ner"]
    pipeline.add_pipe("entity_ruler").add_patterns([{"label": "GPE", "pattern": "Athens"}])
    pipeline.to_disk(tmp_path / "ruled")
    assert len(tagger(str(tmp_path / "ruled"))._pipeline.pipe_names) == 5
