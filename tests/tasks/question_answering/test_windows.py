"""Windows: their size, their order, their labels; and tokens' characters in any tokenizer."""

import numpy as np
import pytest

from spanbert_jax.config.tasks import SquadConfig
from spanbert_jax.corpus.tokenizers import load_tokenizer
from spanbert_jax.corpus.tokenizers.sentence_piece import train_sentencepiece
from spanbert_jax.errors import ConfigError
from spanbert_jax.tasks.question_answering.contexts import encode_contexts, encode_questions
from spanbert_jax.tasks.question_answering.question import Question
from spanbert_jax.tasks.question_answering.squad import Squad
from spanbert_jax.tasks.question_answering.windows import (
    max_context_flags,
    question_room,
    rows_of,
    window_spans,
)
from spanbert_jax.tasks.task import load_task

CONTEXT = "By Ada Lovelace in 1843, the first program."
TEXTS = ["By Ada Lovelace in 1843.", "the first program", "who wrote the first program?"] * 20


def rows(question: Question, tokenizer, *, training: bool, **values):
    (encoded,) = encode_questions([question], tokenizer)
    config = SquadConfig(**values)
    return list(rows_of(encoded, config=config, tokenizer=tokenizer, training=training))


def test_windows_begin_a_stride_apart_until_one_reaches_the_end():
    assert window_spans(10, room=6, stride=3) == [(0, 6), (3, 6), (6, 4)]
    assert window_spans(9, room=6, stride=3) == [(0, 6), (3, 6)]
    assert window_spans(6, room=6, stride=3) == [(0, 6)]
    assert window_spans(10, room=4, stride=9) == [(0, 4), (4, 4), (8, 2)]
    assert window_spans(0, room=6, stride=3) == [(0, 0)]


def test_every_token_is_shown_best_by_one_window():
    flags = max_context_flags([(0, 6), (3, 6)], 9)
    np.testing.assert_array_equal(flags, [[1, 1, 1, 1, 1, 0], [0, 0, 1, 1, 1, 1]])
    rng = np.random.default_rng(0)
    for _ in range(50):
        size, room, stride = rng.integers(1, [200, 40, 20])
        spans = window_spans(size, room=room, stride=stride)
        shown = np.zeros(size, int)
        for (start, length), best in zip(spans, max_context_flags(spans, size), strict=True):
            shown[start : start + length] += best
        np.testing.assert_array_equal(shown, 1)


def test_a_share_of_the_windows_without_the_answer_is_trained_on_and_all_with_it(word_pieces):
    context = " ".join([CONTEXT] * 40)
    question = Question("q", "Who wrote?", context, span=(3, 15), known=True)
    sizes = {"max_length": 32, "doc_stride": 4}
    every = rows(question, word_pieces, training=True, **sizes)
    tenth = rows(question, word_pieces, training=True, answerless_windows=0.1, **sizes)
    none = rows(question, word_pieces, training=True, answerless_windows=0.0, **sizes)
    assert [bool(row.fields["answer_end"]) for row in none] == [True] * len(none)
    assert 0.02 * len(every) < len(tenth) - len(none) < 0.25 * len(every)
    again = rows(question, word_pieces, training=True, answerless_windows=0.1, **sizes)
    np.testing.assert_array_equal(
        np.stack([row.token_ids[:32] for row in again[:-1]]),
        np.stack([row.token_ids[:32] for row in tenth[:-1]]),
    )
    asked = rows(question, word_pieces, training=False, answerless_windows=0.0, **sizes)
    assert len(asked) == len(every)
    unanswerable = Question("q", "Who wrote?", context, span=None, known=True)
    all_kept = rows(unanswerable, word_pieces, training=True, answerless_windows=0.0, **sizes)
    assert len(all_kept) == len(every)


def test_a_question_that_no_window_answers_keeps_all_of_them_and_is_told_of(word_pieces):
    """One whose answer is longer than a window, and one whose answer the tokenizer drops."""
    long = " ".join([CONTEXT] * 4)
    accent = long.replace("1843", "\u0301", 1)
    place = accent.index("\u0301")
    for context, span in ((long, (0, len(long))), (accent, (place, place + 1))):
        question = Question("q", "who?", context, span=span, known=True)
        sizes = {"max_length": 16, "doc_stride": 2}
        found = rows(question, word_pieces, training=True, answerless_windows=0.0, **sizes)
        assert len(found) > 1
        assert {int(row.fields["answer_end"]) for row in found} == {0}
        (remark,) = Squad(SquadConfig(**sizes)).remarks(found, tables={})
        assert "no window holds all of their answer" in remark


def test_a_row_is_question_and_context_in_two_segments(word_pieces):
    question = Question("q", "Who wrote?", CONTEXT, span=(3, 15), known=True)
    (row,) = rows(question, word_pieces, training=True)
    pieces = [word_pieces.id_to_piece(each) for each in row.token_ids]
    assert " ".join(pieces) == (
        "[CLS] who wrote ? [SEP] by ada love ##lace in 1843 , the first program . [SEP]"
    )
    assert row.segment_ids.tolist() == [0] * 5 + [1] * 12
    assert (row.fields["answer_start"], row.fields["answer_end"]) == (6, 8)
    assert row.token_ids.dtype == row.segment_ids.dtype == np.int32


def test_windows_that_miss_a_part_of_the_answer_are_labelled_zero(word_pieces):
    question = Question("q", "who?", f"{CONTEXT} {CONTEXT}", span=(3, 15), known=True)
    found = rows(question, word_pieces, training=True, max_length=16, doc_stride=2)
    labels = [(int(r.fields["answer_start"]), int(r.fields["answer_end"])) for r in found]
    # Windows of 11 tokens from 0 and from 2; "ada" is token 1.
    assert labels == [(5, 7)] + [(0, 0)] * (len(found) - 1)
    assert len(found) > 1 and all(len(row.token_ids) <= 16 for row in found)


def test_a_question_longer_than_the_window_is_cut_and_leaves_room_for_its_context(word_pieces):
    question = Question("q", "who wrote " * 100, CONTEXT)
    found = rows(question, word_pieces, training=False, max_length=32)
    assert question_room(SquadConfig(max_length=32)) == 21
    for row in found:
        assert len(row.token_ids) <= 32 and row.notes.first_position == 23
    assert found[-1].notes.first_token + found[-1].notes.num_tokens == 11
    assert rows(question, word_pieces, training=False)[0].notes.first_position == 66


def test_cut_questions_and_answers_longer_than_any_window_are_counted(word_pieces):
    long = " ".join([CONTEXT] * 9)
    questions = [
        Question("q1", "who wrote " * 100, CONTEXT, span=(3, 15), known=True),
        Question("q2", "who?", long, span=(0, len(long)), known=True),
        Question("q3", "who?", long, span=(3, 15), known=True),
    ]
    task = load_task(SquadConfig(max_length=32))
    found = {
        training: task.remarks(
            list(task.rows(questions, tokenizer=word_pieces, tables={}, training=training)),
            tables={},
        )
        for training in (True, False)
    }
    cut = "1 of the questions: longer than 21 tokens; the rest is cut off"
    lost = "1 of the questions: no window holds all of their answer; trained on as if without one"
    assert found == {True: (cut, lost), False: (cut,)}


def test_an_empty_context_is_a_row_without_tokens_of_it(word_pieces):
    (row,) = rows(Question("q", "who?", ""), word_pieces, training=False)
    assert row.token_ids.tolist()[-2:] == [word_pieces.sep_id] * 2
    assert row.notes.num_tokens == 0


def test_a_context_of_many_questions_is_tokenized_once(word_pieces, monkeypatch):
    told = []
    encode = type(word_pieces).encode_batch_with_offsets
    monkeypatch.setattr(
        type(word_pieces),
        "encode_batch_with_offsets",
        lambda self, texts: told.extend(texts) or encode(self, texts),
    )
    questions = [Question(f"q{i}", "who?", CONTEXT) for i in range(30)]
    assert len(list(encode_questions(questions, word_pieces))) == 30
    assert told == [CONTEXT]


@pytest.mark.parametrize("kind", ["sentencepiece", "byte-level"])
@pytest.mark.parametrize("text", ["By  Ada Lovelace\n in 1843.", " the café 東京 in 1843 ", "Ada"])
def test_tokens_of_any_tokenizer_cover_all_characters_but_white_space(
    kind, text, tmp_path, train_byte_level
):
    if kind == "byte-level":
        tokenizer = load_tokenizer(train_byte_level(tmp_path, TEXTS, vocab_size=300))
    else:
        tokenizer = train_sentencepiece(TEXTS, vocab_size=36, model_type="unigram")
    context = encode_contexts({text}, tokenizer)[text]
    covered = np.zeros(len(text), bool)
    for start, end in zip(context.starts, context.ends, strict=True):
        assert start <= end
        assert text[start:end] == text[start:end].strip()
        covered[start:end] = True
    assert [letter for letter, seen in zip(text, covered, strict=True) if not seen] == [
        letter for letter in text if letter.isspace()
    ]
    where = text.index("Ada") if "Ada" in text else text.index("1843")
    size = 3 if "Ada" in text else 4
    first, last = context.tokens_of(where, where + size)
    assert context.starts[first] <= where and context.ends[last] >= where + size
    assert text[context.starts[first] : context.ends[last]].strip()[:size] == text[where:][:size]


@pytest.mark.parametrize(
    "values, message",
    [
        ({"max_length": 8}, "--task.max-length 8: must be at least 16"),
        ({"doc_stride": 0}, "--task.doc-stride 0: must be greater than 0"),
        ({"n_best": 0}, "--task.n-best 0: must be greater than 0"),
        ({"max_answer_length": -1}, "--task.max-answer-length -1: must be greater than 0"),
        ({"max_query_length": 0}, "--task.max-query-length 0: must be greater than 0"),
    ],
)
def test_values_without_sense_are_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        SquadConfig(**values)
