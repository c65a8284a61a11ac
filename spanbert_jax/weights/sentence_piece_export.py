"""A SentencePiece model rebuilt for Hugging Face tokenizers. In: its bytes. Out: their tokenizer.

Its pieces, scores and table of characters are taken over; the search for the best pieces is theirs.
"""

from typing import Any

import tokenizers
from sentencepiece import sentencepiece_model_pb2
from tokenizers import decoders, models, normalizers, pre_tokenizers

from spanbert_jax.corpus.tokenizers.sentence_piece import WORD_MARK

_UNIGRAM = 1


def rust_of_sentence_piece(model: bytes) -> tokenizers.Tokenizer:
    """The tokenizer without special pieces around a text, but with all of their ids."""
    proto = sentencepiece_model_pb2.ModelProto.FromString(model)
    rust = tokenizers.Tokenizer(
        _unigram(proto) if proto.trainer_spec.model_type == _UNIGRAM else _bpe(proto)
    )
    rust.normalizer = normalizers.Sequence(_normalizers(proto.normalizer_spec))
    prepend = "first" if proto.normalizer_spec.add_dummy_prefix else "never"
    rust.pre_tokenizer = pre_tokenizers.Metaspace(WORD_MARK, prepend_scheme=prepend)
    rust.decoder = decoders.Sequence(
        [decoders.ByteFallback(), decoders.Metaspace(WORD_MARK, prepend_scheme=prepend)]
    )
    return rust


def _normalizers(spec: Any) -> list[Any]:
    steps: list[Any] = []
    if spec.precompiled_charsmap:
        steps.append(normalizers.Precompiled(spec.precompiled_charsmap))
    if spec.remove_extra_whitespaces:
        # On the left one space may stay: it becomes the word mark, as behind a [MASK].
        steps.append(normalizers.Replace(tokenizers.Regex(" {2,}"), " "))
        steps.append(normalizers.Strip(left=False, right=True))
    return steps


def _unigram(proto: Any) -> models.Unigram:
    return models.Unigram(
        [(piece.piece, piece.score) for piece in proto.pieces],
        unk_id=proto.trainer_spec.unk_id,
        byte_fallback=proto.trainer_spec.byte_fallback,
    )


def _bpe(proto: Any) -> models.BPE:
    """Pieces are merged from their halves, the one of the best score first."""
    normal = [piece for piece in proto.pieces if piece.type == piece.NORMAL]
    known = {piece.piece for piece in normal}
    merges = [
        (piece.piece[:cut], piece.piece[cut:])
        for piece in sorted(normal, key=lambda piece: -piece.score)
        for cut in range(1, len(piece.piece))
        if piece.piece[:cut] in known and piece.piece[cut:] in known
    ]
    return models.BPE(
        {piece.piece: token_id for token_id, piece in enumerate(proto.pieces)},
        merges,
        unk_token=proto.pieces[proto.trainer_spec.unk_id].piece,
        fuse_unk=True,
        byte_fallback=proto.trainer_spec.byte_fallback,
    )
