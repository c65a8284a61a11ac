"""Shards: token ids with document and sentence boundaries in files, and their manifest.

In: shards from prepare.py. Out: the folder that the data layer reads, local or gs://. A file is
written under a temporary name and renamed, so a name that exists is complete. What lies inside a
file says pieces.py.
"""

import dataclasses
import hashlib
import io
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from etils import epath
from jaxtyping import Int64

from spanbert_jax.corpus.files import as_path, sha256_of, write_file
from spanbert_jax.corpus.pieces import (
    PIECE_TABLE,
    Shard,
    decode_piece,
    encode_shard,
    join_pieces,
    layout_bytes,
    read_bytes,
)
from spanbert_jax.errors import UserError

FORMAT_VERSION = 2
MANIFEST_FILE = "manifest.json"
UNIGRAM_FILE = "unigram.npy"
SPLITS = ("train", "held_out")
ARRAYS = ("tokens", "pieces")
_OTHER_CHECKSUM = "is truncated or altered (its checksum is not the manifest's)"


@dataclass(frozen=True)
class ShardInfo:
    """What the manifest knows of one shard."""

    name: str
    """Its files are NAME.tokens.npy and NAME.pieces.npy."""
    dtype: str
    """Of the token ids: uint16 or uint32."""
    num_tokens: int
    num_sentences: int
    num_documents: int
    num_spans: int
    """Annotated by `--tag`."""
    sha256: Mapping[str, str]
    """Checksum of each file, by array: tokens, pieces."""

    def file(self, array: str) -> str:
        return f"{self.name}.{array}.npy"


@dataclass(frozen=True)
class TokenizerInfo:
    """The tokenizer that made the ids; its file lies in the same folder."""

    file: str
    kind: str
    """sentencepiece, wordpiece or byte-level."""
    vocab_size: int
    fingerprint: str
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What a folder of shards holds, and how it was made."""

    splits: Mapping[str, tuple[ShardInfo, ...]]
    """Shards of `train` and `held_out`, in order."""
    tokenizer: TokenizerInfo
    unigram_sha256: str
    sources: tuple[str, ...]
    inputs: Mapping[str, int] = field(default_factory=dict)
    """Files that the sources name, with their sizes in bytes."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Fields of PrepareConfig that shape the shards."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """Bytes read, and everything that was dropped or cut."""
    source_shares: tuple[float, ...] = ()
    """Share of each source in the text, where `--mixture` asked for shares."""
    format_version: int = FORMAT_VERSION

    @property
    def totals(self) -> dict[str, dict[str, int]]:
        """Tokens, sentences, documents and annotated spans of every split."""
        names = ("num_tokens", "num_sentences", "num_documents", "num_spans")
        return {
            split: {name: sum(getattr(shard, name) for shard in shards) for name in names}
            for split, shards in self.splits.items()
        }


def token_dtype(vocab_size: int) -> np.dtype:
    """The narrowest type that holds every id: uint16 up to 65,536 entries, else uint32."""
    return np.dtype(np.uint16 if vocab_size <= 2**16 else np.uint32)


def write_array(path: epath.Path, array: np.ndarray) -> str:
    """Write one .npy file. Returns its sha256."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    return write_file(path, buffer.getvalue())


def write_shard(folder: epath.PathLike, name: str, shard: Shard) -> ShardInfo:
    """Write the files of a shard. Returns its entry for the manifest."""
    parts, table = encode_shard(shard)
    sha256 = {
        "tokens": write_file(epath.Path(folder) / f"{name}.tokens.npy", *parts),
        "pieces": write_array(epath.Path(folder) / f"{name}.pieces.npy", table),
    }
    return ShardInfo(name, shard.tokens.dtype.name, *shard.lengths, sha256)


def write_manifest(folder: epath.PathLike, manifest: Manifest) -> None:
    content = dataclasses.asdict(manifest) | {"totals": manifest.totals}
    text = json.dumps(content, indent=2, sort_keys=True) + "\n"
    write_file(epath.Path(folder) / MANIFEST_FILE, text.encode())


def read_manifest(folder: epath.PathLike) -> Manifest:
    """Read manifest.json; `UserError` where it is missing, damaged or of another format version."""
    path = as_path(folder) / MANIFEST_FILE
    remedy = "run `spanbert prepare` into a new folder"
    if not path.exists():
        raise UserError(
            f"{folder}: a folder of shards must hold {MANIFEST_FILE}, found none; "
            f"run `spanbert prepare --out {folder}` first, or name the folder it wrote"
        )
    try:
        content = json.loads(path.read_text())
        version = content["format_version"]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: is not a manifest of shards ({error!r}); {remedy}") from error
    if version != FORMAT_VERSION:
        raise UserError(
            f"{path}: has format version {version}, this program reads version {FORMAT_VERSION}; "
            f"{remedy}, or use the program that wrote it"
        )
    try:
        return _parse_manifest(content)
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: is damaged ({error!r}); {remedy}") from error


def _parse_manifest(content: dict[str, Any]) -> Manifest:
    splits = {
        split: tuple(ShardInfo(**shard) for shard in shards)
        for split, shards in content["splits"].items()
    }
    return Manifest(
        splits=splits,
        tokenizer=TokenizerInfo(**content["tokenizer"]),
        unigram_sha256=content["unigram_sha256"],
        sources=tuple(content["sources"]),
        inputs=content["inputs"],
        options=content["options"],
        counts=content["counts"],
        source_shares=tuple(content.get("source_shares", ())),
        format_version=content["format_version"],
    )


class ShardFiles(NamedTuple):
    """A shard whose pieces can be read one by one."""

    path: epath.Path
    table: np.ndarray
    """An entry of `PIECE_TABLE` for each piece."""
    dtype: np.dtype

    def read(self, piece: int) -> Shard:
        """One piece, its offsets counted from its beginning.

        Raises `UserError` naming the file where it is missing, cut off or altered.
        """
        entry = self.table[piece]
        num_bytes = int(entry["num_tokens"]) * self.dtype.itemsize
        content = memoryview(self._read(piece, num_bytes + int(layout_bytes(entry))))
        self._check(piece, content[:num_bytes], "tokens")
        self._check(piece, content[num_bytes:], "layout")
        tokens = np.frombuffer(content[:num_bytes], self.dtype)
        return decode_piece(tokens, content[num_bytes:], entry)

    def read_layout(self, piece: int) -> Shard:
        """As `read`, but for the token ids: those are zeros that take no memory."""
        entry = self.table[piece]
        num_tokens = int(entry["num_tokens"])
        layout = self._read(piece, int(layout_bytes(entry)), skip=num_tokens * self.dtype.itemsize)
        self._check(piece, layout, "layout")
        return decode_piece(np.broadcast_to(self.dtype.type(0), num_tokens), layout, entry)

    def _read(self, piece: int, size: int, *, skip: int = 0) -> bytes:
        try:
            return read_bytes(self.path, offset=int(self.table["offset"][piece]) + skip, size=size)
        except FileNotFoundError:
            raise _broken(self.path, "is missing") from None
        except OSError as error:
            raise UserError(
                f"{self.path}: cannot be read ({error.strerror or error}); check the disk or the "
                "connection, and its permissions, then run the same command again"
            ) from error

    def _check(self, piece: int, content: bytes | memoryview, part: str) -> None:
        if zlib.crc32(content) != self.table[f"{part}_crc32"][piece]:
            place = f"the {part} of piece {piece} of {len(self.table)}"
            raise _broken(self.path, f"is truncated or altered ({place} are not as written)")


def open_shard(folder: epath.PathLike, info: ShardInfo) -> ShardFiles:
    """Find the pieces of a shard; none is read yet.

    Raises `UserError` naming the file that is missing, truncated or of another length than the
    manifest says.
    """
    table_path, path = as_path(folder) / info.file("pieces"), as_path(folder) / info.file("tokens")
    table, dtype = _load_table(table_path, sha256=info.sha256["pieces"]), np.dtype(info.dtype)
    if table.dtype != PIECE_TABLE or table["num_tokens"].sum() != info.num_tokens:
        raise _broken(table_path, f"does not hold the pieces of {info.num_tokens:,} tokens")
    last = table[-1]
    expected = int(last["offset"] + last["num_tokens"] * dtype.itemsize + layout_bytes(last))
    try:
        found = path.stat().length
    except FileNotFoundError:
        raise _broken(path, "is missing") from None
    if found != expected:
        raise _broken(path, f"is truncated or damaged ({found:,} bytes instead of {expected:,})")
    return ShardFiles(path, table, dtype)


def load_shard(folder: epath.PathLike, info: ShardInfo) -> Shard:
    """A whole shard in memory; see `open_shard`."""
    files = open_shard(folder, info)
    goes_on = files.table["goes_on"].tolist()
    return join_pieces([(files.read(piece), flag) for piece, flag in enumerate(goes_on)])


def _load_table(path: epath.Path, *, sha256: str) -> np.ndarray:
    """The table of a shard's pieces, whose own checksums it holds: read once, and checked."""
    content = _read_file(path)
    if hashlib.sha256(content).hexdigest() != sha256:
        raise _broken(path, _OTHER_CHECKSUM)
    return np.load(io.BytesIO(content))


def _load_array(path: epath.Path) -> np.ndarray:
    content = _read_file(path)
    try:
        return np.load(io.BytesIO(content))
    except (ValueError, EOFError) as error:
        raise _broken(path, f"is truncated or damaged ({error})") from error


def _read_file(path: epath.Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise _broken(path, "is missing") from None
    except OSError as error:
        raise _broken(path, f"is truncated or damaged ({error})") from error


def _broken(path: epath.Path, what: str) -> UserError:
    return UserError(
        f"{path}: {what}; delete this file if it is there and run `spanbert prepare` again with "
        "the same options: only what is gone is made anew"
    )


def verify_shards(folder: epath.PathLike, manifest: Manifest, *, shards: bool = True) -> None:
    """Compare every file with its checksum; `UserError` names the one missing or altered.

    shards: also the shards, which are as large as the corpus. Without, tables are compared where
    they are opened, and pieces where they are read.
    """
    for path, expected in _checksums(as_path(folder), manifest, shards=shards):
        if not path.exists():
            raise _broken(path, "is missing")
        if sha256_of(path) != expected:
            raise _broken(path, _OTHER_CHECKSUM)


def _checksums(
    folder: epath.Path, manifest: Manifest, *, shards: bool
) -> Iterator[tuple[epath.Path, str]]:
    yield folder / manifest.tokenizer.file, manifest.tokenizer.sha256
    yield folder / UNIGRAM_FILE, manifest.unigram_sha256
    for infos in manifest.splits.values() if shards else ():
        for info in infos:
            for array, sha256 in info.sha256.items():
                yield folder / info.file(array), sha256


def count_unigrams(
    folder: epath.PathLike, shards: tuple[ShardInfo, ...], *, vocab_size: int
) -> Int64[np.ndarray, " vocab"]:
    """How often each id occurs; tokens [2, 0, 2] of 4 ids -> [1, 0, 2, 0]."""
    counts = np.zeros(vocab_size, np.int64)
    for info in shards:
        files = open_shard(folder, info)
        for piece in range(len(files.table)):
            counts += np.bincount(files.read(piece).tokens, minlength=vocab_size)
    return counts


def read_unigram_counts(folder: epath.PathLike, manifest: Manifest) -> Int64[np.ndarray, " vocab"]:
    """How often each id occurs in the train split."""
    path = as_path(folder) / UNIGRAM_FILE
    counts = _load_array(path)
    if counts.shape != (manifest.tokenizer.vocab_size,):
        raise _broken(path, f"holds {counts.shape} counts, not {manifest.tokenizer.vocab_size}")
    return counts
