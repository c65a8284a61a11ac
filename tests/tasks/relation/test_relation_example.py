"""Relations of one sentence, as a user asks for them."""

import numpy as np
import pytest

from spanbert_jax.config.tasks import TacredConfig
from spanbert_jax.corpus.tokenizers.sentence_piece import train_sentencepiece
from spanbert_jax.errors import UserError
from spanbert_jax.tasks.relation.rows import parts_of
from spanbert_jax.tasks.relation.tacred import Tacred

TASK = Tacred(TacredConfig())
WORDS = {"tokens": ["-LRB-", "the", "mayor", "-RRB-"], "subject": [2, 2], "object": [0, 1]}


def test_words_and_text_name_the_same_entities():
    words = TASK.example(WORDS)
    assert words.text == "( the mayor )"
    text = TASK.example({"text": "( the mayor )", "subject": [6, 11], "object": [0, 5]})
    assert (words.subject, words.object) == (text.subject, text.object) == ((6, 11), (0, 5))


def test_markers_stand_where_entities_begin_and_end():
    example = TASK.example({"text": "The mayor, Ada", "subject": [4, 9], "object": [11, 14]})
    assert [part.text or part.kind for part in parts_of(example)] == [
        "The", "SUBJ_START", " mayor", "SUBJ_END", ",", "OBJ_START", " Ada", "OBJ_END",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"verb": 1}, "must have the fields .* alone, found verb"),
        ({"text": "x"}, "either tokens or text, found both"),
        ({"subject": [1]}, r"subject must be a pair of positions, found \[1\]"),
        ({"object": [3, 7]}, "object must be first and last word"),
        ({"tokens": "the mayor"}, "tokens must be a list of words"),
        ({"subject_type": 4}, "subject_type must be text, found 4"),
    ],
)
def test_a_field_that_is_wrong_is_named(changes, message):
    with pytest.raises(UserError, match=message):
        TASK.example(WORDS | changes)


def test_text_offsets_outside_the_text_are_refused():
    with pytest.raises(UserError, match=r"object must be characters .* <= 3, found 2 and 9"):
        TASK.example({"text": "a b", "subject": [0, 1], "object": [2, 9]})
    with pytest.raises(UserError, match="found neither"):
        TASK.example({"subject": [0, 1], "object": [2, 9]})


def test_a_missing_type_is_refused_where_the_model_reads_types(write, tokenizer, record):
    train = TASK.read(write(record(), record(relation="x")), training=True).examples
    tables = TASK.tables(train, tokenizer)
    with pytest.raises(UserError, match="subject_type is missing.*give one of TITLE"):
        list(TASK.rows([TASK.example(WORDS)], tokenizer=tokenizer, tables=tables, training=False))
    typed = TASK.example(WORDS | {"subject_type": "TITLE", "object_type": "CITY"})
    rows = TASK.rows([typed], tokenizer=tokenizer, tables=tables, training=False)
    assert len(next(iter(rows)).token_ids) == 5


def test_text_mode_reads_no_types(write, tokenizer, record):
    task = Tacred(TacredConfig(mode="text"))
    train = task.read(write(record(), record(relation="x")), training=True).examples
    tables = task.tables(train, tokenizer)
    rows = list(
        task.rows([task.example(WORDS)], tokenizer=tokenizer, tables=tables, training=False)
    )
    assert rows[0].token_ids.dtype == np.int32 and len(rows[0].token_ids) == 10


def test_byte_level_pieces_keep_the_space_before_a_word(write, tmp_path, train_byte_level, record):
    from spanbert_jax.corpus.tokenizers import load_tokenizer

    text = "The mayor of Wells married Ada. subject object title city person @ #"
    path = train_byte_level(tmp_path, [text] * 20, vocab_size=320)
    tokenizer = load_tokenizer(path)
    task = Tacred(TacredConfig(mode="text"))
    train = task.read(write(record(), record(relation="x")), training=True).examples
    tables = task.tables(train, tokenizer)
    row = next(iter(task.rows(train, tokenizer=tokenizer, tables=tables, training=False)))
    assert tokenizer.decode(row.token_ids) == " @The mayor @ of # Wells # married Ada .".strip()


def test_sentencepiece_spells_markers_as_words(write, record):
    text = "The mayor of Wells married Ada. subject object title city person @ #"
    tokenizer = train_sentencepiece([text] * 20, vocab_size=60, model_type="bpe")
    train = TASK.read(write(record(), record(relation="x")), training=True).examples
    tables = TASK.tables(train, tokenizer)
    row = next(iter(TASK.rows(train, tokenizer=tokenizer, tables=tables, training=False)))
    assert tokenizer.decode(row.token_ids) == "@ title @ of # city # married Ada ."
