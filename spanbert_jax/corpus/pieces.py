"""Pieces: the parts of a shard that are read, checked and shuffled as one.

In: a shard. Out: the two files of it, and from them any piece alone, as a small shard.

A piece is about half a million tokens, a megabyte, that one read fetches from a disk or gs://. It
ends with a document where it can, else with a sentence. NAME.tokens.npy holds one piece after the
other: the token ids of its text, then, as uint32, the lengths of its sentences (in tokens) and of
its documents (in sentences), and start and length of its annotated spans. NAME.pieces.npy says
where each lies, what it holds, and its checksum.
"""

import io
import zlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from etils import epath
from jaxtyping import Int64, Integer

PIECE_TOKENS = 1 << 19
"""Mean tokens of a piece; each has at least half of them, or is a whole shard."""

PIECE_TABLE = np.dtype(
    [
        ("offset", "<i8"),  # of its first byte in the file
        ("num_tokens", "<i8"),
        ("num_sentences", "<i8"),
        ("num_documents", "<i8"),
        ("num_spans", "<i8"),
        ("goes_on", "<i8"),  # 1: with the document of the piece before; 2: with its sentence
        ("tokens_crc32", "<i8"),  # of the bytes of its token ids
        ("layout_crc32", "<i8"),  # of those after them
    ]
)
_LAYOUT = np.dtype("<u4")
_NPY_HEADER_BYTES = 128  # of every array of one axis
GOES_ON_WITH_DOCUMENT, GOES_ON_WITH_SENTENCE = 1, 2


class Shard(NamedTuple):
    """Token ids of whole documents, one after the other, without special tokens.

    Two documents, `[5 6 7] [8]` of two sentences and `[9 9]` of one:
    tokens = [5, 6, 7, 8, 9, 9], sentence_ends = [3, 4, 6], document_ends = [2, 3]
    """

    tokens: Integer[np.ndarray, " tokens"]
    """uint16 where the vocabulary allows, else uint32."""
    sentence_ends: Int64[np.ndarray, " sentences"]
    """End (exclusive) of every sentence in `tokens`, ascending."""
    document_ends: Int64[np.ndarray, " documents"]
    """End (exclusive) of every document in `sentence_ends`, ascending."""
    spans: Int64[np.ndarray, "spans 2"] = np.zeros((0, 2), np.int64)
    """Start and end (exclusive) in `tokens` of what `--tag` annotated, ascending; each within a
    sentence."""

    @property
    def lengths(self) -> tuple[int, int, int, int]:
        """Numbers of tokens, sentences, documents and spans."""
        return len(self.tokens), len(self.sentence_ends), len(self.document_ends), len(self.spans)


def piece_ends(shard: Shard) -> Int64[np.ndarray, " pieces"]:
    """Where the pieces of a shard end, in tokens.

    The k-th end is the last end of a document before k x PIECE_TOKENS; of a sentence, where a
    document is so long that there is none in the last half piece; of neither, for a sentence so
    long.
    """
    size = len(shard.tokens)
    targets = np.arange(1, max(1, size // PIECE_TOKENS), dtype=np.int64) * PIECE_TOKENS
    ends = targets
    for candidates in (shard.sentence_ends, shard.sentence_ends[shard.document_ends - 1]):
        last = np.searchsorted(candidates, targets, side="right") - 1
        found = np.where(last >= 0, candidates[last], 0) if len(candidates) else ends * 0
        ends = np.where(found > targets - PIECE_TOKENS // 2, found, ends)
    return np.append(ends, size)


def cut_into_pieces(shard: Shard) -> Iterator[tuple[Shard, int]]:
    """The pieces of a shard, and what each goes on with; a span that an end cuts is left out."""
    document_ends = shard.sentence_ends[shard.document_ends - 1]
    begin = 0
    for end in piece_ends(shard).tolist():
        sentences = _ends_between(shard.sentence_ends, begin, end)
        documents = np.searchsorted(sentences, _ends_between(document_ends, begin, end)) + 1
        first = np.searchsorted(shard.spans[:, 0], begin)
        spans = shard.spans[first : np.searchsorted(shard.spans[:, 0], end)]
        goes_on = 0
        if begin and not _holds(document_ends, begin):
            inside = not _holds(shard.sentence_ends, begin)
            goes_on = GOES_ON_WITH_SENTENCE if inside else GOES_ON_WITH_DOCUMENT
        piece = Shard(
            shard.tokens[begin:end], sentences - begin, documents, spans[spans[:, 1] <= end] - begin
        )
        yield piece, goes_on
        begin = end


def _ends_between(ends: np.ndarray, begin: int, end: int) -> np.ndarray:
    """The ends in (begin, end], with `end` as one more where none is there."""
    first, last = np.searchsorted(ends, (begin, end), side="right")
    found = ends[first:last]
    return found if len(found) and found[-1] == end else np.append(found, end)


def _holds(ends: np.ndarray, end: int) -> bool:
    place = np.searchsorted(ends, end)
    return bool(place < len(ends) and ends[place] == end)


def join_pieces(pieces: list[tuple[Shard, int]]) -> Shard:
    """The shard that was cut into these pieces, as `cut_into_pieces` gives them."""
    sentences: list[np.ndarray] = []
    documents: list[np.ndarray] = []
    spans: list[np.ndarray] = []
    num_tokens = num_sentences = 0
    for piece, goes_on in pieces:
        if goes_on == GOES_ON_WITH_SENTENCE:
            sentences[-1] = sentences[-1][:-1]
            num_sentences -= 1
        if goes_on:
            documents[-1] = documents[-1][:-1]
        sentences.append(piece.sentence_ends + num_tokens)
        documents.append(piece.document_ends + num_sentences)
        spans.append(piece.spans + num_tokens)
        num_tokens, num_sentences = (
            num_tokens + len(piece.tokens),
            num_sentences + len(piece.sentence_ends),
        )
    return Shard(
        np.concatenate([piece.tokens for piece, _ in pieces]),
        *(np.concatenate(arrays) for arrays in (sentences, documents, spans)),
    )


def encode_piece(piece: Shard) -> tuple[bytes, bytes]:
    """The bytes of a piece as they lie in the file: of its token ids, and of its layout."""
    sentence_lengths = np.diff(piece.sentence_ends, prepend=0)
    document_lengths = np.diff(piece.document_ends, prepend=0)
    spans = np.stack([piece.spans[:, 0], piece.spans[:, 1] - piece.spans[:, 0]], axis=1)
    layout = np.concatenate([sentence_lengths, document_lengths, spans.ravel()])
    return piece.tokens.tobytes(), layout.astype(_LAYOUT).tobytes()


def decode_piece(tokens: np.ndarray, layout: bytes | memoryview, entry: np.void) -> Shard:
    """A piece from its token ids, the bytes after them, and its entry of the table."""
    num_sentences, num_documents = int(entry["num_sentences"]), int(entry["num_documents"])
    numbers = np.frombuffer(layout, _LAYOUT).astype(np.int64)
    sentences, documents, spans = np.split(numbers, [num_sentences, num_sentences + num_documents])
    spans = spans.reshape(-1, 2)
    return Shard(
        tokens, np.cumsum(sentences), np.cumsum(documents), np.cumsum(spans, axis=1, dtype=np.int64)
    )


def layout_bytes(table: np.ndarray | np.void) -> int | np.ndarray:
    """Bytes of what follows the token ids of each piece."""
    numbers = table["num_sentences"] + table["num_documents"] + 2 * table["num_spans"]
    return numbers * _LAYOUT.itemsize


def encode_shard(shard: Shard) -> tuple[list[bytes], np.ndarray]:
    """The parts of the .npy file of a shard, and the table that finds its pieces in it."""
    parts: list[bytes] = []
    entries, offset = [], _NPY_HEADER_BYTES
    for piece, goes_on in cut_into_pieces(shard):
        content = encode_piece(piece)
        entries.append((offset, *piece.lengths, goes_on, *map(zlib.crc32, content)))
        parts += content
        offset += sum(map(len, content))
    header = _npy_header(shard.tokens.dtype, num_bytes=offset - _NPY_HEADER_BYTES)
    return [header, *parts], np.array(entries, PIECE_TABLE)


def _npy_header(dtype: np.dtype, *, num_bytes: int) -> bytes:
    """What stands before an array of one axis in a .npy file."""
    size, rest = divmod(num_bytes, dtype.itemsize)
    assert not rest, "the layout is of whole words"
    about = {"descr": dtype.str, "fortran_order": False, "shape": (size,)}
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, about)
    assert buffer.tell() == _NPY_HEADER_BYTES
    return buffer.getvalue()


def read_bytes(path: epath.Path, *, offset: int, size: int) -> bytes:
    """So many bytes of a file, local or gs://, in one read; fewer where it ends before."""
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(size)
