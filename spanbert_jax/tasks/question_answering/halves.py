"""Halves of a data set, by a rule that anybody can compute.

The paper compares checkpoints on one half of MRQA's dev sets and reports the other (sec. 5.1). Its
halves were never published. Ours: a question is in the half `test` where the sha256 of the text
"SEED:ID" (UTF-8; SEED is 42) begins with an odd byte, and else in `dev`. So a half depends neither
on the order of the file nor on what else it holds.
"""

import hashlib
from collections.abc import Iterable
from typing import Literal

Half = Literal["all", "dev", "test"]


def half_of(question_id: str, *, seed: int = 42) -> Literal["dev", "test"]:
    """half_of("q1", seed=42) -> "dev": the sha256 of "42:q1" begins with the byte 0x16."""
    digest = hashlib.sha256(f"{seed}:{question_id}".encode()).digest()
    return "test" if digest[0] % 2 else "dev"


def half_ids(ids: Iterable[str], *, half: Half, seed: int = 42) -> list[str]:
    """The ids of one half, in their order; all of them for "all"."""
    return [each for each in ids if half in ("all", half_of(each, seed=seed))]


def fingerprint(ids: Iterable[str]) -> str:
    """sha256 of the ids, sorted, one a line: whoever has the same half has the same one."""
    return hashlib.sha256("".join(f"{each}\n" for each in sorted(ids)).encode()).hexdigest()


def half_note(ids: list[str], *, total: int, half: Half, seed: int) -> str:
    return (
        f"{len(ids):,} of {total:,} questions are in the half {half!r} of seed {seed}; sha256 of "
        f"their ids {fingerprint(ids)}"
    )
