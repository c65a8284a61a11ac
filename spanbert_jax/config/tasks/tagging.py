"""Tagging: entities in sentences of words."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from spanbert_jax.config.tasks.task import TaskConfig
from spanbert_jax.errors import require, require_choices


@dataclass(frozen=True)
class TaggingConfig(TaskConfig):
    """Named entities, or other spans of words with a type."""

    name: ClassVar[str] = "tagging"
    fixed: ClassVar[tuple[str, ...]] = (
        "method",
        "max_span_words",
        "width_size",
        "span_hidden_size",
    )
    definition: ClassVar[str] = "spanbert_jax.tasks.tagging.task:Tagging"

    method: Literal["bio", "spans"] = "bio"
    """bio: a tag for each word, by the state of its first piece. spans: a type, or none, for each
    span of words, by the states of its ends and its width; the best that do not overlap are
    kept."""
    max_span_words: int = 10
    """Of the method spans: words of the longest span that is scored."""
    width_size: int = 20
    """Of the method spans: size of the embedding of a width (20, as in span models for
    coreference)."""
    span_hidden_size: int = 150
    """Of the method spans: size of the hidden layer between the ends and the types."""
    form: Literal["auto", "columns", "jsonl"] = "auto"
    """Of the files. columns: a word a line, blank lines between sentences, as CoNLL. jsonl: an
    object a line, {"tokens": [...], "tags": [...]}. auto: jsonl where the name ends so."""
    token_column: int = 0
    """Of columns: that of the words."""
    tag_column: int = -1
    """Of columns: that of the tags, -1 the last one."""
    scheme: Literal["detect", "bio", "iob1", "io", "iobes"] = "detect"
    """How tags spell entities; they are turned into BIO. detect: by the tags that the file holds.
    io: also of bare types (PER, O)."""
    window_overlap: int = 32
    """Pieces that the windows of a sentence longer than max_length have in common; at most half of
    a window. The method spans finds what lies whole in a window."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_choices("task", self, "method", "form", "scheme")
        for field, example in (
            ("max_span_words", 10), ("width_size", 20), ("span_hidden_size", 150),
        ):  # fmt: skip
            value = getattr(self, field)
            require(
                value >= 1, f"--task.{field.replace('_', '-')}", value, "must be at least 1",
                f"use {example}",
            )  # fmt: skip
        require(
            0 <= self.window_overlap, "--task.window-overlap", self.window_overlap,
            "must not be negative", "use 32",
        )  # fmt: skip
