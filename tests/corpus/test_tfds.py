"""TensorFlow Datasets as a source: a small dataset made here, read through the real library."""

import json
import os
import subprocess
import sys
import textwrap

import pytest

# In a process of its own: TensorFlow takes seconds to import, and the tests of one builder share
# one process. Each case prints what it got.
PROGRAM = textwrap.dedent(
    """
    import json, sys
    import numpy as np
    import tensorflow_datasets as tfds
    from spanbert_jax.corpus.documents import Reading
    from spanbert_jax.corpus.sources import find_source
    from spanbert_jax.errors import UserError

    class TinyStories(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")
        BUILDER_CONFIGS = [tfds.core.BuilderConfig(name="plain")]

        def _info(self):
            text, number = tfds.features.Text(), tfds.features.Scalar(dtype=np.int64)
            features = {"text": text, "title": text, "n": number}
            return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features))

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples(20), "test": self._generate_examples(3)}

        def _generate_examples(self, count):
            for n in range(count):
                yield n, {"text": f"Story {n}.\\nThe end – really.", "title": f"No {n}", "n": n}

    results = []
    for spec in json.loads(sys.argv[1]):
        reading = Reading()
        try:
            source = find_source(spec)
            inputs = source.inputs
            documents = [list(document) for document in source.read(reading)]
            share = reading.size_done / inputs[0].size
            results.append({"documents": documents, "inputs": inputs, "share": share})
        except UserError as error:
            results.append({"error": str(error)})
    print(json.dumps(results))
    """
)
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
    program = tmp_path_factory.mktemp("program") / "tiny_stories.py"
    program.write_text(PROGRAM)
    data = tmp_path_factory.mktemp("tfds")
    done = subprocess.run(
        [sys.executable, str(program), json.dumps(SPECS)],
        capture_output=True, text=True, env=os.environ | {"TFDS_DATA_DIR": str(data)},
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
