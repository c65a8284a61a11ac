"""Which shard a document belongs to: a rule on its key, once the tokens of a split are counted."""

import itertools
from collections.abc import Iterable
from typing import NamedTuple

from spanbert_jax.corpus.encoding import KeyRange
from spanbert_jax.corpus.held_out import KEY_RANGE


class ShardPlan(NamedTuple):
    """How keys are dealt out. The shards of a split have equal parts of its keys."""

    held_out_limit: int
    """Documents with a key below it are held out."""
    num_shards: dict[str, int]
    """Of each split."""

    def ranges(self, split: str) -> list[KeyRange]:
        """Keys of every shard of a split.

        ShardPlan(0, {"train": 2, "held_out": 0}).ranges("train") -> [(0, 2^63), (2^63, 2^64)]
        """
        number = self.num_shards[split]
        begin, end = split_range(split, held_out_limit=self.held_out_limit)
        bounds = [begin - (-index * (end - begin) // max(1, number)) for index in range(number + 1)]
        return list(itertools.pairwise(bounds))

    def shard_of(self, key: int) -> tuple[str, int]:
        """Split and number of the shard that a key belongs to: the range that holds it."""
        split = "held_out" if key < self.held_out_limit else "train"
        begin, end = split_range(split, held_out_limit=self.held_out_limit)
        return split, (key - begin) * self.num_shards[split] // (end - begin)


def split_range(split: str, *, held_out_limit: int) -> KeyRange:
    return (0, held_out_limit) if split == "held_out" else (held_out_limit, KEY_RANGE)


def merge_adjacent(ranges: Iterable[KeyRange]) -> tuple[KeyRange, ...]:
    """The same keys in as few ranges as can be; every document is compared with each of them.

    merge_adjacent([(3, 5), (7, 9), (0, 3)]) -> ((0, 5), (7, 9))
    """
    merged: list[KeyRange] = []
    for begin, end in sorted(ranges):
        if merged and merged[-1][1] == begin:
            merged[-1] = (merged[-1][0], end)
        else:
            merged.append((begin, end))
    return tuple(merged)


def plan_shards(num_tokens: dict[str, int], *, held_out_limit: int, shard_tokens: int) -> ShardPlan:
    """As many shards as hold the tokens of each split; about `shard_tokens` fall into each.

    Even a split without tokens has a shard, of which only the counts of what was dropped are kept;
    one that has no keys has none.
    """
    numbers = {split: max(1, -(-tokens // shard_tokens)) for split, tokens in num_tokens.items()}
    if not held_out_limit:
        numbers["held_out"] = 0
    return ShardPlan(held_out_limit, numbers)
