"""Text to token ids and back: SentencePiece, WordPiece and byte-level BPE, one interface."""

from spanbert_jax.corpus.tokenizers.byte_level import ByteLevelTokenizer
from spanbert_jax.corpus.tokenizers.interface import SPECIAL_PIECES, Tokenizer
from spanbert_jax.corpus.tokenizers.loading import load_tokenizer, train_tokenizer
from spanbert_jax.corpus.tokenizers.sentence_piece import SentencePieceTokenizer
from spanbert_jax.corpus.tokenizers.word_piece import WordPieceTokenizer

__all__ = [
    "SPECIAL_PIECES",
    "ByteLevelTokenizer",
    "SentencePieceTokenizer",
    "Tokenizer",
    "WordPieceTokenizer",
    "load_tokenizer",
    "train_tokenizer",
]
