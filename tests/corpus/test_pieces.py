"""Pieces: a shard is cut into parts that can be read alone, and is whole again when joined."""

import numpy as np
import pytest

from spanbert_jax.corpus import pieces
from spanbert_jax.corpus.pieces import (
    GOES_ON_WITH_DOCUMENT,
    GOES_ON_WITH_SENTENCE,
    PIECE_TABLE,
    Shard,
    cut_into_pieces,
    join_pieces,
    piece_ends,
)
from spanbert_jax.corpus.shards import load_shard, open_shard, write_shard
from spanbert_jax.errors import UserError


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr(pieces, "PIECE_TOKENS", 100)


def shard_of(documents, *, seed: int = 0) -> Shard:
    """Random ids in documents of sentences of these lengths; every third sentence is a span."""
    lengths = np.array([length for document in documents for length in document])
    ends = np.cumsum(lengths)
    tokens = np.random.default_rng(seed).integers(0, 60_000, ends[-1], np.uint16)
    spans = np.stack([ends - lengths, ends], axis=1)[::3]
    return Shard(tokens, ends, np.cumsum([len(document) for document in documents]), spans)


def random_documents(seed: int, *, longest_sentence: int, longest_document: int):
    rng = np.random.default_rng(seed)
    return [
        rng.integers(1, longest_sentence + 1, rng.integers(1, longest_document + 1)).tolist()
        for _ in range(40)
    ]


def assert_equal(found: Shard, expected: Shard) -> None:
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)
    assert found.tokens.dtype == expected.tokens.dtype


def test_pieces_end_with_documents():
    shard = shard_of([[20, 20]] * 8)  # 320 tokens: 3 pieces, targets at 100 and 200
    assert piece_ends(shard).tolist() == [80, 200, 320]
    assert [flag for _, flag in cut_into_pieces(shard)] == [0, 0, 0]


def test_a_long_document_is_cut_after_a_sentence_and_a_long_sentence_anywhere():
    shard = shard_of([[30] * 5 + [200], [50]])
    assert piece_ends(shard).tolist() == [90, 200, 300, 400]
    flags = [flag for _, flag in cut_into_pieces(shard)]
    assert flags == [0, GOES_ON_WITH_DOCUMENT, GOES_ON_WITH_SENTENCE, GOES_ON_WITH_SENTENCE]


@pytest.mark.parametrize("longest_sentence", [5, 30, 300])
@pytest.mark.parametrize("longest_document", [1, 4, 60])
def test_every_piece_is_of_half_to_twice_the_size_and_all_are_the_shard(
    longest_sentence, longest_document
):
    documents = random_documents(
        3, longest_sentence=longest_sentence, longest_document=longest_document
    )
    shard = shard_of(documents)
    parts = list(cut_into_pieces(shard))
    sizes = [len(piece.tokens) for piece, _ in parts]
    assert min(sizes) >= min(50, len(shard.tokens))
    assert max(sizes) < 250
    for piece, _ in parts:
        assert piece.sentence_ends[-1] == len(piece.tokens)
        assert piece.document_ends[-1] == len(piece.sentence_ends)
        assert np.all(np.diff(piece.sentence_ends, prepend=0) > 0)
        assert np.all(np.diff(piece.document_ends, prepend=0) > 0)
    joined = join_pieces(parts)
    whole = [span for span in shard.spans.tolist() if span in joined.spans.tolist()]
    assert_equal(joined, shard._replace(spans=np.array(whole).reshape(-1, 2)))
    assert longest_sentence == 300 or len(whole) == len(shard.spans)


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
def test_a_piece_is_read_alone_and_a_shard_whole(tmp_path, dtype):
    shard = shard_of(random_documents(0, longest_sentence=30, longest_document=5))
    shard = shard._replace(tokens=shard.tokens.astype(dtype))
    info = write_shard(tmp_path, "train-00000", shard)
    assert (info.num_tokens, info.num_sentences, info.num_documents, info.num_spans) == tuple(
        map(len, shard)
    )
    files = open_shard(tmp_path, info)
    parts = [piece for piece, _ in cut_into_pieces(shard)]
    assert len(files.table) == len(parts) > 5
    for index, piece in enumerate(parts):
        assert_equal(files.read(index), piece)
    assert_equal(load_shard(tmp_path, info), shard)


def test_an_altered_byte_is_found_where_it_is_read_and_nowhere_else(tmp_path):
    shard = shard_of([[20, 20]] * 20)
    info = write_shard(tmp_path, "train-00000", shard)
    files = open_shard(tmp_path, info)
    content = bytearray(files.path.read_bytes())
    content[files.table["offset"][2] + 5] ^= 1
    files.path.write_bytes(content)
    files.read(1)
    with pytest.raises(
        UserError, match=r"00000.tokens.npy: is truncated or altered \(the tokens of piece 2 of"
    ):
        files.read(2)
    files.read(3)


def test_the_layout_of_a_piece_is_read_without_its_tokens(tmp_path):
    shard = shard_of(random_documents(0, longest_sentence=30, longest_document=5))
    files = open_shard(tmp_path, write_shard(tmp_path, "train-00000", shard))
    for index in range(len(files.table)):
        piece = files.read(index)
        assert_equal(files.read_layout(index), piece._replace(tokens=np.zeros_like(piece.tokens)))


def test_the_table_says_where_a_piece_lies(tmp_path):
    shard = shard_of([[20, 20]] * 20)
    info = write_shard(tmp_path, "train-00000", shard)
    table = np.load(tmp_path / "train-00000.pieces.npy")
    words = np.load(tmp_path / "train-00000.tokens.npy")
    assert table.dtype == PIECE_TABLE
    first_word = (table["offset"] - table["offset"][0]) // 2
    tokens = [words[a : a + n] for a, n in zip(first_word, table["num_tokens"], strict=True)]
    np.testing.assert_array_equal(np.concatenate(tokens), shard.tokens)
    assert info.dtype == "uint16"


def test_an_altered_table_is_named_when_it_is_opened(tmp_path):
    info = write_shard(tmp_path, "train-00000", shard_of([[20, 20]] * 20))
    path = tmp_path / "train-00000.pieces.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match="00000.pieces.npy: is truncated or altered .its checksum"):
        open_shard(tmp_path, info)
