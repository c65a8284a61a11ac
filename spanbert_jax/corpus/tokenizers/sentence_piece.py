"""SentencePiece tokenizers: unigram or BPE over raw text, words marked by a leading `▁`."""

import hashlib
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Literal

import numpy as np
import sentencepiece
from etils import epath
from jaxtyping import Bool
from sentencepiece import sentencepiece_pb2

from spanbert_jax.corpus.files import write_file
from spanbert_jax.corpus.tokenizers.interface import (
    MASK_IN_TEXT,
    SPECIAL_PIECES,
    check_special_pieces,
    check_vocab_size,
)
from spanbert_jax.errors import UserError

SENTENCEPIECE_FILE = "tokenizer.model"
WORD_MARK = "▁"
# A character that no vocabulary holds: it keeps SentencePiece from putting a word mark before the
# text after a [MASK] that follows without a space.
_PRIVATE_CHARACTER = "\ue000"
# Fixed, not the number of cores: partial sums are added by thread, so the model depends on it.
_TRAINING_THREADS = 4
# SentencePiece skips longer training lines without an error.
_MAX_TRAINING_CHARACTERS = 4_000


class SentencePieceTokenizer:
    """A trained SentencePiece model; see `Tokenizer` for what its members mean."""

    kind = "sentencepiece"
    between_sentences = ""

    def __init__(self, model: bytes, *, where: str = "SentencePiece model") -> None:
        try:
            self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        except (RuntimeError, ValueError) as error:
            raise UserError(
                f"{where}: is not a SentencePiece model ({error}); name a *.model file written by "
                "SentencePiece, or train one with --tokenizer sentencepiece"
            ) from error
        self._model = model
        self.vocab_size: int = self._processor.get_piece_size()
        self.fingerprint = hashlib.sha256(model).hexdigest()
        ids = check_special_pieces(
            {piece: self._special_id(piece) for piece in SPECIAL_PIECES},
            where,
            "train a model with --control_symbols=[CLS],[SEP],[MASK] and a padding piece, or use "
            "--tokenizer sentencepiece to train one here",
        )
        self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id = ids.values()

    def _special_id(self, piece: str) -> int | None:
        if piece == "[UNK]":
            return self._processor.unk_id()
        if piece == "[PAD]" and self._processor.pad_id() >= 0:
            return self._processor.pad_id()
        token_id = self._processor.piece_to_id(piece)
        # Only a control symbol can never come out of text.
        return token_id if self._processor.is_control(token_id) else None

    @property
    def word_starts(self) -> Bool[np.ndarray, " vocab"]:
        """Whether an entry starts a word: it begins with `▁`, or is special."""
        special = {self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id}
        starts = [
            token_id in special or self.id_to_piece(token_id).startswith(WORD_MARK)
            for token_id in range(self.vocab_size)
        ]
        return np.array(starts, bool)

    def encode(self, text: str) -> list[int]:
        """Token ids, no special ones added."""
        return self._processor.encode(text)

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """`encode` of every text; one thread, since prepare runs one process a core."""
        return self._processor.encode(list(texts), num_threads=1)

    def encode_batch_with_offsets(
        self, texts: Sequence[str]
    ) -> tuple[list[list[int]], list[list[tuple[int, int]]]]:
        """`encode_batch`, and where in its text every token comes from, in characters.

        SentencePiece counts in bytes of UTF-8.
        """
        ids, offsets = [], []
        found = self._processor.encode(list(texts), out_type="serialized_proto", num_threads=1)
        for text, encoded in zip(texts, found, strict=True):
            pieces = sentencepiece_pb2.SentencePieceText.FromString(encoded).pieces
            ids.append([piece.id for piece in pieces])
            in_bytes = [(piece.begin, piece.end) for piece in pieces]
            offsets.append(in_bytes if text.isascii() else _in_characters(in_bytes, text))
        return ids, offsets

    def encode_with_masks(self, text: str) -> list[int]:
        """As `encode`, but every "[MASK]" becomes `mask_id`.

        "a [MASK]." -> "▁a", [MASK], "."; "a [MASK] b" -> "▁a", [MASK], "▁b"
        """
        first, *rest = MASK_IN_TEXT.split(text)
        ids = self.encode(first)
        for part in rest:
            ids.append(self.mask_id)
            ids += self.encode(part) if part[:1].isspace() else self._encode_inside_word(part)
        return ids

    def _encode_inside_word(self, text: str) -> list[int]:
        if not text:
            return []
        prefix = self.encode(_PRIVATE_CHARACTER)
        return self.encode(_PRIVATE_CHARACTER + text)[len(prefix) :]

    def decode(self, ids: Sequence[int]) -> str:
        """Text of the ids; [PAD], [CLS] and [SEP] vanish, [MASK] is shown."""
        hidden = {self.pad_id, self.cls_id, self.sep_id}
        text = ""
        run: list[int] = []
        for token_id in [*(int(token_id) for token_id in ids), self.mask_id]:
            if token_id == self.mask_id:
                text += self._decode_run(run) + " [MASK]"
                run = []
            elif token_id not in hidden:
                run.append(token_id)
        return text.removesuffix(" [MASK]").strip()

    def _decode_run(self, ids: list[int]) -> str:
        if not ids:
            return ""
        starts_word = self.id_to_piece(ids[0]).startswith(WORD_MARK)
        return " " * starts_word + self._processor.decode(ids)

    def id_to_piece(self, token_id: int) -> str:
        return self._processor.id_to_piece(int(token_id))

    def save(self, folder: epath.PathLike) -> str:
        """Write tokenizer.model into `folder`. Returns the name."""
        write_file(epath.Path(folder) / SENTENCEPIECE_FILE, self._model)
        return SENTENCEPIECE_FILE


def _in_characters(offsets: list[tuple[int, int]], text: str) -> list[tuple[int, int]]:
    """Offsets in bytes as offsets in characters: (0, 2) (2, 3) of "éa" -> (0, 1) (1, 2)."""
    sizes = (len(character.encode()) for character in text)
    number = {at: i for i, at in enumerate(accumulate(sizes, initial=0))}
    return [(number[start], number[end]) for start, end in offsets]


def train_sentencepiece(
    texts: Iterable[str], *, vocab_size: int, model_type: Literal["unigram", "bpe"]
) -> SentencePieceTokenizer:
    """Train a model whose first ids are the special pieces. The same texts give the same bytes.

    Raises `UserError` where the texts are too few for `vocab_size` entries, stating the most that
    they can fill.
    """
    pad, unk, *control = SPECIAL_PIECES
    texts = list(texts)
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=_training_lines(texts), model_writer=model,
            vocab_size=vocab_size, model_type=model_type,
            pad_id=0, unk_id=1, bos_id=-1, eos_id=-1,
            pad_piece=pad, unk_piece=unk, control_symbols=control,
            num_threads=_TRAINING_THREADS, max_sentence_length=4 * _MAX_TRAINING_CHARACTERS,
            minloglevel=2,
            # 64-bit indices, at twice the memory.
            train_extremely_large_corpus=sum(map(len, texts)) > 500_000_000,
        )  # fmt: skip
    except (RuntimeError, ValueError) as error:
        if "KeyboardInterrupt" in str(error):
            # Ctrl-C while it takes its lines: it passes Python's exceptions on as text.
            raise KeyboardInterrupt from error
        raise _explain(str(error), vocab_size) from error
    return SentencePieceTokenizer(model.getvalue())


def _training_lines(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        for start in range(0, len(text), _MAX_TRAINING_CHARACTERS):
            yield text[start : start + _MAX_TRAINING_CHARACTERS].replace("\0", "")


def _explain(message: str, vocab_size: int) -> UserError:
    """Turn SentencePiece's message into rule, value and remedy."""
    most = re.search(r"set it to a value <= (\d+)", message)
    least = re.search(r"required_chars\. \d+ vs (\d+)", message)
    try:
        check_vocab_size(
            asked=vocab_size,
            most=int(most[1]) if most else None,
            least=int(least[1]) if least else None,
        )
    except UserError as explained:
        return explained
    return UserError(
        f"--tokenizer sentencepiece: no model could be trained on this text ({message}); "
        "check that --source names running text"
    )
