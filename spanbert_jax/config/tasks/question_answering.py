"""What the tasks of question answering are told: windows, decoding, the form of the data."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from spanbert_jax.config.tasks.task import TaskConfig
from spanbert_jax.errors import require, require_positive

AnswerText = Literal["offsets", "original"]


@dataclass(frozen=True)
class QuestionAnsweringConfig(TaskConfig):
    """How questions and contexts are cut into windows, and answers taken out of their scores."""

    max_length: int = 512
    """Tokens of a window: [CLS] question [SEP] context [SEP] (appendix B)."""
    max_query_length: int = 64
    """Tokens of a question; the others are cut off. Three quarters of a window at most."""
    doc_stride: int = 128
    """Tokens of the context by which a window begins later than the one before (appendix B)."""
    answerless_windows: float = 1.0
    """Share of the windows without the answer that are trained on, of questions that another window
    answers; the released code trains on all. Of whole papers nearly all windows lack it."""
    n_best: int = 20
    """Starts and ends that are tried in each window, and answers that are kept of a question."""
    max_answer_length: int = 30
    """Tokens of an answer that is predicted; one that is trained on may be longer."""
    answer_text: AnswerText = "offsets"
    """offsets: the very characters of the context from the first token to the last. original: as
    the released code, which puts the words between white space together again with single spaces,
    and takes whole words where its lowercased text is of another length; WordPiece alone. An answer
    is then not the very characters of its place, but these with single spaces between words."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.max_length >= 16, "--task.max-length", self.max_length,
            "must be at least 16 for a question and its context", "use 512, as the paper",
        )  # fmt: skip
        for name, example in (
            ("max_query_length", "64"),
            ("doc_stride", "128"),
            ("n_best", "20"),
            ("max_answer_length", "30"),
        ):
            require_positive(f"--task.{name.replace('_', '-')}", getattr(self, name), example)
        require(
            0.0 <= self.answerless_windows <= 1.0, "--task.answerless-windows",
            self.answerless_windows, "must be a share in [0, 1]", "use 1.0, as the released code",
        )  # fmt: skip


@dataclass(frozen=True)
class SquadConfig(QuestionAnsweringConfig):
    """SQuAD 1.1 and 2.0, and other sets in their form."""

    name: ClassVar[str] = "squad"
    definition: ClassVar[str] = "spanbert_jax.tasks.question_answering.squad:Squad"

    unanswerable: bool = False
    """Whether questions may have no answer in their context (SQuAD 2.0). Then a threshold is tuned
    on dev, kept with the checkpoint, and used wherever it answers."""


@dataclass(frozen=True)
class MrqaConfig(QuestionAnsweringConfig):
    """The sets of the MRQA 2019 shared task, in its form."""

    name: ClassVar[str] = "mrqa"
    definition: ClassVar[str] = "spanbert_jax.tasks.question_answering.mrqa:Mrqa"
    part_of_dev = ("half", "half_seed")

    half: Literal["all", "dev", "test"] = "all"
    """Which half of --task.dev is read. The paper compares on one half of MRQA's dev sets and tests
    on the other (sec. 5.1); its halves were never published, ours are a rule: see
    tasks/question_answering/halves.py."""
    half_seed: int = 42
    """Of the rule by which a question falls into a half."""
