"""Wiki markup becomes prose: nothing of the markup stays, nothing of the prose goes."""

from collections import Counter

import pytest

from spanbert_jax.corpus.wikitext import clean_wikitext

SENTENCE = "Athens is the capital and the largest city of Greece."


def clean(markup: str) -> list[str]:
    return clean_wikitext(markup, Counter())


def test_the_example_of_the_docstring():
    markup = (
        "'''Anarchism''' is a [[political philosophy|philosophy]] of its own, they say.<ref>x</ref>"
    )
    assert clean(markup) == ["Anarchism is a philosophy of its own, they say."]


@pytest.mark.parametrize(
    "markup",
    [
        f"{SENTENCE}<ref name=a>{{{{cite book|title=X}}}}</ref>",
        f"{SENTENCE}<ref name=a />",
        f"<!-- a comment -->{SENTENCE}",
        f"[[File:Athens.jpg|thumb|right|A view of [[Athens]] from far above, in 1890.]]{SENTENCE}",
        f"[[Image:Athens.jpg|thumb|A view of the old town from far above, in 1890.]]\n{SENTENCE}",
        f"{{{{Infobox city|name=Athens|population={{{{nowrap|5}}}}}}}}\n{SENTENCE}",
        f"{{|class=wikitable\n! head of the table with quite a lot of words in it\n|}}\n{SENTENCE}",
        f"== A heading of more than eight words in all its length ==\n{SENTENCE}",
        f"{SENTENCE}\n[[Category:Cities of the world with more than eight words]]\n[[de:A]]",
        f"{SENTENCE}\n== References ==\nA book about the city by somebody who knows it well.",
        f"{SENTENCE}\n==See also==\n===More===\nA book about the city by somebody who knows it.",
        "'''Athens''' is the ''capital'' and the [http://x.org largest city] of&nbsp;[[Greece]].",
        "Athens ({{lang-el|x}}; ) is the [[capital city|capital]] and the largest city of Greece .",
        "* Athens is the <b>capital</b> and the <span style='x'>largest</span> city of Greece.",
        f"__NOTOC__{SENTENCE}<math>x^2</math>",
    ],
)
def test_markup_goes_and_the_sentence_stays(markup):
    assert clean(markup) == [SENTENCE]


def test_a_section_behind_the_references_is_kept():
    markup = f"== Notes ==\nA note about the city by somebody who knows.\n== History ==\n{SENTENCE}"
    assert clean(markup) == [SENTENCE]


def test_templates_that_stand_for_words_are_shown():
    assert clean(
        "The road is {{convert|5|km|mi}} long and leads to {{lang|fr|Paris}} at last."
    ) == ["The road is 5 km long and leads to Paris at last."]


def test_paragraphs_casing_and_punctuation_are_kept():
    first = 'He said: "Why, NATO (founded in 1949) isn\'t that old!" -- and left.'
    assert clean(f"{first}\n\n{SENTENCE}") == [first, SENTENCE]


@pytest.mark.parametrize(
    ("markup", "counted"),
    [
        ("<ref>A book.</ref>", {"wiki references": 1}),
        ("<ref name=a /><ref></ref>", {}),
        ("{{Infobox city|name=Athens}} {{Main|Attica}}", {"wiki templates": 2}),
        ("{{citation needed}}{{convert|5|km|mi}}", {}),
        ("\n{|\n! head\n|}", {"wiki tables": 1}),
        ("<gallery>\nA.jpg|the old town\n</gallery>", {"wiki galleries": 1}),
        ("<math>x^2</math>", {"wiki <math>": 1}),
        ("[[File:A.jpg|thumb|the old town]][[File:B.jpg]]", {"wiki files with captions": 1}),
        ("[[Category:Cities|Athens]]<!-- a comment -->", {}),
        ("\n== History ==\n", {"wiki headings": 1}),
        ("\n== See also ==\n=== More ===\n* [[Rome]]\n* [[Sparta]]", {"wiki trailing sections": 1}),
        ("\n== Notes ==\nA.\n== References ==\nB.", {"wiki trailing sections": 2}),
        ("\n== References ==\n<!-- a comment -->\n{{reflist}}\n", {}),
    ],
)
def test_what_is_left_out_with_its_text_is_counted(markup, counted):
    counts: Counter[str] = Counter()
    (line,) = clean_wikitext(SENTENCE + markup, counts)
    assert line.startswith(SENTENCE)
    assert counts == counted


def test_short_lines_and_unreadable_markup_are_counted():
    counts: Counter[str] = Counter()
    markup = (
        f"Too short.\n{SENTENCE}\nA line with {{{{an open template and eight words or more in it."
    )
    assert clean_wikitext(markup, counts) == [SENTENCE]
    assert counts == {"short wiki lines": 1, "wiki lines with unreadable markup": 1}
