"""The sample a tokenizer is trained on: bounded, spread, and independent of the order."""

import random

from spanbert_jax.corpus.documents import RawDocument
from spanbert_jax.corpus.held_out import document_key
from spanbert_jax.corpus.tokenizer_sample import TokenizerSample

ITEMS = [
    (document_key(b"%d" % number), 100, RawDocument(f"text {number}", f"a.txt:{number}", "plain"))
    for number in range(1_000)
]


def sample_documents(items, *, max_bytes: float) -> list[RawDocument]:
    sample = TokenizerSample(max_bytes)
    for item in items:
        sample.add(*item)
    return sample.documents


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


def test_documents_of_other_sizes_neither():
    sized = [(key, 1 + key % 997, raw) for key, _, raw in ITEMS]
    first = sample_documents(sized, max_bytes=20_050)
    for seed in range(5):
        mixed = random.Random(seed).sample(sized, len(sized))
        assert sample_documents(mixed, max_bytes=20_050) == first
    # The smallest keys, up to the first that does not fit.
    in_order = sorted(sized)
    assert first == [raw for _, _, raw in in_order[: len(first)]]
    assert sum(size for _, size, _ in in_order[: len(first) + 1]) > 20_050


def test_of_equal_documents_one_is_taken():
    assert len(sample_documents(ITEMS + ITEMS, max_bytes=1e9)) == 1_000


def test_a_document_larger_than_the_sample_is_still_taken():
    assert len(sample_documents(ITEMS[:3], max_bytes=1)) == 1
