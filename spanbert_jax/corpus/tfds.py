"""TensorFlow Datasets: every example is a document. TensorFlow is imported only here, when read."""

import itertools
import os
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from spanbert_jax.corpus.documents import Input, Part, RawDocument, Reading
from spanbert_jax.errors import UserError


def default_data_dir() -> str | None:
    """The folder that TFDS_DATA_DIR names."""
    return os.environ.get("TFDS_DATA_DIR")


@dataclass(frozen=True)
class TfdsSource:
    """One split of a dataset, in its stored order.

    Data that is prepared already (in $TFDS_DATA_DIR or ~/tensorflow_datasets) is read as it is;
    else it is downloaded and prepared first.
    """

    spec: str
    name: str
    """name, name/config or name/config:version."""
    split: str = "train"
    field: str = "text"
    data_dir: str | None = None
    """Folder of prepared datasets; None takes the library's own."""
    beam_options: str = ""
    """Of Apache Beam, for datasets that are prepared by it."""

    def __getstate__(self) -> dict[str, Any]:
        # The builder is found again on another machine.
        return {name: value for name, value in self.__dict__.items() if name != "_builder"}

    @cached_property
    def _builder(self) -> Any:
        import tensorflow_datasets as tfds

        try:
            return tfds.builder(self.name, data_dir=self.data_dir)
        except (tfds.core.DatasetNotFoundError, ValueError, OSError) as error:
            first_line = str(error).partition("\n")[0]
            raise UserError(
                f"--source {self.spec}: TensorFlow Datasets knows no {self.name!r} ({first_line}); "
                "check the name, or set TFDS_DATA_DIR to the folder that holds it"
            ) from error

    @cached_property
    def inputs(self) -> list[Input]:
        """The split and its size; known once the data is prepared."""
        self._prepare()
        self._check_split()
        self._check_field()
        # A cut split has no size of its own.
        whole = self._builder.info.splits[self.split.partition("[")[0]]
        share = self._split_info.num_examples / max(1, whole.num_examples)
        size = max(1, round(whole.num_bytes * share))
        return [Input(f"{self._builder.info.full_name}@{self.split}", size)]

    @property
    def _split_info(self) -> Any:
        return self._builder.info.splits[self.split]

    def _prepare(self) -> None:
        builder = self._builder
        try:
            builder.download_and_prepare(download_config=self._download_config())
        except Exception as error:  # network, disk, checksums: each library raises its own
            raise UserError(
                f"--source {self.spec}: could not be downloaded and prepared ({error}); prepare it "
                f"with `tfds build {self.name}` and set TFDS_DATA_DIR to the folder that holds it"
            ) from error

    @property
    def is_prepared(self) -> bool:
        """Whether it can be read without being downloaded."""
        return bool(self._builder.is_prepared())

    def _download_config(self) -> Any:
        if not self.beam_options:
            return None
        import tensorflow_datasets as tfds
        from apache_beam.options.pipeline_options import PipelineOptions

        options = PipelineOptions(shlex.split(self.beam_options))
        return tfds.download.DownloadConfig(beam_options=options)

    def _check_split(self) -> None:
        splits = self._builder.info.splits
        # A split may be cut, as in train[:10%]; its name comes before the bracket.
        if self.split.partition("[")[0] not in splits:
            raise UserError(
                f"--source {self.spec}: has no split {self.split!r}, only {', '.join(splits)}; "
                "name one of them after @, as in tfds:wikipedia/20230601.en@train"
            )

    def _check_field(self) -> None:
        features = self._builder.info.features
        if self.field not in features:
            raise UserError(
                f"--source {self.spec}: has no field {self.field!r}, only {', '.join(features)}; "
                "name the one that holds the text after #, as in tfds:imdb_reviews#text"
            )

    @property
    def parts(self) -> list[Part]:
        """A part for each file that the dataset is stored in; one for a cut split."""
        info = self._split_info
        if "[" in self.split:
            return [Part(0, 0, info.num_examples)]
        ends = list(itertools.accumulate(info.shard_lengths))
        return [Part(0, begin, end) for begin, end in itertools.pairwise([0, *ends]) if begin < end]

    def read_part(self, part: Part, reading: Reading) -> Iterator[RawDocument]:
        (source,) = self.inputs
        step = source.size / max(1, self._split_info.num_examples)
        for where, example in self._examples(part):
            reading.size_done += step
            yield RawDocument(self._text_of(example[self.field], where), where, "plain")

    def records(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Where each example is, and all of its fields as JSON could hold them.

        Text is a string, a class label its name, or None where it is not known (-1); fields inside
        fields are named as data/star_rating.
        """
        self._prepare()
        self._check_split()
        labels = _class_labels(self._builder.info.features)
        for part in self.parts:
            for where, example in self._examples(part):
                yield (
                    where,
                    {
                        name: _label(value, labels[name])
                        if name in labels
                        else _plain(value, where)
                        for name, value in _flat(example).items()
                    },
                )

    def _examples(self, part: Part) -> Iterator[tuple[str, dict[str, Any]]]:
        import tensorflow_datasets as tfds

        # One file after the other: a mixed order would change the shards from run to run.
        order = tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False)
        whole = "[" in self.split
        split = self.split if whole else f"{self.split}[{part.first}:{part.stop}]"
        examples = self._builder.as_dataset(split=split, shuffle_files=False, read_config=order)
        name = f"{self._builder.info.full_name}@{self.split}"
        for number, example in enumerate(tfds.as_numpy(examples), part.first):
            yield f"{name}:{number}", example

    def _text_of(self, value: Any, where: str) -> str:
        if not isinstance(value, bytes):
            raise UserError(
                f"{where}: field {self.field!r} must be text, found {type(value).__name__}; "
                "name another field after #"
            )
        return _decoded(value, where)


def _decoded(value: bytes, where: str) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{where}: text must be UTF-8 ({error}); choose a dataset or field of UTF-8 text"
        ) from error


def _class_labels(feature: Any, path: str = "") -> dict[str, Any]:
    """The class labels of a dataset, by the name of their field, those inside sequences too."""
    import tensorflow_datasets as tfds

    while isinstance(feature, tfds.features.Sequence):
        feature = feature.feature
    if isinstance(feature, tfds.features.ClassLabel):
        return {path: feature}
    labels: dict[str, Any] = {}
    if isinstance(feature, tfds.features.FeaturesDict):
        for name, inner in feature.items():
            labels |= _class_labels(inner, f"{path}/{name}" if path else name)
    return labels


def _flat(fields: Any, path: str = "") -> dict[str, Any]:
    """{"data": {"stars": 4}, "n": 1} -> {"data/stars": 4, "n": 1}"""
    flat: dict[str, Any] = {}
    for name in fields:
        value = fields[name]
        nested = hasattr(value, "keys")
        flat |= _flat(value, f"{path}{name}/") if nested else {f"{path}{name}": value}
    return flat


def _label(value: Any, feature: Any) -> Any:
    value = _listed(value)
    if isinstance(value, list):
        return [_label(each, feature) for each in value]
    return feature.int2str(int(value)) if value >= 0 else None


def _plain(value: Any, where: str) -> Any:
    """A value of numpy or TensorFlow as Python has it."""
    if isinstance(value, bytes):
        return _decoded(value, where)
    value = _listed(value)
    return [_plain(item, where) for item in value] if isinstance(value, list) else value


def _listed(value: Any) -> Any:
    """An array, or rows of any lengths, as lists."""
    for method in ("tolist", "to_list"):
        if hasattr(value, method):
            return getattr(value, method)()
    return value
