"""Files of sentences: columns and JSON lines, and bad input."""

import gzip
from collections import Counter

import pytest

from spanbert_jax.config.tasks import TaggingConfig
from spanbert_jax.errors import ConfigError, UserError
from spanbert_jax.tasks.tagging.entities import entities_of
from spanbert_jax.tasks.tagging.task import Tagging


def read(path, *, training=False, **options):
    return Tagging(TaggingConfig(**options)).read(path, training=training)


def test_columns_and_json_lines_give_the_same_sentences(write):
    columns = read(write()).examples
    lines = (
        '{"tokens": ["Ada", "Lovelace", "went"], "tags": ["B-PER", "I-PER", "O"]}\n\n'
        '{"tokens": ["in", "Rome"], "tags": ["O", "B-LOC"]}\n'
    )
    jsonl = read(write(lines, "train.jsonl")).examples
    assert [each[:2] for each in columns] == [each[:2] for each in jsonl]
    assert columns[0].words == ("Ada", "Lovelace", "went")
    assert columns[0].tags == ("B-PER", "I-PER", "O")
    assert columns[1].where.endswith("train.conll:5")


def test_a_compressed_file_is_read_as_what_its_name_says_before_gz(write, tmp_path):
    line = '{"tokens": ["Ada"], "tags": ["B-PER"]}\n'
    for name, text in (("a.jsonl.gz", line), ("a.conll.gz", "Ada B-PER\n")):
        (tmp_path / name).write_bytes(gzip.compress(text.encode()))
        assert read(str(tmp_path / name)).examples[0].words == ("Ada",)
    (tmp_path / "a.conll.gz").write_bytes(gzip.compress(b"Ada B-PER\n")[:-4])
    with pytest.raises(UserError, match="a.conll.gz: is damaged, cut off"):
        read(str(tmp_path / "a.conll.gz"))


def test_document_starts_tabs_and_columns_between_are_read(write):
    text = "-DOCSTART- -X- O O\n\nAda NNP I-NP B-PER\n\nNew\tYork\tX\tB-LOC\n"
    sentences = read(write(text)).examples
    assert [each.words for each in sentences] == [("Ada",), ("New",)]
    assert [each.tags for each in sentences] == [("B-PER",), ("B-LOC",)]
    chunks = read(write(text), tag_column=2, scheme="io", token_column=1).examples
    assert chunks[0] == chunks[0]._replace(words=("NNP",), tags=("B-NP",))


def test_a_space_that_does_not_break_is_part_of_its_word(write):
    for text in ("10\u00a0km  O\n\u00a0 O\n", "10\u00a0km\tO\n\u00a0\tO\n"):
        (sentence,) = read(write(text)).examples
        assert sentence.words == ("10\u00a0km", "\u00a0")


def test_io_tags_are_read_as_bio_and_said(write):
    dataset = read(write("New I-LOC\nYork I-LOC\nwent O\n"))
    assert dataset.examples[0].tags == ("B-LOC", "I-LOC", "O")
    assert dataset.notes == ("tags are IO, read as BIO: neighbours of one type are one entity",)


def test_types_without_a_letter_need_the_scheme_io(write):
    path = write("New LOC\nYork LOC\nwent O\n")
    assert read(path, scheme="io").examples[0].tags == ("B-LOC", "I-LOC", "O")
    with pytest.raises(UserError, match="train.conll:1: a tag must be O.*'LOC'.*scheme io reads"):
        read(path)


def test_bilou_is_read_as_iobes(write):
    dataset = read(write("New B-LOC\nYork L-LOC\nRome U-LOC\n"))
    assert dataset.examples[0].tags == ("B-LOC", "I-LOC", "B-LOC")
    assert dataset.notes == ("tags are IOBES, read as BIO",)


def test_tags_inside_that_begin_an_entity_are_said(write):
    assert read(write("a B-X\nb O\nc I-X\n")).notes == ("1 tags I- begin an entity, read as B-",)


def test_words_without_tags_are_predicted_but_not_trained_on(write):
    path = write("Ada\nwent\n\nRome\n", "test.conll")
    assert [each.tags for each in read(path).examples] == [None, None]
    dataset = read(path, training=True)
    assert dataset.examples == [] and dataset.notes == ("2 sentences without tags are left out",)


def test_entities_too_long_for_spans_are_counted(write):
    path = write("a B-X\nb I-X\nc I-X\n\nd B-X\n")
    (note,) = read(path, method="spans", max_span_words=2).notes
    assert note.startswith("1 of 2 entities have more words than --task.max-span-words 2")
    assert read(path, method="spans").notes == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Ada B-PER\nwent\n", "train.conll:2: must have 2 columns as the lines before, found 1"),
        ("Ada B-PER\n\nwent X O\n", "train.conll:3: must have 2 columns .* found 3"),
        ("Ada B-PER\nwent Q-PER\n", "train.conll:2: a tag must be O.*'Q-PER'"),
        ("Ada B-\n", "train.conll:1: a tag must be O.*'B-'"),
        ("Ada B-PER\n\tO\n", "train.conll:2: a line must hold a word, found an empty column"),
    ],
)
def test_a_malformed_line_is_named(text, message, write):
    with pytest.raises(UserError, match=message):
        read(write(text))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"tokens": ["a"], "tags": ["O", "O"]}', "train.jsonl:2: tags must be a list of 1 tags"),
        ('{"tokens": "a"}', "train.jsonl:2: tokens must be a list of words"),
        ('{"tokens": ["a"]', "train.jsonl:2: must be one JSON object a line"),
        ('{"tokens": ["\\ud800"]}', "train.jsonl:2: a word holds half of a surrogate pair"),
        ('{"tokens": ["a"], "tags": ["B-\\ud800"]}', "train.jsonl:2: a tag holds half of a surr"),
        ("[1]", "train.jsonl:2: must be a JSON object, found list"),
        ('{"tokens": ["a"], "tags": [3]}', "train.jsonl:2: tags must be a list of 1 tags"),
    ],
)
def test_a_malformed_json_line_is_named(line, message, write):
    with pytest.raises(UserError, match=message):
        read(write('{"tokens": ["a"], "tags": ["O"]}\n' + line, "train.jsonl"))


def test_a_column_that_does_not_exist_is_refused(write):
    with pytest.raises(UserError, match="train.conll:1: --task.tag-column 3 must be one of 2"):
        read(write(), tag_column=3)


def test_tags_of_another_scheme_than_the_named_one_are_refused(write):
    with pytest.raises(UserError, match=r"--task.scheme bio\), found 'S-X'"):
        read(write("a S-X\n"), scheme="bio")
    with pytest.raises(ConfigError, match="--task.scheme bmes: must be one of detect, bio"):
        TaggingConfig(scheme="bmes")  # type: ignore[arg-type]


IO = "tags are IO, read as BIO: neighbours of one type are one entity"
# Sentences, words, entities of each type, what is said.
REAL = {
    "wnut17/wnut17train.conll": (
        3394, 62730,
        {"corporation": 221, "creative-work": 140, "group": 264, "location": 548, "person": 660,
         "product": 142},
        (),
    ),
    "wnut17/emerging.dev.conll": (
        1009, 15733,
        {"corporation": 34, "creative-work": 105, "group": 39, "location": 74, "person": 470,
         "product": 114},
        (),
    ),
    "wikigold/train.conll": (
        983, 22335, {"LOC": 574, "MISC": 359, "ORG": 556, "PER": 542}, (IO,),
    ),
    "wikigold/dev.conll": (491, 11877, {"LOC": 302, "MISC": 263, "ORG": 250, "PER": 250}, (IO,)),
}  # fmt: skip


@pytest.mark.parametrize("file", list(REAL))
def test_every_sentence_of_the_real_files_is_an_example(file, shared):
    number, words, types, notes = REAL[file]
    dataset = read(str(shared / "data" / "ner" / file), training="train" in file)
    assert len(dataset.examples) == number and dataset.notes == notes
    assert sum(len(each.words) for each in dataset.examples) == words
    assert all(len(each.tags) == len(each.words) for each in dataset.examples)
    found = Counter(entity.type for each in dataset.examples for entity in entities_of(each.tags))
    assert found == types
