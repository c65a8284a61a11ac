"""Where an answer stands in its context, and what becomes of one that is not where it should be.

In: a context, the text of an answer, where the file says that it begins. Out: characters.
"""

from collections.abc import Iterable
from typing import NamedTuple

LARGEST_SHIFT = 5
"""Characters by which an answer may be away from where the file says that it is."""
NUM_SHOWN = 3
"""Ids that a note shows."""


class Located(NamedTuple):
    """Characters of an answer, and whether the file was wrong about them."""

    span: tuple[int, int]
    repaired: bool


def locate(context: str, text: str, start: int) -> Located | None:
    """Find an answer at, or a few characters from, `start`; without white space at its ends.

    Nearest first, the one to the left where two are as near. COVID-QA has texts that begin with a
    space, at the place of the first letter.

    locate("by Ada in 1843", "Ada", 3) -> (3, 6), not repaired
    locate("by Ada in 1843", " Ada", 3) -> (3, 6), repaired
    locate("by Ada in 1843", "Ada", 9) -> None
    """
    bare = text.strip()
    if not any(letter.isprintable() for letter in bare):
        # No token comes of white space and control characters.
        return None
    expected = start + len(text) - len(text.lstrip())
    if start >= 0 and context.startswith(text, start):
        return Located((expected, expected + len(bare)), repaired=False)
    for shift in sorted(range(-LARGEST_SHIFT, LARGEST_SHIFT + 1), key=abs):
        found = start + shift
        if found >= 0 and context.startswith(bare, found):
            return Located((found, found + len(bare)), repaired=True)
    return None


class Counts:
    """Questions by what was wrong with them, for the notes of a data set."""

    def __init__(self) -> None:
        self._ids: dict[str, list[str]] = {}

    def add(self, what: str, question_id: str) -> None:
        self._ids.setdefault(what, []).append(question_id)

    def notes(self) -> tuple[str, ...]:
        """("2 questions: their answer is not in their context; left out (q7, q9)",)"""
        return tuple(f"{counted(ids)}: {what} ({shown(ids)})" for what, ids in self._ids.items())


def counted(ids: list[str]) -> str:
    return f"{len(ids):,} question{'s' * (len(ids) != 1)}"


def shown(ids: Iterable[str]) -> str:
    """shown(["a", "b", "c", "d"]) -> "a, b, c, ..."."""
    listed = list(ids)
    return ", ".join(listed[:NUM_SHOWN]) + ", ..." * (len(listed) > NUM_SHOWN)
