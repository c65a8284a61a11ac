"""Datasets for test_tfds_records.py, and a program that reads tables and examples made of them.

A module of its own, as TensorFlow Datasets wants it. `read_all` takes a JSON list of places and
prints a JSON list of what each gave: its records, or the error; and examples of the tasks.
"""

import json
import sys

import numpy as np
import tensorflow_datasets as tfds

from spanbert_jax.config.tasks import GlueConfig, TextClassificationConfig
from spanbert_jax.errors import UserError
from spanbert_jax.tasks.records import read_table
from spanbert_jax.tasks.task import load_task

Scalar, Text = tfds.features.Scalar, tfds.features.Text


class TinyReviews(tfds.core.GeneratorBasedBuilder):
    """Two reviews with stars inside a field, as amazon_us_reviews has them."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        data = {"review_body": Text(), "star_rating": Scalar(np.int32)}
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(
                {"data": data, "tags": tfds.features.Sequence(Text())}
            ),
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for stars, text in ((1, "Bad – really."), (5, "Good.")):
            data = {"review_body": text, "star_rating": stars}
            yield stars, {"data": data, "tags": ["a", "b"][: stars // 3]}


class TinyTopics(tfds.core.GeneratorBasedBuilder):
    """Several class labels a text, and fields in a sequence, as squad has its answers."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        topic = tfds.features.ClassLabel(names=["art", "news", "war"])
        spans = {"start": Scalar(np.int32), "topic": topic}
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(
                {
                    "text": Text(),
                    "topics": tfds.features.Sequence(topic),
                    "spans": tfds.features.Sequence(spans),
                    "words": tfds.features.Sequence(tfds.features.Sequence(Text())),
                }
            ),
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        span = {"start": 3, "topic": "art"}
        words = [["A", "b"], ["c"]]
        topics = ["war", "art"]
        yield 0, {"text": "Text.", "topics": topics, "spans": [span, span], "words": words}


class TinyGlue(tfds.core.GeneratorBasedBuilder):
    """SST-2, STS-B and both parts of MNLI in the form that glue/* has there; -1 is not known."""

    VERSION = tfds.core.Version("1.0.0")
    LABELS = {
        "sst2": tfds.features.ClassLabel(names=["negative", "positive"]),
        "stsb": Scalar(np.float32),
        "mnli": tfds.features.ClassLabel(names=["entailment", "neutral", "contradiction"]),
    }
    TEXTS = {
        "sst2": ("sentence",), "stsb": ("sentence1", "sentence2"), "mnli": ("premise", "hypothesis")
    }  # fmt: skip
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=name) for name in TEXTS]

    def _info(self):
        name = self.builder_config.name
        features = {column: Text() for column in self.TEXTS[name]}
        features |= {"label": self.LABELS[name], "idx": Scalar(np.int32)}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        known, unknown = self._generate_examples(1), self._generate_examples(-1)
        if self.builder_config.name != "mnli":
            return {"validation": known, "test": unknown}
        return {"validation_matched": known, "validation_mismatched": unknown}

    def _generate_examples(self, label):
        texts = dict.fromkeys(self.TEXTS[self.builder_config.name], "Text.")
        for number in range(2):
            yield number, texts | {"label": label, "idx": number}


def read(place: str) -> dict[str, object]:
    try:
        return {"records": read_table(place).records}
    except UserError as error:
        return {"error": str(error)}


def examples(config: object, place: str) -> list[list[object]]:
    read = load_task(config).read(place, training=False)
    return [[each.id, each.text, each.text_pair, each.answer, each.part] for each in read.examples]


def read_all() -> None:
    stars = TextClassificationConfig(
        text_column="data/review_body", label_column="data/star_rating"
    )
    print(
        json.dumps(
            {
                "places": [read(place) for place in json.loads(sys.argv[1])],
                "stars": examples(stars, "tfds:tiny_reviews@train"),
                **{
                    f"{task}@{split}": examples(
                        GlueConfig(glue_task=task), f"tfds:tiny_glue/{task}@{split}"
                    )
                    for task, split in (
                        ("sst2", "validation"), ("sst2", "test"), ("stsb", "validation"),
                        ("stsb", "test"), ("mnli", "validation_matched"),
                        ("mnli", "validation_mismatched"),
                    )
                },
            }
        )
    )  # fmt: skip
