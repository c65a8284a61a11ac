"""A dataset that TensorFlow Datasets prepares with Beam, and a program that makes shards of it.

A module of its own, as TensorFlow Datasets wants it. `make_shards` takes a folder and prints how
the shards of both runners compare.
"""

import sys
from pathlib import Path

import tensorflow_datasets as tfds

from spanbert_jax.config import PrepareConfig
from spanbert_jax.corpus.prepare import prepare
from spanbert_jax.corpus.progress import SilentProgress


class BeamStories(tfds.core.GeneratorBasedBuilder):
    """Three hundred stories in several files."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = tfds.features.FeaturesDict({"text": tfds.features.Text()})
        return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        beam = tfds.core.lazy_imports.apache_beam
        return beam.Create(range(300)) | beam.Map(
            lambda n: (n, {"text": f"Story {n} of the river. It ends where story {n * 7} began."})
        )


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def make_shards(folder: Path) -> None:
    shards = {}
    for runner, options in (("beam", "--runner=DirectRunner"), ("local", "")):
        config = PrepareConfig(
            source=("tfds:beam_stories",), out=str(folder / runner), vocab_size=100,
            sentencepiece_type="bpe", shard_tokens=3_000, runner=runner, beam_options=options,
            num_workers=1,
        )  # fmt: skip
        manifest = prepare(config, progress=SilentProgress())
        shards[runner] = files(folder / runner)
    print(shards["beam"] == shards["local"], manifest.counts["documents"], len(shards["beam"]))


if __name__ == "__main__":
    make_shards(Path(sys.argv[1]))
