"""A dataset for test_tfds.py, and a program that reads sources made of it.

A module of its own, as TensorFlow Datasets wants it. `read_all` takes a JSON list of specifications
and prints a JSON list of what each gave: documents, inputs and progress, or the error.
"""

import json
import sys

import numpy as np
import tensorflow_datasets as tfds

from spanbert_jax.corpus.documents import Reading, read_source
from spanbert_jax.corpus.sources import find_source
from spanbert_jax.errors import UserError


class TinyStories(tfds.core.GeneratorBasedBuilder):
    """Twenty stories to train on and three to test."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name="plain", description="Stories")]

    def _info(self):
        text, number = tfds.features.Text(), tfds.features.Scalar(dtype=np.int64)
        features = tfds.features.FeaturesDict({"text": text, "title": text, "n": number})
        return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(20), "test": self._generate_examples(3)}

    def _generate_examples(self, count):
        for n in range(count):
            yield n, {"text": f"Story {n}.\nThe end – really.", "title": f"No {n}", "n": n}


def read(spec: str) -> dict[str, object]:
    reading = Reading()
    try:
        source = find_source(spec)
        inputs = source.inputs
        documents = [list(document) for document in read_source(source, reading)]
    except UserError as error:
        return {"error": str(error)}
    share = reading.size_done / inputs[0].size
    return {"documents": documents, "inputs": inputs, "share": share}


def read_all() -> None:
    print(json.dumps([read(spec) for spec in json.loads(sys.argv[1])]))
