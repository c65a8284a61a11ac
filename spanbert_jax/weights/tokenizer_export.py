"""A tokenizer of ours as the files that Hugging Face Transformers loads.

In: a tokenizer. Out: tokenizer.json and tokenizer_config.json, and the vocabulary's own file. What
was written is compared with ours on texts: SentencePiece is another program than theirs.
"""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tokenizers
from etils import epath

from spanbert_jax.corpus.files import write_file
from spanbert_jax.corpus.tokenizers import Tokenizer
from spanbert_jax.corpus.tokenizers.loading import TOKENIZER_CONFIG_FILE, VOCABULARY_FILE
from spanbert_jax.weights.sentence_piece_export import rust_of_sentence_piece

TOKENIZER_FILE = "tokenizer.json"
_SAMPLE_TEXTS = (
    "The capital of France is Paris, isn't it?",
    "  Two  spaces, a\ttab and a\nnew line.  ",
    "Naïve café, Ünïcödé: ﬁne ½ ™ 東京 Привет 🙂 e\u0301",
    "3.14159 e-mail@example.com (2019-10-24) U.S.A. \u201cquoted\u201d \u2014 well...",
    "",
)
_NUM_RANDOM_TEXTS, _RANDOM_TEXT_LENGTH = 200, 24


class Agreement(NamedTuple):
    """On how many sample texts the exported tokenizer gives the ids of ours."""

    num_equal: int
    num_texts: int

    @property
    def exact(self) -> bool:
        return self.num_equal == self.num_texts


def export_tokenizer(
    tokenizer: Tokenizer, folder: epath.Path, *, max_length: int, num_segments: int
) -> Agreement:
    """Write the tokenizer's files into `folder`; say how far they agree with ours."""
    saved = folder / tokenizer.save(folder)
    if tokenizer.kind == "sentencepiece":
        rust = rust_of_sentence_piece(saved.read_bytes())
    else:
        rust = tokenizers.Tokenizer.from_str(saved.read_text(encoding="utf-8"))
    special = _special_pieces(tokenizer)
    rust.add_special_tokens([_special(piece, tokenizer) for piece in special.values()])
    rust.post_processor = _around_texts(tokenizer)
    content = rust.to_str(pretty=True)
    write_file(folder / TOKENIZER_FILE, content.encode())
    if tokenizer.kind == "wordpiece":
        _write_vocabulary(tokenizer, folder)
    inputs = ["input_ids", *["token_type_ids"] * (num_segments > 1), "attention_mask"]
    config = {
        **_class_of(tokenizer, json.loads(content)),
        "model_max_length": max_length,
        "model_input_names": inputs,
        **special,
    }
    text = json.dumps(config, indent=2, ensure_ascii=False) + "\n"
    write_file(folder / TOKENIZER_CONFIG_FILE, text.encode())
    return _agreement(tokenizer, rust)


def _write_vocabulary(tokenizer: Tokenizer, folder: epath.Path) -> None:
    """vocab.txt, which older programs ask for, where its lines can hold every piece."""
    pieces = [tokenizer.id_to_piece(token_id) for token_id in range(tokenizer.vocab_size)]
    if all(piece and piece == piece.strip() for piece in pieces):
        write_file(folder / VOCABULARY_FILE, "".join(f"{piece}\n" for piece in pieces).encode())


def _special(piece: str, tokenizer: Tokenizer) -> tokenizers.AddedToken:
    """A special piece; RoBERTa's mask takes the space before it, since its words begin with one."""
    takes_space = tokenizer.kind == "byte-level" and piece == tokenizer.id_to_piece(
        tokenizer.mask_id
    )
    return tokenizers.AddedToken(piece, special=True, normalized=False, lstrip=takes_space)


def _special_pieces(tokenizer: Tokenizer) -> dict[str, str]:
    """The special pieces under the names of Transformers."""
    ids = {
        "pad_token": tokenizer.pad_id,
        "unk_token": tokenizer.unk_id,
        "cls_token": tokenizer.cls_id,
        "sep_token": tokenizer.sep_id,
        "mask_token": tokenizer.mask_id,
    }
    return {name: tokenizer.id_to_piece(token_id) for name, token_id in ids.items()}


def _around_texts(tokenizer: Tokenizer) -> Any:
    """[CLS] a [SEP], and pairs [CLS] a [SEP] b [SEP] with segments 0 and 1, as in pretraining.

    RoBERTa's are <s> a </s></s> b </s>, all of one segment.
    """
    cls_piece, sep_piece = map(tokenizer.id_to_piece, (tokenizer.cls_id, tokenizer.sep_id))
    if tokenizer.kind == "byte-level":
        return tokenizers.processors.RobertaProcessing(
            (sep_piece, tokenizer.sep_id), (cls_piece, tokenizer.cls_id), add_prefix_space=False
        )
    return tokenizers.processors.TemplateProcessing(
        single=f"{cls_piece}:0 $A:0 {sep_piece}:0",
        pair=f"{cls_piece}:0 $A:0 {sep_piece}:0 $B:1 {sep_piece}:1",
        special_tokens=[(cls_piece, tokenizer.cls_id), (sep_piece, tokenizer.sep_id)],
    )


def _class_of(tokenizer: Tokenizer, content: dict[str, Any]) -> dict[str, Any]:
    """The class that Transformers makes of it, and what that class asks for."""
    normalizer = content["normalizer"] or {}
    if tokenizer.kind == "wordpiece" and normalizer.get("type") == "BertNormalizer":
        return {
            "tokenizer_class": "BertTokenizer",
            "do_lower_case": normalizer["lowercase"],
            "strip_accents": normalizer["strip_accents"],
            "tokenize_chinese_chars": normalizer["handle_chinese_chars"],
        }
    before = content["pre_tokenizer"] or {}
    if tokenizer.kind == "byte-level" and not normalizer and before.get("type") == "ByteLevel":
        return {
            "tokenizer_class": "RobertaTokenizer",
            "add_prefix_space": before["add_prefix_space"],
        }
    return {"tokenizer_class": "PreTrainedTokenizerFast"}


def _agreement(tokenizer: Tokenizer, rust: tokenizers.Tokenizer) -> Agreement:
    texts = _texts(tokenizer)
    ours = tokenizer.encode_batch(texts)
    theirs = [each.ids for each in rust.encode_batch(texts, add_special_tokens=False)]
    equal = sum(mine == other for mine, other in zip(ours, theirs, strict=True))
    return Agreement(equal, len(texts))


def _texts(tokenizer: Tokenizer) -> Sequence[str]:
    """Sentences of many characters, and texts of random entries of the vocabulary."""
    rng = np.random.default_rng(0)
    special = (tokenizer.pad_id, tokenizer.unk_id, tokenizer.cls_id, tokenizer.sep_id)
    ordinary = np.setdiff1d(np.arange(tokenizer.vocab_size), [*special, tokenizer.mask_id])
    drawn = rng.choice(ordinary, (_NUM_RANDOM_TEXTS, _RANDOM_TEXT_LENGTH))
    return [*_SAMPLE_TEXTS, *(tokenizer.decode(ids.tolist()) for ids in drawn)]
