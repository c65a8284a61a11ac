"""Shards: arrays of token ids with document and sentence boundaries, and their manifest.

In: token arrays from prepare.py. Out: the folder that the data layer reads, local or gs://. A file
is written under a temporary name and renamed, so a name that exists is complete.
"""

import dataclasses
import io
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from etils import epath
from jaxtyping import Int64, Integer

from spanbert_jax.corpus.files import as_path, sha256_of, write_file
from spanbert_jax.errors import UserError

FORMAT_VERSION = 1
MANIFEST_FILE = "manifest.json"
UNIGRAM_FILE = "unigram.npy"
SPLITS = ("train", "held_out")
ARRAYS = ("tokens", "sentences", "documents")


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


@dataclass(frozen=True)
class ShardInfo:
    """What the manifest knows of one shard."""

    name: str
    """Its files are NAME.tokens.npy, NAME.sentences.npy and NAME.documents.npy."""
    num_tokens: int
    num_sentences: int
    num_documents: int
    sha256: Mapping[str, str]
    """Checksum of each file, by array: tokens, sentences, documents."""

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
    format_version: int = FORMAT_VERSION

    @property
    def totals(self) -> dict[str, dict[str, int]]:
        """Tokens, sentences and documents of every split."""
        names = ("num_tokens", "num_sentences", "num_documents")
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
    """Write the three arrays of a shard. Returns its entry for the manifest."""
    arrays = dict(zip(ARRAYS, shard, strict=True))
    sha256 = {
        array: write_array(epath.Path(folder) / f"{name}.{array}.npy", values)
        for array, values in arrays.items()
    }
    return ShardInfo(
        name=name,
        num_tokens=len(shard.tokens),
        num_sentences=len(shard.sentence_ends),
        num_documents=len(shard.document_ends),
        sha256=sha256,
    )


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
        format_version=content["format_version"],
    )


def load_shard(folder: epath.PathLike, info: ShardInfo) -> Shard:
    """Open a shard: memory-mapped where the folder is local, read into memory otherwise.

    Raises `UserError` naming the file that is missing, truncated or of another length than the
    manifest says.
    """
    expected = (info.num_tokens, info.num_sentences, info.num_documents)
    arrays = []
    for name, length in zip(ARRAYS, expected, strict=True):
        path = as_path(folder) / info.file(name)
        array = _load_array(path)
        if array.shape != (length,):
            raise _broken(path, f"holds {array.shape} values instead of {length}")
        arrays.append(array)
    return Shard(*arrays)


def _load_array(path: epath.Path) -> np.ndarray:
    try:
        if "://" in os.fspath(path):
            return np.load(io.BytesIO(path.read_bytes()))
        return np.load(os.fspath(path), mmap_mode="r")
    except FileNotFoundError:
        raise _broken(path, "is missing") from None
    except (OSError, ValueError, EOFError) as error:
        raise _broken(path, f"is truncated or damaged ({error})") from error


def _broken(path: epath.Path, what: str) -> UserError:
    return UserError(
        f"{path}: {what}; delete this file if it is there and run `spanbert prepare` again with "
        "the same options: only what is gone is made anew"
    )


def verify_shards(folder: epath.PathLike, manifest: Manifest) -> None:
    """Compare every file with its checksum; `UserError` names the one missing or altered."""
    for path, expected in _checksums(as_path(folder), manifest):
        if not path.exists():
            raise _broken(path, "is missing")
        if sha256_of(path) != expected:
            raise _broken(path, "is truncated or altered (its checksum is not the manifest's)")


def _checksums(folder: epath.Path, manifest: Manifest) -> Iterator[tuple[epath.Path, str]]:
    yield folder / manifest.tokenizer.file, manifest.tokenizer.sha256
    yield folder / UNIGRAM_FILE, manifest.unigram_sha256
    for shards in manifest.splits.values():
        for shard in shards:
            for array, sha256 in shard.sha256.items():
                yield folder / shard.file(array), sha256


def count_unigrams(
    folder: epath.PathLike, shards: tuple[ShardInfo, ...], *, vocab_size: int
) -> Int64[np.ndarray, " vocab"]:
    """How often each id occurs; tokens [2, 0, 2] of 4 ids -> [1, 0, 2, 0]."""
    counts = np.zeros(vocab_size, np.int64)
    for info in shards:
        tokens = load_shard(folder, info).tokens
        for start in range(0, len(tokens), 1 << 22):
            counts += np.bincount(tokens[start : start + (1 << 22)], minlength=vocab_size)
    return counts


def read_unigram_counts(folder: epath.PathLike, manifest: Manifest) -> Int64[np.ndarray, " vocab"]:
    """How often each id occurs in the train split."""
    path = as_path(folder) / UNIGRAM_FILE
    counts = np.array(_load_array(path))
    if counts.shape != (manifest.tokenizer.vocab_size,):
        raise _broken(path, f"holds {counts.shape} counts, not {manifest.tokenizer.vocab_size}")
    return counts
