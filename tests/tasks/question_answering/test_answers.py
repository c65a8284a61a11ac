"""From the scores of starts and ends to answers, scores, files and JSON."""

import json
import math
import re

import jax.numpy as jnp
import numpy as np
import pytest

from spanbert_jax.config.tasks import MrqaConfig, SquadConfig
from spanbert_jax.corpus.tokenizers import load_tokenizer
from spanbert_jax.corpus.tokenizers.sentence_piece import train_sentencepiece
from spanbert_jax.data.batch import TaskBatch
from spanbert_jax.errors import UserError
from spanbert_jax.tasks.question_answering.decoding import best_positions, softmax
from spanbert_jax.tasks.question_answering.question import Question
from spanbert_jax.tasks.question_answering.scoring import (
    Scored,
    best_threshold,
    token_f1,
    total_scores,
    tuned_threshold,
)
from spanbert_jax.tasks.task import load_task

CONTEXT = "By Ada  Lovelace in 1843, the first program."


def ask(task, questions, tokenizer, peaks, settings=None):
    """Judge with scores of 5 where each question's peaks (start, end, of tokens) are, 0 elsewhere.

    peaks: tokens of the context, or None for [CLS]; the question is one token.
    """
    rows = list(task.rows(questions, tokenizer=tokenizer, tables={}, training=False))
    outputs = []
    for row in rows:
        start, end = np.zeros((2, len(row.token_ids)), np.float32)
        peak = peaks[row.example]
        begin, last = (0, 0) if peak is None else (each + 3 for each in peak)
        start[begin], end[last] = 5.0, 5.0
        outputs.append({"start": start, "end": end})
    return task.judge(questions, rows, outputs, tables={}, settings=settings)


def squad2():
    return load_task(SquadConfig(unanswerable=True))


def test_an_answer_is_the_very_text_of_the_context(word_pieces):
    task = load_task(SquadConfig())
    question = Question("q", "who", CONTEXT, answers=("Ada Lovelace", "Ada"), known=True)
    verdict = ask(task, [question], word_pieces, [(1, 3)])
    assert verdict.predictions[0].text == "Ada  Lovelace"
    assert verdict.scores == {"exact": 100.0, "f1": 100.0, "total": 1.0}
    assert verdict.settings == {}


def test_the_original_puts_words_together_with_single_spaces(word_pieces):
    task = load_task(SquadConfig(answer_text="original"))
    question = Question("q", "who", CONTEXT)
    assert ask(task, [question], word_pieces, [(1, 3)]).predictions[0].text == "Ada Lovelace"


def places_of(context, peak, tokenizer, **options):
    """Of each candidate: its text, and what stands at its place."""
    task = load_task(SquadConfig(**options))
    question = Question("q", "who", context)
    verdict = ask(task, [question], tokenizer, [peak])
    (shown,) = task.described([question], verdict, tables={})
    return [(each["text"], context[each["start"] : each["end"]]) for each in shown["n_best"]]


@pytest.mark.parametrize(
    "context, peak, text, at_its_place",
    [
        (CONTEXT, (1, 3), "Ada Lovelace", "Ada  Lovelace"),
        # The second half of a word, which can be laid beside it.
        (CONTEXT, (3, 3), "lace", "lace"),
        # The parts of I with a dot are two letters once it is lowercased: whole words.
        ("by \u0130,\t(Ada) wrote", (0, 2), "by \u0130,", "by \u0130,"),
        ("by  Ada\t(\u0130) ,", (2, 3), "(\u0130)", "(\u0130)"),
    ],
)
def test_the_place_of_an_original_answer_is_that_of_its_text_but_for_what_parts_words(
    word_pieces, context, peak, text, at_its_place
):
    places = places_of(context, peak, word_pieces, answer_text="original")
    assert places[0] == (text, at_its_place)
    for shown, there in places:
        assert shown == " ".join(re.findall("[^ \t\r\n\u202f]+", there))


def test_the_place_of_an_answer_holds_no_space_that_a_tokenizer_counts_to_its_word(
    train_byte_level, tmp_path
):
    file = train_byte_level(tmp_path, [CONTEXT] * 20, vocab_size=300)
    for shown, there in places_of(CONTEXT, (1, 2), load_tokenizer(file)):
        assert shown == there


def test_the_original_text_is_refused_without_word_pieces():
    tokenizer = train_sentencepiece([CONTEXT] * 20, vocab_size=33, model_type="unigram")
    task = load_task(SquadConfig(answer_text="original"))
    with pytest.raises(UserError, match="needs a WordPiece tokenizer.*found sentencepiece"):
        ask(task, [Question("q", "", CONTEXT)], tokenizer, [(0, 1)])
    # Before anything is trained.
    with pytest.raises(UserError, match="needs a WordPiece tokenizer.*found sentencepiece"):
        task.tables([], tokenizer)


def test_an_answer_is_found_in_a_long_context_of_many_windows(word_pieces):
    context = "by the first program in " * 300 + "Ada Lovelace , the first program"
    task = load_task(SquadConfig(max_length=64, doc_stride=16))
    question = Question("q", "who", context, answers=("Ada Lovelace",), known=True)
    rows = list(task.rows([question], tokenizer=word_pieces, tables={}, training=False))
    assert len(rows) > 80
    outputs = []
    for row in rows:
        first = row.notes.first_position - row.notes.first_token
        start, end = np.zeros((2, len(row.token_ids)), np.float32)
        if 0 <= first + 1500 and first + 1502 < len(row.token_ids):
            start[first + 1500], end[first + 1502] = 5.0, 5.0
        outputs.append({"start": start, "end": end})
    verdict = task.judge([question], rows, outputs, tables={})
    assert verdict.predictions[0].text == "Ada Lovelace"
    (shown,) = task.described([question], verdict, tables={})
    assert context[shown["start"] : shown["end"]] == "Ada Lovelace"


def test_questions_of_test_files_are_answered_without_a_score(word_pieces):
    for task in (load_task(SquadConfig()), squad2(), load_task(MrqaConfig())):
        verdict = ask(task, [Question("q", "who", CONTEXT)], word_pieces, [(1, 1)])
        assert verdict.scores == {} and verdict.predictions[0].text == "Ada"


@pytest.mark.parametrize("answers, f1", [(("Ada",), 0.0), ((), 100.0)])
def test_an_empty_context_is_answered_with_nothing(word_pieces, answers, f1):
    question = Question("q", "who", "", answers=answers, known=True)
    verdict = ask(squad2(), [question], word_pieces, [None])
    assert verdict.predictions[0].text == "" and verdict.scores["f1"] == f1
    (shown,) = squad2().described([question], verdict, tables={})
    assert (shown["answer"], shown["start"], shown["end"]) == ("", None, None)
    verdict = ask(load_task(SquadConfig()), [question], word_pieces, [None])
    assert verdict.predictions[0].text == ""


def test_the_threshold_is_tuned_on_dev_and_used_at_test_time(word_pieces):
    known = [
        Question("a", "who", CONTEXT, answers=("Ada",), known=True),
        Question("b", "who", CONTEXT, known=True),
    ]
    verdict = ask(squad2(), known, word_pieces, [(1, 1), None])
    assert [each.text for each in verdict.predictions] == ["Ada", ""]
    assert verdict.scores["f1"] == verdict.scores["best_f1"] == 100.0
    assert verdict.settings == {"null_threshold": -10.0}
    assert (verdict.scores["HasAns_f1"], verdict.scores["NoAns_f1"]) == (100.0, 100.0)
    for threshold, texts in ((20.0, ["Ada", "By Ada"]), (-20.0, ["", ""])):
        settings = {"null_threshold": threshold}
        verdict = ask(squad2(), known, word_pieces, [(1, 1), None], settings)
        assert verdict.settings == settings
        assert [bool(each.text) for each in verdict.predictions] == [bool(text) for text in texts]
        assert verdict.scores["f1"] == 50.0 and verdict.scores["best_f1"] == 100.0


def test_a_checkpoint_without_a_threshold_is_not_tuned_on_what_it_is_asked(word_pieces):
    questions = [
        Question("a", "who", CONTEXT, answers=("Ada",), known=True),
        Question("b", "who", CONTEXT, answers=("Ada",), known=True),
    ]
    verdict = ask(squad2(), questions, word_pieces, [(1, 1), None], settings={})
    assert verdict.settings == {"null_threshold": 0.0}
    assert [each.text for each in verdict.predictions] == ["Ada", ""]
    assert ask(squad2(), questions, word_pieces, [(1, 1), None]).settings != verdict.settings


def test_answering_nothing_is_a_threshold_below_all_odds():
    scored = [Scored(0.0, 0.0, False, True, -3.0), Scored(0.0, 0.0, True, True, -5.0)]
    assert best_threshold(scored, "f1") == (50.0, 0.0, True)
    assert total_scores(scored, tuned_threshold(scored))["f1"] == 50.0


def test_of_equal_scores_the_first_is_best():
    assert best_positions(np.array([1.0, 3.0, 2.0, 3.0]), 3).tolist() == [1, 3, 2]


def test_f1_counts_words_that_are_in_both():
    assert token_f1("cat", "the cat sat") == pytest.approx(2 / 3)
    assert (token_f1("", ""), token_f1("the", "a"), token_f1("cat", "")) == (1.0, 1.0, 0.0)


def test_probabilities_add_up_to_one():
    assert softmax([0.0, math.log(3.0)]) == pytest.approx((0.25, 0.75))


def test_answers_are_described_with_their_place_probability_and_n_best(word_pieces):
    questions = [Question("a", "who", CONTEXT), Question("b", "who", CONTEXT)]
    settings = {"null_threshold": 0.0}
    verdict = ask(squad2(), questions, word_pieces, [(1, 1), None], settings)
    found, none = squad2().described(questions, verdict, tables={})
    assert list(found) == [
        "id", "question", "answer", "start", "end", "probability", "null_probability", "n_best",
    ]  # fmt: skip
    assert (found["id"], found["answer"]) == ("a", "Ada")
    assert CONTEXT[found["start"] : found["end"]] == "Ada"
    assert found["n_best"][0]["probability"] == found["probability"] > found["null_probability"]
    assert sum(each["probability"] for each in found["n_best"]) == pytest.approx(1.0)
    assert (none["answer"], none["start"], none["end"]) == ("", None, None)
    assert none["probability"] == none["null_probability"]
    for each in found["n_best"]:
        assert each["text"] == (CONTEXT[each["start"] : each["end"]] if each["text"] else "")
    json.dumps([found, none])


def test_the_files_are_those_of_the_official_scorer(word_pieces):
    questions = [Question("a", "who", CONTEXT), Question("b", "who", CONTEXT)]
    verdict = ask(squad2(), questions, word_pieces, [(1, 1), None])
    files = squad2().prediction_files(questions, verdict, tables={})
    assert json.loads(files["predictions.json"]) == {"a": "Ada", "b": ""}
    assert json.loads(files["null_odds.json"]) == {"a": -10.0, "b": 10.0}
    first = json.loads(files["nbest_predictions.json"])["a"][0]
    assert list(first) == ["text", "probability", "start_logit", "end_logit"]
    task = load_task(SquadConfig())
    verdict = ask(task, questions, word_pieces, [(1, 1), (5, 5)])
    files = task.prediction_files(questions, verdict, tables={})
    assert set(files) == {"predictions.json", "nbest_predictions.json"}


def test_predictions_are_read_back_and_scored(word_pieces, tmp_path):
    questions = [
        Question("a", "who", CONTEXT, answers=("Ada",), known=True),
        Question("b", "who", CONTEXT, known=True),
    ]
    verdict = ask(squad2(), questions, word_pieces, [(1, 1), None])
    files = squad2().prediction_files(questions, verdict, tables={})
    path = tmp_path / "predictions.json"
    path.write_text(files["predictions.json"], encoding="utf-8")
    read = squad2().read_predictions(str(path), questions)
    assert [each.text for each in read.predictions] == ["Ada", ""]
    assert read.scores["f1"] == read.scores["NoAns_exact"] == 100.0
    known = questions[:1]
    path.write_text('{"a": "Ada"}', encoding="utf-8")
    for config in (SquadConfig(), MrqaConfig()):
        assert load_task(config).read_predictions(str(path), known).scores["f1"] == 100.0


def test_wrong_answers_of_a_file_stay_answers_where_giving_none_would_score_more(tmp_path):
    questions = [
        Question("a", "who", CONTEXT, answers=("Ada",), known=True),
        Question("b", "who", CONTEXT, known=True),
    ]
    (tmp_path / "predictions.json").write_text('{"a": "1843", "b": "1843"}')
    verdict = squad2().read_predictions(str(tmp_path / "predictions.json"), questions)
    assert [each.text for each in verdict.predictions] == ["1843", "1843"]
    assert (verdict.scores["exact"], verdict.scores["NoAns_exact"]) == (0.0, 0.0)
    assert verdict.settings == {}


@pytest.mark.parametrize(
    "content, message",
    [
        ('{"a": "Ada", "x": "", "y": ""}', "1 without an answer (b) and 2 that it does not ask (x"),
        (
            '{"a": "Ada"}',
            "1 without an answer (b) and 0 that it does not ask; name the predictions",
        ),
        ('["Ada"]', "must be an object of answers by the id of their question, found list"),
        ('{"a": 3, "b": ""}', "the answer to 'a' must be text, found 3"),
        ('{"a": ', "predictions.json:1: must be JSON, found Expecting value at column 7"),
    ],
)
def test_predictions_for_another_data_set_are_refused(tmp_path, content, message):
    (tmp_path / "predictions.json").write_text(content, encoding="utf-8")
    questions = [Question("a", "who", CONTEXT), Question("b", "who", CONTEXT)]
    with pytest.raises(UserError, match=re.escape(message)):
        squad2().read_predictions(str(tmp_path / "predictions.json"), questions)


def test_a_question_of_the_user_needs_a_question_and_a_context():
    task = squad2()
    asked = task.example({"question": "who", "context": CONTEXT, "id": 7})
    assert asked == Question("7", "who", CONTEXT)
    with pytest.raises(UserError, match="found 'question', 'text'; add 'context'; remove 'text'"):
        task.example({"question": "who", "text": CONTEXT})
    with pytest.raises(UserError, match="field 'context': must be text, found 3"):
        task.example({"question": "who", "context": 3})


def test_the_loss_is_the_mean_of_start_and_end_and_padding_counts_nothing():
    lowest = np.finfo(np.float32).min
    start = jnp.array([[0.0, 2.0, lowest], [1.0, 0.0, 0.0], [9.0, 0.0, 0.0]])
    end = jnp.array([[0.0, 1.0, lowest], [0.0, 1.0, 0.0], [9.0, 0.0, 0.0]])
    zeros = np.zeros((3, 3), np.int32)
    fields = {"answer_start": np.array([1, 0, 1]), "answer_end": np.array([1, 0, 1])}
    batch = TaskBatch(
        zeros, zeros, zeros, zeros, np.array([1, 1, 0]), np.array([0, 1, -1]), fields
    )  # fmt: skip
    loss, correct, weight = load_task(SquadConfig()).loss({"start": start, "end": end}, batch, {})
    first = (math.log(1 + math.exp(-2)) + math.log(1 + math.exp(-1))) / 2
    second = (math.log(1 + 2 * math.exp(-1)) + math.log(2 + math.e)) / 2
    assert float(loss) == pytest.approx(first + second)
    assert (float(correct), float(weight)) == (1.0, 2.0)
