"""Gathers the documents of one split into shards; what an earlier run completed is kept.

Beside its three arrays every shard has NAME.json, written last: its entry for the manifest, which
documents of the source it covers, and what was dropped among them. A shard that has it is complete.
"""

import dataclasses
import json
from collections import Counter
from dataclasses import dataclass

import numpy as np
from etils import epath

from spanbert_jax.corpus.files import sha256_of, write_file
from spanbert_jax.corpus.shards import Shard, ShardInfo, write_shard


@dataclass(frozen=True)
class CompleteShard:
    """A shard on disk and the documents of the source, [begin, end), that it covers."""

    info: ShardInfo
    begin: int
    end: int
    tokenizer: str
    """Fingerprint."""
    dropped: dict[str, int]

    def write(self, folder: epath.Path) -> None:
        text = json.dumps(dataclasses.asdict(self), indent=2, sort_keys=True) + "\n"
        write_file(folder / f"{self.info.name}.json", text.encode())


def find_complete_shards(
    folder: epath.Path, split: str, *, tokenizer: str
) -> dict[int, CompleteShard]:
    """Whole shards of a split by number: every file there, unaltered, made with `tokenizer`."""
    found = {}
    for path in sorted(folder.glob(f"{split}-*.json")):
        try:
            content = json.loads(path.read_text())
            shard = CompleteShard(**content | {"info": ShardInfo(**content["info"])})
        except (ValueError, TypeError, KeyError):
            continue  # damaged: made anew
        if shard.tokenizer == tokenizer and _is_whole(folder, shard.info):
            found[int(shard.info.name.rpartition("-")[2])] = shard
    return found


def _is_whole(folder: epath.Path, info: ShardInfo) -> bool:
    files = {folder / info.file(array): sha256 for array, sha256 in info.sha256.items()}
    return all(file.exists() and sha256_of(file) == sha256 for file, sha256 in files.items())


class ShardWriter:
    """Writes a split's documents, which come in the order of the source, as shards.

    A shard ends before the document that would bring it over `shard_tokens`; a document is never
    cut. So where shards end depends on the documents alone, and a missing one can be made anew
    between its neighbours.
    """

    def __init__(
        self, folder: epath.Path, split: str, *, shard_tokens: int, dtype: np.dtype, tokenizer: str
    ) -> None:
        self.complete = find_complete_shards(folder, split, tokenizer=tokenizer)
        self.num_found = len(self.complete)
        self.dropped: Counter[str] = Counter()
        """Of documents that are in no shard yet."""
        self._folder = folder
        self._split = split
        self._shard_tokens = shard_tokens
        self._dtype = dtype
        self._tokenizer = tokenizer
        self._covered = sorted((shard.begin, shard.end) for shard in self.complete.values())
        self._covered_at = 0
        self._number = 0
        self._begin = 0
        self._clear()

    def _clear(self) -> None:
        self._tokens: list[np.ndarray] = []
        self._sentence_lengths: list[np.ndarray] = []
        self._document_lengths: list[int] = []
        self._spans: list[np.ndarray] = []
        self._num_tokens = 0

    def covers(self, index: int) -> bool:
        """Whether document `index` lies in a complete shard; asked in ascending order."""
        while self._covered_at < len(self._covered):
            begin, end = self._covered[self._covered_at]
            if index < end:
                return index >= begin
            self._covered_at += 1
        return False

    def add(
        self,
        tokens: np.ndarray,
        *,
        sentence_lengths: np.ndarray,
        index: int,
        dropped: Counter[str],
        spans: np.ndarray,
    ) -> None:
        """Take document `index` of the source; it may be empty. `spans` count in its tokens."""
        self._skip_complete(index)
        if self._num_tokens and self._num_tokens + len(tokens) > self._shard_tokens:
            self._close(end=index)
        self.dropped += dropped
        if len(tokens):
            self._spans.append(spans + self._num_tokens)
            self._tokens.append(tokens)
            self._sentence_lengths.append(sentence_lengths)
            self._document_lengths.append(len(sentence_lengths))
            self._num_tokens += len(tokens)

    def finish(self, num_documents: int) -> list[CompleteShard]:
        """Write the last shard. Returns all shards of the split, in order."""
        self._skip_complete(num_documents)
        if self._num_tokens:
            self._close(end=num_documents)
        return [self.complete[number] for number in sorted(self.complete)]

    def _skip_complete(self, index: int) -> None:
        """Move past the complete shards that lie before document `index`."""
        while True:
            here, after = self.complete.get(self._number), self.complete.get(self._number + 1)
            if here is not None and here.end <= index:
                self._number, self._begin = self._number + 1, here.end
            elif self._num_tokens and after is not None and after.begin <= index:
                self._close(end=after.begin)
            else:
                return

    def _close(self, *, end: int) -> None:
        """Write the gathered documents as the next shard, which covers [begin, end)."""
        shard = Shard(
            np.concatenate(self._tokens).astype(self._dtype, copy=False),
            np.cumsum(np.concatenate(self._sentence_lengths), dtype=np.int64),
            np.cumsum(self._document_lengths, dtype=np.int64),
            np.concatenate(self._spans),
        )
        info = write_shard(self._folder, f"{self._split}-{self._number:05d}", shard)
        dropped = dict(sorted(self.dropped.items()))
        complete = CompleteShard(info, self._begin, end, self._tokenizer, dropped)
        complete.write(self._folder)
        self.complete[self._number] = complete
        self._number, self._begin = self._number + 1, end
        self.dropped.clear()
        self._clear()
