"""Sentences: cut where sentences end, and no text lost."""

import random

import pytest

from spanbert_jax.corpus.sentences import split_sentences


def split(*paragraphs: str) -> list[str]:
    return split_sentences(paragraphs, split="sentences", language="en")


def test_the_example_of_the_docstring():
    assert split("Dr. Smith left. He was late.", "Why?") == [
        "Dr. Smith left.",
        "He was late.",
        "Why?",
    ]


def test_lines_can_be_kept_as_they_are():
    lines = [" One. Two. ", "\t", "Three."]
    found = split_sentences(lines, split="lines", language="en")
    assert found == ["One. Two.", "Three."]


@pytest.mark.parametrize("seed", range(20))
def test_no_text_is_lost_but_white_space(seed):
    source = random.Random(seed)
    alphabet = ["a", "Bc", "Mr", ".", "!", "?", "…", '"', "“", "”", "(", ")", " ", "  ", "\u00a0", "中", "。", "1", ",", "e.g.", "\u200b"]  # fmt: skip # noqa: E501
    paragraph = "".join(source.choices(alphabet, k=400))
    assert "".join("".join(split(paragraph)).split()) == "".join(paragraph.split())


def test_no_text_of_a_real_book_is_lost(shared):
    text = (shared / "corpus" / "litbank_books_00.txt").read_text()[:300_000]
    for paragraph in text.split("\n"):
        assert "".join("".join(split(paragraph)).split()) == "".join(paragraph.split())
