"""Which shard a document lies in, and what a shard holds of the documents that come to it."""

import random
from collections import Counter

import numpy as np
import pytest

from spanbert_jax.corpus.document_table import assemble, concatenate, is_duplicate, table_of, take
from spanbert_jax.corpus.encoding import EncodedDocuments
from spanbert_jax.corpus.held_out import KEY_RANGE
from spanbert_jax.corpus.sharding import ShardPlan, merge_adjacent, plan_shards


def encoded(keys: list[tuple[int, int]], *, spans=()) -> EncodedDocuments:
    """Documents of two sentences, [n n n] [n] for document n; one with the key 0 is left out."""
    number = np.repeat(np.arange(len(keys)), 4)
    kept = np.array([key != (0, 0) for key in keys])
    dropped = [Counter() if it else Counter({"empty documents": 1}) for it in kept]
    dropped[0]["sentences without tokens"] = 2
    return EncodedDocuments(
        number[kept[number]].astype(np.uint16), np.tile([3, 1], kept.sum()), 2 * kept, dropped,
        np.array(spans, np.int64).reshape(-1, 2), kept, np.array(keys, np.uint64),
    )  # fmt: skip


def test_the_example_of_the_docstring():
    assert ShardPlan(0, {"train": 2, "held_out": 0}).ranges("train") == [
        (0, 1 << 63), (1 << 63, 1 << 64),
    ]  # fmt: skip
    assert merge_adjacent([(3, 5), (7, 9), (0, 3)]) == ((0, 5), (7, 9))


def test_ranges_of_all_shards_merge_into_one():
    plan = ShardPlan(12_345, {"train": 7, "held_out": 3})
    ranges = [keys for split in ("train", "held_out") for keys in plan.ranges(split)]
    assert merge_adjacent(ranges) == ((0, KEY_RANGE),)
    del ranges[4]
    assert len(merge_adjacent(ranges)) == 2
    assert merge_adjacent([]) == ()


@pytest.mark.parametrize("limit", [0, 1, 12345, KEY_RANGE // 100, KEY_RANGE - 1])
def test_ranges_and_numbers_of_shards_agree(limit):
    plan = plan_shards(
        {"train": 7_001, "held_out": 3_000}, held_out_limit=limit, shard_tokens=1_000
    )
    assert plan.num_shards == {"train": 8, "held_out": 3 if limit else 0}
    ranges = [("held_out", *it) for it in enumerate(plan.ranges("held_out"))]
    ranges += [("train", *it) for it in enumerate(plan.ranges("train"))]
    assert ranges[0][2][0] == 0 and ranges[-1][2][1] == KEY_RANGE
    for split, number, (begin, end) in ranges:
        for key in {begin, end - 1} if begin < end else ():
            assert plan.shard_of(key) == (split, number)


def test_shards_of_many_documents_are_about_equal():
    plan = plan_shards({"train": 10_000, "held_out": 0}, held_out_limit=0, shard_tokens=1_000)
    source = random.Random(0)
    sizes = Counter(plan.shard_of(source.randrange(KEY_RANGE)) for _ in range(10_000))
    # Of 1,000 each: standard deviation 30.
    assert len(sizes) == 10 and max(sizes.values()) - min(sizes.values()) < 240


def test_of_equal_texts_the_first_place_stays():
    table, _ = table_of(encoded([(8, 1), (5, 1), (5, 1), (5, 2)]), [1, 3, 0, 9])
    shard, dropped = assemble(table, drop_duplicates=True)
    assert shard.tokens.tolist() == [2] * 4 + [3] * 4 + [0] * 4
    assert shard.sentence_ends.tolist() == [3, 4, 7, 8, 11, 12]
    assert shard.document_ends.tolist() == [2, 4, 6]
    assert dropped == {"exact duplicates": 1, "sentences without tokens": 2}
    shard, dropped = assemble(table, drop_duplicates=False)
    assert shard.tokens.tolist() == [2] * 4 + [1] * 4 + [3] * 4 + [0] * 4
    assert dropped == {"sentences without tokens": 2}


def test_sorted_duplicates_are_those_behind_the_first():
    table, _ = table_of(encoded([(5, 1), (5, 1), (8, 1)]), [0, 3, 1])
    assert is_duplicate(table.rows).tolist() == [False, True, False]
    assert is_duplicate(table.rows[:0]).tolist() == []


def test_a_shard_does_not_depend_on_the_order_in_which_documents_come():
    keys = [(key, key) for key in (7, 3, 9, 4, 1)]
    whole, _ = table_of(encoded(keys, spans=[(0, 2), (1, 3), (11, 12), (17, 18)]), range(5))
    expected, dropped = assemble(whole, drop_duplicates=True)
    assert expected.spans.tolist() == [[1, 2], [12, 14], [13, 15], [19, 20]]
    for seed in range(5):
        order = random.Random(seed).sample(range(5), 5)
        parts = [take(whole, np.array([number])) for number in order]
        shard, counts = assemble(concatenate(parts), drop_duplicates=True)
        for found, wanted in zip(shard, expected, strict=True):
            np.testing.assert_array_equal(found, wanted)
        assert counts == dropped


def test_documents_that_are_left_out_are_counted_beside_the_table():
    table, others = table_of(encoded([(8, 1), (0, 0), (5, 1)], spans=[(4, 6)]), [0, 1, 2])
    assert table.rows["place"].tolist() == [0, 2]
    assert table.spans.tolist() == [[0, 2]] and table.rows["num_spans"].tolist() == [0, 1]
    assert others == {"empty documents": 1}
