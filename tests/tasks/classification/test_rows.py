"""Texts and pairs as rows: what is cut, and what stands around."""

import pytest

from spanbert_jax.tasks.classification.rows import kept_lengths, make_row, text_rows


def cut_one_by_one(first: int, second: int, room: int) -> tuple[int, int]:
    while first + second > room:
        first, second = (first - 1, second) if first > second else (first, second - 1)
    return first, second


@pytest.mark.parametrize("room", [5, 6, 13])
def test_the_longer_text_loses_its_last_token_until_both_fit(room):
    for first in range(12):
        for second in range(12):
            assert kept_lengths(first, second, room=room) == cut_one_by_one(first, second, room)


def test_rows_of_the_docstring():
    row = make_row([7, 8], [9], cls_id=2, sep_id=3, max_length=16)
    assert row.token_ids.tolist() == [2, 7, 8, 3, 9, 3]
    assert row.segment_ids.tolist() == [0, 0, 0, 0, 1, 1]
    assert not row.is_cut


def test_a_single_text_is_cut_to_the_room_between_two_special_tokens():
    row = make_row(list(range(10, 30)), [], cls_id=2, sep_id=3, max_length=8)
    assert row.token_ids.tolist() == [2, 10, 11, 12, 13, 14, 15, 3]
    assert not row.segment_ids.any()
    assert row.is_cut


def test_a_second_text_without_tokens_is_none_and_an_empty_text_is_a_row(tokenizer):
    rows = list(text_rows(["", "good"], ["", None], tokenizer=tokenizer, max_length=8))
    assert rows[0].token_ids.tolist() == [tokenizer.cls_id, tokenizer.sep_id]
    assert rows[1].token_ids.tolist() == [
        tokenizer.cls_id, *tokenizer.encode("good"), tokenizer.sep_id,
    ]  # fmt: skip
