"""WordPiece tokenizers (BERT's), in Rust through Hugging Face tokenizers; `##` inside words."""

import hashlib
import json
from collections.abc import Iterable, Sequence

import numpy as np
import tokenizers
from etils import epath
from jaxtyping import Bool

from spanbert_jax.corpus.files import write_file
from spanbert_jax.corpus.tokenizers.interface import (
    MASK_IN_TEXT,
    SPECIAL_PIECES,
    check_special_pieces,
    check_vocab_size,
)
from spanbert_jax.errors import UserError

WORDPIECE_FILE = "tokenizer.json"
CONTINUATION = "##"


class WordPieceTokenizer:
    """A WordPiece vocabulary and its normalisation; see `Tokenizer` for what its members mean."""

    kind = "wordpiece"

    def __init__(self, rust: tokenizers.Tokenizer, *, where: str = "WordPiece vocabulary") -> None:
        rust.no_truncation()
        rust.no_padding()
        # "[MASK]" in a text is spelled out as any other word.
        rust.encode_special_tokens = True
        self._rust = rust
        self.vocab_size: int = rust.get_vocab_size()
        self.fingerprint = _fingerprint(rust)
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

    def encode(self, text: str) -> list[int]:
        """Token ids, no special ones added."""
        return self._rust.encode(text, add_special_tokens=False).ids

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """`encode` of every text, without the offsets that nobody needs here."""
        encodings = self._rust.encode_batch_fast(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    def encode_with_masks(self, text: str) -> list[int]:
        """As `encode`, but every "[MASK]" becomes `mask_id`: "a [MASK]." -> a, [MASK], "."."""
        first, *rest = self.encode_batch(MASK_IN_TEXT.split(text))
        for part in rest:
            first += [self.mask_id, *part]
        return first

    def decode(self, ids: Sequence[int]) -> str:
        """Text of the ids; [PAD], [CLS] and [SEP] vanish, [MASK] is shown."""
        hidden = {self.pad_id, self.cls_id, self.sep_id}
        shown = [int(token_id) for token_id in ids if token_id not in hidden]
        return self._rust.decode(shown, skip_special_tokens=False)

    def id_to_piece(self, token_id: int) -> str:
        piece = self._rust.id_to_token(int(token_id))
        # A vocabulary with a gap in its ids has no piece there.
        return "" if piece is None else piece

    def save(self, folder: epath.PathLike) -> str:
        """Write tokenizer.json into `folder`. Returns the name."""
        content = self._rust.to_str(pretty=True)
        write_file(epath.Path(folder) / WORDPIECE_FILE, content.encode())
        return WORDPIECE_FILE


def _fingerprint(rust: tokenizers.Tokenizer) -> str:
    content = json.loads(rust.to_str())
    parts = {name: content[name] for name in ("normalizer", "pre_tokenizer", "model")}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


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


def parse_tokenizer_json(content: str, *, where: str) -> WordPieceTokenizer:
    """Read a tokenizer.json of Hugging Face tokenizers whose model is WordPiece."""
    remedy = "name the tokenizer.json or vocab.txt of a BERT model"
    try:
        rust = tokenizers.Tokenizer.from_str(content)
        kind = json.loads(content)["model"]["type"]
    except Exception as error:  # the Rust library raises bare Exception
        raise UserError(f"{where}: is not a tokenizer.json ({error}); {remedy}") from error
    if kind != "WordPiece":
        raise UserError(f"{where}: must hold a WordPiece model, found {kind}; {remedy}")
    return WordPieceTokenizer(rust, where=where)


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
