"""TensorFlow Datasets as a source: a small dataset made here, read through the real library."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SPECS = (
    "tfds:tiny_stories/plain",
    "tfds:tiny_stories/plain@test#title",
    "tfds:tiny_stories/plain@test[:2]",
    "tfds:tiny_stories/plain@dev",
    "tfds:tiny_stories/plain#body",
    "tfds:tiny_stories/plain#n",
    "tfds:tiny_storys",
)


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> dict[str, dict]:
    # In a process of its own: TensorFlow takes seconds to import and warns as it does.
    data = tmp_path_factory.mktemp("tfds")
    done = subprocess.run(
        [sys.executable, "-c", "import tiny_stories; tiny_stories.read_all()", json.dumps(SPECS)],
        cwd=Path(__file__).parent, env=os.environ | {"TFDS_DATA_DIR": str(data)},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert any(data.iterdir())
    return dict(zip(SPECS, json.loads(done.stdout.splitlines()[-1]), strict=True))


def test_every_example_is_a_document(results):
    found = results["tfds:tiny_stories/plain"]
    texts = [document[0] for document in found["documents"]]
    assert sorted(texts) == sorted(f"Story {n}.\nThe end – really." for n in range(20))
    assert found["inputs"][0][0] == "tiny_stories/plain/1.0.0@train"
    assert found["documents"][3][1] == "tiny_stories/plain/1.0.0@train:3"
    assert found["share"] == pytest.approx(1.0)


def test_split_and_field_can_be_named(results):
    found = results["tfds:tiny_stories/plain@test#title"]["documents"]
    assert sorted(document[0] for document in found) == ["No 0", "No 1", "No 2"]


def test_a_split_can_be_cut(results):
    assert len(results["tfds:tiny_stories/plain@test[:2]"]["documents"]) == 2


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("tfds:tiny_stories/plain@dev", "has no split 'dev', only"),
        ("tfds:tiny_stories/plain#body", "has no field 'body', only"),
        ("tfds:tiny_stories/plain#n", "field 'n' must be text, found int64"),
        ("tfds:tiny_storys", "TensorFlow Datasets knows no 'tiny_storys'"),
    ],
)
def test_mistakes_are_named(results, spec, message):
    assert message in results[spec]["error"]
