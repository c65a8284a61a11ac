"""Sentences longer than a row: every word is judged once, and none is lost."""

from collections import Counter

import numpy as np
import pytest

from spanbert_jax.config.tasks import TaggingConfig
from spanbert_jax.tasks.tagging.sentence import TaggedSentence
from spanbert_jax.tasks.tagging.spans import Spans
from spanbert_jax.tasks.tagging.windows import windows_of, word_pieces, word_windows

METHOD = Spans(TaggingConfig(method="spans", max_span_words=4))


def test_windows_share_words_and_none_is_longer_than_a_row():
    assert word_windows([2, 1, 1, 2, 3], room=4, overlap=1) == [(0, 3), (2, 4), (4, 5)]
    assert word_windows([1, 1], room=4, overlap=2) == [(0, 2)]


@pytest.mark.parametrize("overlap", [0, 3, 100])
def test_every_word_is_judged_by_one_window_that_holds_it(overlap, tokenizer):
    rng = np.random.default_rng(0)
    for _ in range(50):
        pieces = [[5] * int(rng.integers(1, 9)) for _ in range(int(rng.integers(1, 60)))]
        rows = list(windows_of(pieces, tokenizer=tokenizer, max_length=12, overlap=overlap))
        judged = []
        for ids, window in rows:
            assert len(ids) <= 12
            assert window.start <= window.judged_start <= window.judged_end <= window.end
            judged += range(window.judged_start, window.judged_end)
        assert judged == list(range(len(pieces)))


@pytest.mark.parametrize("overlap", [0, 3, 100])
def test_every_span_that_some_window_holds_is_judged_by_one_of_them(overlap, tokenizer):
    rng = np.random.default_rng(0)
    for _ in range(30):
        pieces = [[5] * int(rng.integers(1, 4)) for _ in range(int(rng.integers(1, 40)))]
        judged, held = Counter(), set()
        for ids, window in windows_of(pieces, tokenizer=tokenizer, max_length=12, overlap=overlap):
            weights = METHOD.targets(
                ["O"] * len(pieces), window, types=["PER"], length=len(ids)
            )["span_weights"]  # fmt: skip
            for word, width in np.argwhere(weights).tolist():
                judged[window.start + word, window.start + word + width] += 1
            held |= {
                (first, last)
                for first in range(window.start, window.end)
                for last in range(first, min(first + 4, window.end))
            }
        assert judged == Counter(held)


def test_pieces_of_words_are_found_in_the_row(tokenizer):
    sentence = TaggedSentence(("Ada", "Lovelace", "."))
    (pieces,) = word_pieces([sentence], tokenizer)
    ((ids, window),) = windows_of(pieces, tokenizer=tokenizer, max_length=16, overlap=4)
    shown = [tokenizer.id_to_piece(token_id) for token_id in ids]
    assert shown == ["[CLS]", "ada", "love", "##lace", ".", "[SEP]"]
    assert window.first_pieces.tolist() == [1, 2, 4]
    assert window.last_pieces.tolist() == [1, 3, 4]


def test_a_word_longer_than_a_row_is_cut_and_counted(tokenizer):
    rows = list(windows_of([[5], [6] * 30, [7]], tokenizer=tokenizer, max_length=8, overlap=2))
    assert {window.cut_words for _, window in rows} == {1}
    assert all(len(ids) <= 8 for ids, _ in rows)


def test_a_word_that_the_tokenizer_drops_has_a_piece_too(tokenizer):
    (pieces,) = word_pieces([TaggedSentence(("Ada", "\u200b"))], tokenizer)
    assert pieces[1] == [tokenizer.unk_id]


def test_byte_level_words_but_the_first_follow_a_space(tmp_path, train_byte_level):
    from spanbert_jax.corpus.tokenizers import load_tokenizer

    tokenizer = load_tokenizer(train_byte_level(tmp_path, ["Ada Ada Ada"] * 9, vocab_size=266))
    (pieces,) = word_pieces([TaggedSentence(("Ada", "Ada"))], tokenizer)
    assert [tokenizer.id_to_piece(i) for i in pieces[1]][0].startswith("Ġ")
    assert tokenizer.decode(pieces[0] + pieces[1]) == "Ada Ada"
