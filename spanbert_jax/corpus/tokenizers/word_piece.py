"""WordPiece tokenizers (BERT's), in Rust through Hugging Face tokenizers; `##` inside words."""

from collections.abc import Iterable, Sequence

import numpy as np
import tokenizers
from jaxtyping import Bool

from spanbert_jax.corpus.tokenizers.hugging_face import RustTokenizer
from spanbert_jax.corpus.tokenizers.interface import (
    MASK_IN_TEXT,
    SPECIAL_PIECES,
    check_special_pieces,
    check_vocab_size,
)
from spanbert_jax.errors import UserError

CONTINUATION = "##"


class WordPieceTokenizer(RustTokenizer):
    """A WordPiece vocabulary and its normalisation; see `Tokenizer` for what its members mean."""

    kind = "wordpiece"
    between_sentences = ""

    def __init__(self, rust: tokenizers.Tokenizer, *, where: str = "WordPiece vocabulary") -> None:
        super().__init__(rust)
        ids = check_special_pieces(
            {piece: rust.token_to_id(piece) for piece in SPECIAL_PIECES},
            where,
            "add them to the vocabulary, or use --tokenizer wordpiece to train one here",
        )
        self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id = ids.values()

    @property
    def word_starts(self) -> Bool[np.ndarray, " vocab"]:
        """Whether an entry starts a word: it has no leading `##`."""
        pieces = [self.id_to_piece(token_id) for token_id in range(self.vocab_size)]
        return np.array([not piece.startswith(CONTINUATION) for piece in pieces], bool)

    def encode_with_masks(self, text: str) -> list[int]:
        """As `encode`, but every "[MASK]" becomes `mask_id`: "a [MASK]." -> a, [MASK], "."."""
        first, *rest = self.encode_batch(MASK_IN_TEXT.split(text))
        for part in rest:
            first += [self.mask_id, *part]
        return first

    def basic_text(self, text: str) -> str:
        """The words that are cut into pieces, as they are looked up, with a space between them.

        "The Café’s" -> "the cafe ’ s" where the vocabulary is of lowercased text
        """
        if self._rust.normalizer is not None:
            text = self._rust.normalizer.normalize_str(text)
        words = self._rust.pre_tokenizer.pre_tokenize_str(text)
        return " ".join(word for word, _ in words)

    def decode(self, ids: Sequence[int]) -> str:
        """Text of the ids; [PAD], [CLS] and [SEP] vanish, [MASK] is shown."""
        hidden = {self.pad_id, self.cls_id, self.sep_id}
        shown = [int(token_id) for token_id in ids if token_id not in hidden]
        return self._rust.decode(shown, skip_special_tokens=False)


def _bert_pipeline(model: tokenizers.models.WordPiece, *, lowercase: bool) -> tokenizers.Tokenizer:
    """BERT's basic tokenization around a WordPiece model; accents go where case goes."""
    rust = tokenizers.Tokenizer(model)
    rust.normalizer = tokenizers.normalizers.BertNormalizer(
        lowercase=lowercase, strip_accents=lowercase
    )
    rust.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    rust.decoder = tokenizers.decoders.WordPiece()
    return rust


def parse_vocabulary(content: str, *, lowercase: bool, where: str) -> WordPieceTokenizer:
    """Read vocab.txt: one piece a line, its line number (from 0) is its id."""
    pieces = content.removesuffix("\n").split("\n")
    vocabulary = {piece.rstrip("\r"): token_id for token_id, piece in enumerate(pieces)}
    if len(vocabulary) < len(pieces):
        twice = next(p for i, p in enumerate(pieces) if vocabulary[p.rstrip("\r")] != i)
        raise UserError(
            f"{where}: every piece must stand on one line only, {twice!r} stands on several; "
            "remove the repeated lines, or name the file as it was published"
        )
    check_special_pieces(
        {piece: vocabulary.get(piece) for piece in SPECIAL_PIECES},
        where,
        "name the vocab.txt of a BERT model, or use --tokenizer wordpiece to train one here",
    )
    model = tokenizers.models.WordPiece(vocabulary, unk_token="[UNK]")
    return WordPieceTokenizer(_bert_pipeline(model, lowercase=lowercase), where=where)


def train_wordpiece(
    texts: Iterable[str], *, vocab_size: int, lowercase: bool
) -> WordPieceTokenizer:
    """Train a vocabulary whose first ids are the special pieces. The same texts give the same ids.

    Raises `UserError` where the texts are too few for `vocab_size` entries, stating the most that
    they can fill.
    """
    texts = list(texts)
    # The trainer numbers letters inside words by a hash order that changes from run to run, and
    # breaks ties between pieces by number. Numbered beforehand, they are always the same.
    letters = _trained_vocabulary(texts, vocab_size=0, first=(), lowercase=lowercase)
    inside_words = sorted(piece for piece in letters if piece.startswith(CONTINUATION))
    first = (*SPECIAL_PIECES, *inside_words)
    vocabulary = _trained_vocabulary(texts, vocab_size=vocab_size, first=first, lowercase=lowercase)
    check_vocab_size(asked=vocab_size, most=len(vocabulary), least=len(vocabulary))
    model = tokenizers.models.WordPiece(vocabulary, unk_token="[UNK]")
    return WordPieceTokenizer(_bert_pipeline(model, lowercase=lowercase))


def _trained_vocabulary(
    texts: list[str], *, vocab_size: int, first: tuple[str, ...], lowercase: bool
) -> dict[str, int]:
    rust = _bert_pipeline(tokenizers.models.WordPiece(unk_token="[UNK]"), lowercase=lowercase)
    trainer = tokenizers.trainers.WordPieceTrainer(
        vocab_size=vocab_size, special_tokens=list(first), show_progress=False
    )
    rust.train_from_iterator(texts, trainer)
    return rust.get_vocab()
