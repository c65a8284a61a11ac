"""The shards of a folder: those that are complete, and the keys of those that are to be made.

In: a folder, the tokenizer of its shards. Out: what either runner starts from and hands back.
"""

from dataclasses import dataclass

from etils import epath

from spanbert_jax.corpus.encoding import ALL_KEYS, KeyRange
from spanbert_jax.corpus.shard_writer import CompleteShard, find_complete_shards
from spanbert_jax.corpus.sharding import ShardPlan, merge_adjacent
from spanbert_jax.corpus.shards import SPLITS


@dataclass(frozen=True)
class ShardSet:
    """Complete shards of each split, by number."""

    complete: dict[str, dict[int, CompleteShard]]

    @property
    def num_complete(self) -> int:
        return sum(map(len, self.complete.values()))

    @property
    def plan(self) -> ShardPlan | None:
        """How keys are dealt out, which every complete shard knows; None before the first."""
        shards = (shard for shards in self.complete.values() for shard in shards.values())
        return next((shard.plan for shard in shards), None)

    @property
    def wanted(self) -> tuple[KeyRange, ...]:
        """Keys of the documents that lie in no complete shard."""
        if self.plan is None:
            return ALL_KEYS
        return merge_adjacent(keys for _, _, keys in self.missing(self.plan))

    def missing(self, plan: ShardPlan) -> list[tuple[str, int, KeyRange]]:
        """Split, number and keys of every shard of a plan that is to be made."""
        return [
            (split, number, keys)
            for split in SPLITS
            for number, keys in enumerate(plan.ranges(split))
            if number not in self.complete[split]
        ]

    def in_order(self) -> dict[str, list[CompleteShard]]:
        """The shards of each split, by number."""
        return {
            split: [shards[number] for number in sorted(shards)]
            for split, shards in self.complete.items()
        }


def find_shards(folder: epath.Path, *, tokenizer: str) -> ShardSet:
    """The complete shards of a folder, made with a tokenizer of that fingerprint."""
    return ShardSet(
        {split: find_complete_shards(folder, split, tokenizer=tokenizer) for split in SPLITS}
    )
