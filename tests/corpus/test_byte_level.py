"""Byte-level BPE, as RoBERTa has it: spaces, masks and special pieces, over any bytes."""

from collections import Counter

import numpy as np
import pytest

from spanbert_jax.config import PrepareConfig
from spanbert_jax.corpus.documents import RawDocument
from spanbert_jax.corpus.encoding import Encoder
from spanbert_jax.corpus.tokenizers import Tokenizer, load_tokenizer
from spanbert_jax.errors import UserError

TEXTS = [
    "The city of Athens is the capital of Greece, and its largest city.",
    "Playing and played, the players play: they were playing with what they had played.",
    "They walked through the forest until the path ended at a quiet lake.",
]


@pytest.fixture
def tokenizer(tmp_path, train_byte_level) -> Tokenizer:
    return load_tokenizer(train_byte_level(tmp_path, TEXTS * 3, vocab_size=320))


def pieces(tokenizer: Tokenizer, ids: list[int]) -> list[str]:
    return [tokenizer.id_to_piece(token_id) for token_id in ids]


def test_special_pieces_have_the_names_of_roberta(tokenizer):
    assert tokenizer.kind == "byte-level"
    assert (
        tokenizer.cls_id, tokenizer.pad_id, tokenizer.sep_id, tokenizer.unk_id, tokenizer.mask_id
    ) == (0, 1, 2, 3, 4)  # fmt: skip


def test_words_start_with_a_space_and_special_pieces_start_words(tokenizer):
    ids = tokenizer.encode("the city and the players")
    assert "".join(pieces(tokenizer, ids)) == "theĠcityĠandĠtheĠplayers"
    starts = tokenizer.word_starts
    assert starts[:5].all()
    for token_id in range(5, tokenizer.vocab_size):
        assert starts[token_id] == tokenizer.id_to_piece(token_id).startswith("Ġ")
    # The data's rule makes the first token of a row a word all the same.
    assert np.flatnonzero(starts[ids]).size == len("the city and the players".split()) - 1


def test_sentences_behind_the_first_of_a_document_begin_with_a_space(tokenizer):
    encoder = Encoder(tokenizer, PrepareConfig(split="lines"))
    texts = ("The city\nThe path", "The lake")
    documents = [RawDocument(text, "here", "plain") for text in texts]
    encoded = encoder.encode(documents)
    text = "".join(pieces(tokenizer, encoded.tokens.tolist()))
    assert text == "TheĠcityĠTheĠpathTheĠlake"
    assert encoded.dropped == [Counter(), Counter()]


@pytest.mark.parametrize("text", ["naïve 東京 🙂 e\u0301", " two  spaces\n\ttab ", ""])
def test_decoding_gives_any_bytes_back(tokenizer, text):
    ids = tokenizer.encode(text)
    assert tokenizer.decode([tokenizer.cls_id, *ids, tokenizer.sep_id]) == text.strip()
    assert tokenizer.encode_batch([text, text]) == [ids, ids]


@pytest.mark.parametrize("mask", ["[MASK]", "<mask>"])
def test_a_mask_takes_the_space_before_it(tokenizer, mask):
    ids = tokenizer.encode_with_masks(f"The {mask} of {mask}.")
    expected = [tokenizer.encode("The"), [4], tokenizer.encode(" of"), [4], tokenizer.encode(".")]
    assert ids == sum(expected, [])
    assert tokenizer.decode(ids) == "The [MASK] of [MASK]."


def test_special_pieces_in_a_text_are_spelled_like_any_word(tokenizer):
    ids = tokenizer.encode("a <mask> b </s> [MASK]")
    assert min(ids) >= 5
    assert tokenizer.decode(ids) == "a <mask> b </s> [MASK]"


def test_a_saved_tokenizer_is_read_back(tokenizer, tmp_path):
    (tmp_path / "again").mkdir()
    assert tokenizer.save(tmp_path / "again") == "tokenizer.json"
    again = load_tokenizer(tmp_path / "again")
    assert again.fingerprint == tokenizer.fingerprint
    assert again.encode(TEXTS[0]) == tokenizer.encode(TEXTS[0])


def test_the_fingerprint_depends_on_special_pieces(tokenizer, tmp_path, train_byte_level):
    special = ("<s>", "<pad>", "</s>", "<unk>", "<mask>", "<extra>")
    other = load_tokenizer(train_byte_level(tmp_path, TEXTS, vocab_size=320, special=special))
    assert other.fingerprint != tokenizer.fingerprint


def test_a_model_without_the_special_pieces_names_them(tmp_path, train_byte_level):
    special = ("<s>", "</s>", "<unk>")
    with pytest.raises(UserError, match="missing are <pad> <mask>; name the tokenizer.json of a"):
        load_tokenizer(train_byte_level(tmp_path, TEXTS, vocab_size=300, special=special))
