"""TensorFlow Datasets as tables: small datasets made here, read through the real library."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PLACES = (
    "tfds:tiny_reviews@train",
    "tfds:tiny_reviews@train[:1]",
    "tfds:tiny_reviews#train",
    "tfds:tiny_reviews@dev",
    "tfds:tiny_review@train",
    "tfds:tiny_topics@train",
)


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> dict:
    # In a process of its own: TensorFlow takes seconds to import and warns as it does.
    data = tmp_path_factory.mktemp("tfds")
    done = subprocess.run(
        [sys.executable, "-c", "import tiny_reviews; tiny_reviews.read_all()", json.dumps(PLACES)],
        cwd=Path(__file__).parent, env=os.environ | {"TFDS_DATA_DIR": str(data)},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    return found | dict(zip(PLACES, found["places"], strict=True))


def test_every_example_is_a_record_whose_inner_fields_are_columns(results):
    records = sorted(
        results["tfds:tiny_reviews@train"]["records"], key=lambda record: str(record[1])
    )
    assert [record[1] for record in records] == [
        {"data/review_body": "Bad – really.", "data/star_rating": 1, "tags": []},
        {"data/review_body": "Good.", "data/star_rating": 5, "tags": ["a"]},
    ]
    places = {record[0] for record in records}
    assert places == {f"tiny_reviews/1.0.0@train:{number}" for number in range(2)}


def test_class_labels_inside_sequences_are_names_too(results):
    ((_, values),) = results["tfds:tiny_topics@train"]["records"]
    assert values == {
        "text": "Text.", "topics": ["war", "art"], "spans/start": [3, 3],
        "spans/topic": ["art", "art"], "words": [["A", "b"], ["c"]],
    }  # fmt: skip


def test_a_split_can_be_cut_and_stand_behind_either_sign(results):
    assert len(results["tfds:tiny_reviews@train[:1]"]["records"]) == 1
    assert results["tfds:tiny_reviews#train"] == results["tfds:tiny_reviews@train"]


@pytest.mark.parametrize(
    "place, message",
    [
        ("tfds:tiny_reviews@dev", "tfds:tiny_reviews@dev: has no split 'dev', only train"),
        ("tfds:tiny_review@train", "tfds:tiny_review@train: TensorFlow Datasets knows no"),
    ],
)
def test_mistakes_are_named(results, place, message):
    assert results[place]["error"].startswith(message)


def test_stars_are_labels(results):
    assert sorted(example[1:4] for example in results["stars"]) == [
        ["Bad – really.", None, "1"], ["Good.", None, "5"],
    ]  # fmt: skip


@pytest.mark.parametrize(
    "split, example",
    [
        ("sst2@validation", ["0", "Text.", None, "1", ""]),
        ("sst2@test", ["0", "Text.", None, None, ""]),
        ("stsb@validation", ["0", "Text.", "Text.", 1.0, ""]),
        ("stsb@test", ["0", "Text.", "Text.", None, ""]),
        ("mnli@validation_matched", ["matched-0", "Text.", "Text.", "neutral", "matched"]),
        ("mnli@validation_mismatched", ["mismatched-0", "Text.", "Text.", None, "mismatched"]),
    ],
)
def test_glue_has_its_own_labels_there_and_minus_1_where_none_is_known(results, split, example):
    assert len(results[split]) == 2 and example in results[split]
