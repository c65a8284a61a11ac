"""How tags spell entities. In: tags of BIO, IOB1, IO, IOBES or BILOU. Out: the same in BIO."""

from collections.abc import Iterable, Sequence

from spanbert_jax.errors import UserError
from spanbert_jax.tasks.tagging.entities import OUTSIDE, entities_of, split_tag, tags_of

# BILOU's last and unit are the end and single of IOBES.
_OTHER_LETTERS = {"L": "E", "U": "S"}
_STATES = {"bio": "BI", "iob1": "BI", "io": "I", "iobes": "BIES", "detect": "BIES"}


def read_tag(tag: str, *, scheme: str, where: str) -> str:
    """A tag as it stands in a file, in the letters of IOBES.

    L-PER -> E-PER; with scheme io PER -> I-PER

    Raises:
        UserError: it is none of the scheme.
    """
    if tag == OUTSIDE:
        return tag
    state, kind = split_tag(tag)
    if scheme == "io" and not (state == "I" and kind):
        state, kind = ("I", tag) if state not in ("B", "E", "S") else (state, kind)
    state = _OTHER_LETTERS.get(state, state)
    if len(state) != 1 or state not in _STATES[scheme] or not kind:
        bare = "" if kind else "; --task.scheme io reads types without a letter before them"
        raise UserError(
            f"{where}: a tag must be O, or one of {', '.join(_STATES[scheme])} with - and a type "
            f"(--task.scheme {scheme}), found {tag!r}; mend the tag, or name its column with "
            f"--task.tag-column{bare}"
        )
    return f"{state}-{kind}"


def detect(sentences: Iterable[Sequence[str]]) -> str:
    """The scheme of a file by all its tags: io, iob1, bio or iobes.

    B-PER I-PER O -> bio; I-PER O -> io; I-PER B-PER O -> iob1 (B only divides neighbours)
    """
    states: set[str] = set()
    strays = dividing = opening = 0
    for tags in sentences:
        before = (OUTSIDE, "")
        for tag in tags:
            state, kind = split_tag(tag)
            states.add(state)
            neighbours = before[0] != OUTSIDE and before[1] == kind
            strays += state == "I" and not neighbours
            dividing += state == "B" and neighbours
            opening += state == "B" and not neighbours
            before = (state, kind)
    if states & {"E", "S"}:
        return "iobes"
    if "B" not in states:
        return "io" if "I" in states else "bio"
    return "iob1" if strays and dividing and not opening else "bio"


def num_strays(sentences: Iterable[Sequence[str]]) -> int:
    """Tags I-X that no B-X or I-X stands before: in BIO they begin an entity all the same."""
    strays = 0
    for tags in sentences:
        for before, tag in zip([OUTSIDE, *tags], tags, strict=False):
            state, kind = split_tag(tag)
            strays += state == "I" and (before == OUTSIDE or split_tag(before)[1] != kind)
    return strays


def to_bio(tags: Sequence[str]) -> list[str]:
    """Tags of any scheme as BIO: I-PER I-PER O S-LOC -> B-PER I-PER O B-LOC"""
    return tags_of(entities_of(tags), len(tags))
