"""Writes the shards of prepare; what an earlier run completed is known again.

Beside its arrays every shard has NAME.json, written last: its entry for the manifest, how keys were
dealt out over the shards, and what was dropped of its documents. A shard that has it is complete.
"""

import dataclasses
import json
from dataclasses import dataclass

from etils import epath

from spanbert_jax.corpus.document_table import DocumentTable, assemble
from spanbert_jax.corpus.files import sha256_of, write_file
from spanbert_jax.corpus.sharding import ShardPlan
from spanbert_jax.corpus.shards import ShardInfo, write_shard


@dataclass(frozen=True)
class CompleteShard:
    """A shard on disk; or the knowledge that no document belongs to it."""

    name: str
    info: ShardInfo | None
    """None for an empty one, which has no files."""
    tokenizer: str
    """Fingerprint."""
    plan: ShardPlan
    dropped: dict[str, int]

    @property
    def number(self) -> int:
        return int(self.name.rpartition("-")[2])

    def write(self, folder: epath.Path) -> None:
        text = json.dumps(dataclasses.asdict(self) | {"plan": self.plan._asdict()}, indent=2)
        write_file(folder / f"{self.name}.json", f"{text}\n".encode())


def write_complete_shard(
    folder: epath.Path, table: DocumentTable, *, split: str, number: int, plan: ShardPlan,
    tokenizer: str, drop_duplicates: bool,
) -> CompleteShard:  # fmt: skip
    """Write the documents whose keys lie in one shard."""
    shard, dropped = assemble(table, drop_duplicates=drop_duplicates)
    name = f"{split}-{number:05d}"
    info = write_shard(folder, name, shard) if len(shard.tokens) else None
    complete = CompleteShard(name, info, tokenizer, plan, dropped)
    complete.write(folder)
    return complete


def read_complete_shards(
    folder: epath.Path, split: str, *, tokenizer: str
) -> dict[int, CompleteShard]:
    """Shards of a split by number, made with `tokenizer`; their arrays are not looked at."""
    found = {}
    for path in sorted(folder.glob(f"{split}-*.json")):
        try:
            content = json.loads(path.read_text())
            info = content["info"] and ShardInfo(**content["info"])
            plan = ShardPlan(**content["plan"])
            shard = CompleteShard(**content | {"info": info, "plan": plan})
        except (ValueError, TypeError, KeyError):
            continue  # damaged: made anew
        if shard.tokenizer == tokenizer:
            found[shard.number] = shard
    return found


def find_complete_shards(
    folder: epath.Path, split: str, *, tokenizer: str
) -> dict[int, CompleteShard]:
    """Whole shards of a split by number: every file there, unaltered, made with `tokenizer`."""
    found = read_complete_shards(folder, split, tokenizer=tokenizer)
    return {number: shard for number, shard in found.items() if _is_whole(folder, shard.info)}


def _is_whole(folder: epath.Path, info: ShardInfo | None) -> bool:
    if info is None:
        return True
    files = {folder / info.file(array): sha256 for array, sha256 in info.sha256.items()}
    return all(file.exists() and sha256_of(file) == sha256 for file, sha256 in files.items())
