"""Configs as they are typed: what a command is asked about stands by itself, without a flag."""

import dataclasses

import tyro

from spanbert_jax.config.evaluate import EvaluateConfig
from spanbert_jax.config.inspect import InspectConfig
from spanbert_jax.config.predict import (
    AnswerConfig,
    ClassifyConfig,
    FillConfig,
    RelationOfConfig,
    TagConfig,
)
from spanbert_jax.config.weights import ExportConfig, ImportConfig


@dataclasses.dataclass(frozen=True)
class FillArguments(FillConfig):
    """`FillConfig` as typed: the texts need no flag."""

    texts: tyro.conf.Positional[tuple[str, ...]] = ()
    """Sentences with [MASK] tokens; none reads one a line from standard input."""


@dataclasses.dataclass(frozen=True)
class InspectArguments(InspectConfig):
    """`InspectConfig` as typed: the folder needs no flag."""

    shards: tyro.conf.Positional[str] = ""
    """Folder written by `spanbert prepare` (local or gs://)."""


@dataclasses.dataclass(frozen=True)
class ImportArguments(ImportConfig):
    """`ImportConfig` as typed: the source needs no flag."""

    source: tyro.conf.Positional[str] = ""
    """Folder or file of the weights (local or gs://): of Hugging Face, fairseq or TensorFlow."""


@dataclasses.dataclass(frozen=True)
class ExportArguments(ExportConfig):
    """`ExportConfig` as typed: the checkpoint needs no flag."""

    checkpoint: tyro.conf.Positional[str] = ""
    """Folder of a run (its --workdir; local or gs://)."""


@dataclasses.dataclass(frozen=True)
class EvaluateArguments(EvaluateConfig):
    """`EvaluateConfig` as typed: the checkpoint needs no flag."""

    checkpoint: tyro.conf.Positional[str] = ""
    """Folder of a fine-tuning run (its --workdir), or of a grid, whose best run it is; local or
    gs://."""


@dataclasses.dataclass(frozen=True)
class AnswerArguments(AnswerConfig):
    """`AnswerConfig` as typed: the question needs no flag."""

    question: tyro.conf.Positional[str] = ""
    """What is asked; none reads JSON lines, {"question": "...", "context": "..."}."""


@dataclasses.dataclass(frozen=True)
class ClassifyArguments(ClassifyConfig):
    """`ClassifyConfig` as typed: the texts need no flag."""

    text: tyro.conf.Positional[str] = ""
    """What is classified; none reads JSON lines, {"text": "..."}."""
    text_pair: tyro.conf.Positional[str] = ""
    """The second text, where the task is of pairs; "text_pair" in JSON lines."""


@dataclasses.dataclass(frozen=True)
class RelationOfArguments(RelationOfConfig):
    """`RelationOfConfig` as typed: the sentence needs no flag."""

    sentence: tyro.conf.Positional[str] = ""
    """A JSON object: {"text": "...", "subject": [0, 3], "object": [16, 22]} with characters [start,
    end), or {"tokens": [...], ...} with first and last words; subject_type and object_type where
    the training data had them. None reads JSON lines of this form."""


@dataclasses.dataclass(frozen=True)
class TagArguments(TagConfig):
    """`TagConfig` as typed: the text needs no flag."""

    text: tyro.conf.Positional[str] = ""
    """What entities are looked for in; none reads JSON lines, {"text": "..."} or
    {"tokens": [...]}."""
