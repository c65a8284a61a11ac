"""Where tokens come from: the ids stay the same, and offsets lead back to the characters."""

import io
import json
import random
import unicodedata

import numpy as np
import pytest
import sentencepiece

from spanbert_jax.config import PrepareConfig
from spanbert_jax.corpus.tokenizers import (
    SentencePieceTokenizer,
    Tokenizer,
    load_tokenizer,
    train_tokenizer,
)

TEXTS = [
    "The city of Athens is the capital of Greece, and its largest city.",
    "In 1854 the river rose by 12 feet; the old bridge was swept away (again).",
    "When the fog came down over the harbour, nobody could see the lighthouse any longer.",
    "They walked through the forest until the path ended at a quiet lake below the mountains.",
    "Every morning the baker lights the oven, kneads the dough and opens the wooden shutters.",
    "Scientists measured the temperature of the water at several depths during the winter.",
    "Her grandmother kept letters, photographs and dried flowers in a small green box.",
    "She said “café”, naïvely: Zürich, Malmö, Łódź; 3½ hours – no more…",
]
# NFKC makes these longer or shorter; emoji are one character of four bytes; marks combine.
ODD = [
    "",
    "   ",
    " led by a space",
    "the city\u3000of  Athens ",
    "ﬁsh and ﬂour, Ａｔｈｅｎｓ, ½ of it, ㈱, ﷺ end",
    "e\u0301te\u0301 at the cafe\u0301, a\u0327\u0301 and a\u0301\u0327",
    "🙂 the 🙂🙂 city 👩‍👩‍👧 and 🇬🇷!",
    "日本の city, 東京 Tokyo",
    "\u200bzero\u00adsoft a\tb\x00c",
    "[MASK] and [CLS] of <mask>",
    "\ufeffthe \ue000 end",
]
KINDS = [
    "sentencepiece unigram", "sentencepiece bpe", "byte fallback", "wordpiece",
    "wordpiece lowercase", "byte-level", "byte-level untrimmed",
]  # fmt: skip


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory, train_byte_level) -> dict[str, Tokenizer]:
    def trained(kind: str, **values) -> Tokenizer:
        config = PrepareConfig(tokenizer=kind, vocab_size=150, **values)
        return train_tokenizer(config, iter(TEXTS * 3))

    folder = tmp_path_factory.mktemp("byte_level")
    trimmed = train_byte_level(folder, TEXTS, vocab_size=400)
    content = json.loads(trimmed.read_text())
    content["post_processor"]["trim_offsets"] = False
    (folder / "untrimmed.json").write_text(json.dumps(content))
    return {
        "sentencepiece unigram": trained("sentencepiece"),
        "sentencepiece bpe": trained("sentencepiece", sentencepiece_type="bpe"),
        "byte fallback": byte_fallback(),
        "wordpiece": trained("wordpiece"),
        "wordpiece lowercase": trained("wordpiece", lowercase=True),
        "byte-level": load_tokenizer(trimmed),
        "byte-level untrimmed": load_tokenizer(folder / "untrimmed.json"),
    }


def byte_fallback() -> Tokenizer:
    """A SentencePiece model that spells unknown characters in bytes."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS * 3), model_writer=model, vocab_size=400, byte_fallback=True,
        pad_id=0, unk_id=1, bos_id=-1, eos_id=-1, control_symbols=["[CLS]", "[SEP]", "[MASK]"],
        pad_piece="[PAD]", unk_piece="[UNK]", minloglevel=2, num_threads=1,
    )  # fmt: skip
    return SentencePieceTokenizer(model.getvalue())


def random_texts(count: int) -> list[str]:
    source = random.Random(7)
    words = " ".join(TEXTS + ODD).split(" ")
    return [" ".join(source.choices(words, k=source.randint(0, 30))) for _ in range(count)]


def letters(text: str) -> str:
    """What is left of a text when case, accents, width and white space are gone.

    letters(" Ａ café") -> "acafe"
    """
    plain = unicodedata.normalize("NFKD", text).lower()
    return "".join(c for c in plain if not unicodedata.combining(c) and not c.isspace())


@pytest.mark.parametrize("kind", KINDS)
def test_ids_are_those_of_a_batch_without_offsets(tokenizers, kind):
    tokenizer = tokenizers[kind]
    texts = TEXTS + ODD + random_texts(300)
    ids, offsets = tokenizer.encode_batch_with_offsets(texts)
    assert ids == tokenizer.encode_batch(texts)
    assert [len(each) for each in offsets] == [len(each) for each in ids]


@pytest.mark.parametrize("kind", KINDS)
def test_offsets_ascend_and_leave_out_no_letter(tokenizers, kind):
    texts = TEXTS + ODD + random_texts(300)
    _, offsets = tokenizers[kind].encode_batch_with_offsets(texts)
    for text, found in zip(texts, offsets, strict=True):
        starts, ends = np.array(found, int).reshape(-1, 2).T
        assert (0 <= starts).all() and (starts <= ends).all() and (ends <= len(text)).all()
        assert (np.diff(starts) >= 0).all() and (np.diff(ends) >= 0).all()
        covered = np.zeros(len(text), bool)
        for start, end in found:
            covered[start:end] = True
        left_out = {char for char, inside in zip(text, covered, strict=True) if not inside}
        assert not any(char.isalnum() or unicodedata.category(char) == "So" for char in left_out)


@pytest.mark.parametrize("kind", KINDS)
def test_a_token_comes_from_the_characters_that_it_spells(tokenizers, kind):
    tokenizer = tokenizers[kind]
    checked = 0
    # ½ becomes three pieces, which share it unevenly.
    for text in (text.replace("½", "") for text in TEXTS):
        ((ids,), (offsets,)) = tokenizer.encode_batch_with_offsets([text])
        for token_id, (start, end) in zip(ids, offsets, strict=True):
            piece = tokenizer.decode([token_id]).removeprefix("##")
            if token_id != tokenizer.unk_id and piece.isascii() and piece.isalnum():
                assert letters(piece) == letters(text[start:end])
                checked += 1
    assert checked > 100


def test_characters_that_become_several_tokens_are_as_documented(tokenizers):
    """The example of `Tokenizer.encode_batch_with_offsets`, in both ways that are allowed."""
    for kind, expected in (
        ("byte fallback", [(0, 0), (0, 0), (0, 0), (0, 0), (0, 1), (1, 4)]),
        ("byte-level", [(0, 1), (0, 1), (0, 1), (0, 1), (2, 2), (3, 4)]),
        ("byte-level untrimmed", [(0, 1), (0, 1), (0, 1), (0, 1), (1, 2), (2, 4)]),
    ):
        (_, (offsets,)) = tokenizers[kind].encode_batch_with_offsets(["🙂  a"])
        assert offsets == expected, kind
