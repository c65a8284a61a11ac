"""The sample a tokenizer is trained on: bounded, spread, and independent of the order."""

from spanbert_jax.corpus.documents import RawDocument
from spanbert_jax.corpus.held_out import document_key
from spanbert_jax.corpus.tokenizer_sample import sample_documents

ITEMS = [
    (document_key(b"%d" % number), 100, RawDocument(f"text {number}", f"a.txt:{number}", "plain"))
    for number in range(1_000)
]


def test_a_small_corpus_is_taken_whole():
    assert len(sample_documents(ITEMS, max_bytes=1e9)) == 1_000


def test_a_sample_keeps_to_its_size_and_comes_from_everywhere():
    sample = sample_documents(ITEMS, max_bytes=20_000)
    assert len(sample) == 200
    places = sorted(int(raw.text.split()[1]) for raw in sample)
    assert places[0] < 50 and places[-1] > 950
    # 200 of 1,000 at random: 100 +- 6.3 in either half.
    assert 75 < sum(place < 500 for place in places) < 125


def test_a_sample_does_not_depend_on_the_order_of_documents():
    forwards = sample_documents(ITEMS, max_bytes=20_050)
    assert sample_documents(reversed(ITEMS), max_bytes=20_050) == forwards


def test_a_document_larger_than_the_sample_is_still_taken():
    assert len(sample_documents(ITEMS[:3], max_bytes=1)) == 1
