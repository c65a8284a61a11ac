"""Tags of words, and the entities that they spell. In: tags. Out: spans of words with a type."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

OUTSIDE = "O"


class Entity(NamedTuple):
    """Words [start, end) of a sentence."""

    type: str
    start: int
    end: int


def split_tag(tag: str) -> tuple[str, str]:
    """split_tag("B-creative-work") -> ("B", "creative-work"); split_tag("O") -> ("O", "")"""
    state, _, kind = tag.partition("-")
    return state, kind


def entities_of(tags: Sequence[str]) -> list[Entity]:
    """The entities that tags of BIO or IOBES spell, read as conlleval and seqeval by default do:
    one goes on where I or E follows B or I of its own type, and any other tag but O begins one.

    O I-PER I-PER I-ORG B-ORG O -> (PER, 1, 3), (ORG, 3, 4), (ORG, 4, 5)
    """
    found = []
    start, before = 0, (OUTSIDE, "")
    for i, tag in enumerate([*tags, OUTSIDE]):
        state, kind = split_tag(tag)
        goes_on = state in ("I", "E") and before[0] in ("B", "I") and kind == before[1]
        if not goes_on:
            if before[0] != OUTSIDE:
                found.append(Entity(before[1], start, i))
            start = i
        before = (state, kind)
    return found


def tags_of(entities: Iterable[Entity], num_words: int) -> list[str]:
    """Tags of BIO: (PER, 1, 3) of 4 words -> O B-PER I-PER O"""
    tags = [OUTSIDE] * num_words
    for kind, start, end in entities:
        tags[start:end] = [f"B-{kind}", *[f"I-{kind}"] * (end - start - 1)]
    return tags
