"""One question over a context, whatever file it came from."""

from typing import NamedTuple


class Question(NamedTuple):
    """A question, its context, and what is known of its answer."""

    id: str
    question: str
    context: str
    answers: tuple[str, ...] = ()
    """Texts that count as right; none where it has no answer, or none is known."""
    span: tuple[int, int] | None = None
    """Characters [start, end) of the context that training points at; None where no answer is."""
    known: bool = False
    """Whether it is known how it is answered: False in test files."""
