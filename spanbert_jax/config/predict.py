"""What `spanbert predict` is asked."""

import json
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from spanbert_jax.errors import UserError, require, require_positive


@dataclass(frozen=True)
class FillConfig:
    """Fill in the [MASK] tokens of sentences with a pretrained model."""

    checkpoint: str = ""
    """Folder of a run (its --workdir; local or gs://)."""
    step: int | None = None
    """Step of the checkpoint to ask, such as the best one; none takes the newest."""
    texts: tuple[str, ...] = ()
    """Sentences with [MASK] tokens; none reads one a line from standard input."""
    top: int = 5
    """Candidates shown for each masked token and span."""
    json: bool = False
    """Print one JSON object a text in place of tables."""

    def __post_init__(self) -> None:
        require_positive("--top", self.top, "5")


@dataclass(frozen=True)
class AskConfig:
    """What all verbs of a fine-tuned model are told."""

    verb: ClassVar[str] = ""

    checkpoint: str = ""
    """Folder of a fine-tuning run (its --workdir), or of a grid, whose best run is asked; local or
    gs://."""
    task_file: str = ""
    """Python file that defines the task, where it is one of your own."""
    step: int | None = None
    """Step of the checkpoint; none takes the best on dev."""
    file: str = ""
    """JSON lines to read, an example each (local or gs://, also .gz and .bz2); without one, and
    without an example behind the flags, they are read from standard input. The answers are JSON
    lines, in the same order."""
    top: int = 5
    """Answers or labels shown for each example, best first."""
    json: bool = False
    """Print a JSON line where one example is asked, too."""
    at_once: int = 256
    """Lines that are read before they are answered; 1 answers each as it comes, slower."""
    dtype: Literal["float32", "bfloat16", "auto"] | None = None
    """Of matrix products; none takes that of the run."""
    batch_tokens: int = 8_192
    """Tokens of a batch, padding included."""

    def __post_init__(self) -> None:
        for name, example in (("top", "5"), ("at_once", "256"), ("batch_tokens", "8192")):
            require_positive(f"--{name.replace('_', '-')}", getattr(self, name), example)
        require(
            not (self.file and self.is_given), "--file", self.file,
            "cannot stand beside an example behind the flags", "leave out one of them",
        )  # fmt: skip

    @property
    def is_given(self) -> bool:
        """Whether there is an example behind the flags."""
        raise NotImplementedError

    def example(self) -> dict[str, Any]:
        """The example behind the flags, as JSON has it."""
        raise NotImplementedError


@dataclass(frozen=True)
class AnswerConfig(AskConfig):
    """Answer questions, each from a context of any length."""

    verb = "answer"

    question: str = ""
    """What is asked."""
    context: str = ""
    """Text that holds the answer."""
    context_file: str = ""
    """File with the context in place of --context, UTF-8."""

    def __post_init__(self) -> None:
        super().__post_init__()
        contexts = [name for name in ("context", "context_file") if getattr(self, name)]
        require(
            len(contexts) < 2, "--context-file", self.context_file,
            "cannot stand beside --context", "leave out one of them",
        )  # fmt: skip
        require(
            bool(self.question) or not contexts, "QUESTION", "''", "must stand before a context",
            'write it behind `spanbert predict answer`, such as "Where was Ada born?"',
        )  # fmt: skip
        require(
            bool(contexts) or not self.question, "--context", "''", "must hold the answer",
            "give a text, or a file with --context-file",
        )  # fmt: skip

    @property
    def is_given(self) -> bool:
        return bool(self.question or self.context or self.context_file)

    def example(self) -> dict[str, Any]:
        return {"question": self.question, "context": self.context}


@dataclass(frozen=True)
class ClassifyConfig(AskConfig):
    """Classify texts, or pairs of texts."""

    verb = "classify"

    text: str = ""
    """What is classified."""
    text_pair: str = ""
    """The second text, where the task is of pairs."""

    @property
    def is_given(self) -> bool:
        return bool(self.text)

    def example(self) -> dict[str, Any]:
        return {"text": self.text} | ({"text_pair": self.text_pair} if self.text_pair else {})


@dataclass(frozen=True)
class RelationOfConfig(AskConfig):
    """Find the relation between two entities of a sentence."""

    verb = "relation"

    sentence: str = ""
    """A JSON object: {"text": "...", "subject": [0, 3], "object": [16, 22]} with characters [start,
    end), or {"tokens": [...], ...} with first and last words; subject_type and object_type where
    the training data had them."""

    @property
    def is_given(self) -> bool:
        return bool(self.sentence)

    def example(self) -> dict[str, Any]:
        try:
            example = json.loads(self.sentence)
        except (ValueError, RecursionError) as error:
            raise UserError(f"SENTENCE: must be a JSON object ({error}); quote it") from error
        if not isinstance(example, dict):
            raise UserError(f"SENTENCE: must be a JSON object, found {type(example).__name__}")
        return example


@dataclass(frozen=True)
class TagConfig(AskConfig):
    """Find the entities of sentences."""

    verb = "tag"

    text: str = ""
    """What entities are looked for in."""

    @property
    def is_given(self) -> bool:
        return bool(self.text)

    def example(self) -> dict[str, Any]:
        return {"text": self.text}
