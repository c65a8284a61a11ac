"""Rows of relations. In: examples, the marker table. Out: token ids of a row, and what was lost.

A sentence is cut where an entity begins or ends; markers stand at the cuts.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, pairwise
from typing import NamedTuple

import numpy as np

from spanbert_jax.corpus.tokenizers import Tokenizer
from spanbert_jax.errors import UserError
from spanbert_jax.tasks.relation.example import RelationExample
from spanbert_jax.tasks.relation.markers import AROUND, MarkerTable, object_marker, subject_marker

# Examples whose parts are encoded together.
_TOGETHER = 1_000


class Part(NamedTuple):
    """A stretch of a sentence, or a marker between two of them."""

    kind: str
    """text, SUBJ or OBJ for words; the name of a marker."""
    text: str = ""


class RowNotes(NamedTuple):
    """What befell an example on its way into a row."""

    lost_entity: bool
    """The row was cut before the last of its markers."""
    unseen_types: tuple[str, ...]
    """Markers of types that the training data lack, for which another one stands."""
    unseen_relation: bool = False


class Markers(NamedTuple):
    """The part of a checkpoint's tables that rows need."""

    mode: str
    table: MarkerTable
    stand_ins: dict[str, str]


def parts_of(example: RelationExample) -> list[Part]:
    """Words and markers in their order. A cut ends what ends there, then begins what begins there;
    where the entities overlap, the words are the subject's.

    "The mayor of Wells", subject (4, 9), object (13, 18) -> The, SUBJ_START, mayor, SUBJ_END, of,
    OBJ_START, Wells, OBJ_END
    """
    (s0, s1), (o0, o1) = example.subject, example.object
    cuts = sorted({0, s0, s1, o0, o1, len(example.text)})
    markers = ((s1, "SUBJ_END"), (o1, "OBJ_END"), (s0, "SUBJ_START"), (o0, "OBJ_START"))
    parts = []
    for start, end in pairwise([*cuts, cuts[-1]]):
        parts += [Part(name) for place, name in markers if place == start]
        kind = "SUBJ" if s0 <= start < s1 else "OBJ" if o0 <= start < o1 else "text"
        words = example.text[start:end]
        if stripped := words.strip():
            spaced = start > 0 and (words[0].isspace() or example.text[start - 1].isspace())
            parts.append(Part(kind, " " * spaced + stripped))
    return parts


def encoded_rows(
    examples: Iterable[RelationExample], *, markers: Markers, tokenizer: Tokenizer, max_length: int
) -> Iterator[tuple[np.ndarray, RowNotes]]:
    """Token ids (int32) and notes of every example.

    Raises:
        UserError: a type is missing that the mode shows.
    """
    left = iter(examples)
    while together := list(islice(left, _TOGETHER)):
        parts = [parts_of(example) for example in together]
        texts = [part.text for each in parts for part in each if part.text]
        # Only byte-level vocabularies tell a word after a space from one without.
        spaced = tokenizer.between_sentences == " "
        encoded = iter(tokenizer.encode_batch([t if spaced else t.strip() for t in texts]))
        for example, each in zip(together, parts, strict=True):
            words = [next(encoded) if part.text else [] for part in each]
            yield _row(example, each, words, markers, tokenizer, max_length)


def _row(
    example: RelationExample, parts: Sequence[Part], words: Sequence[list[int]], markers: Markers,
    tokenizer: Tokenizer, max_length: int,
) -> tuple[np.ndarray, RowNotes]:  # fmt: skip
    types, unseen = _types(example, markers)
    ids, last_marker = [tokenizer.cls_id], 0
    for (kind, _), piece_ids in zip(parts, words, strict=True):
        added = _shown(kind, piece_ids, types, markers)
        ids += added
        if added and kind in AROUND:
            last_marker = len(ids)
    ids.append(tokenizer.sep_id)
    for role in ("SUBJ", "OBJ"):
        if markers.mode == "text_ner":
            ids += [*types[role], tokenizer.sep_id]
            last_marker = len(ids) - 1
        elif markers.mode == "ner_text":
            own = (each for part, each in zip(parts, words, strict=True) if part.kind == role)
            ids += [token_id for each in own for token_id in each] + [tokenizer.sep_id]
    # The end is cut, [SEP] and all, as the released script does.
    notes = RowNotes(lost_entity=last_marker > max_length, unseen_types=unseen)
    return np.array(ids[:max_length], np.int32), notes


def _shown(kind: str, words: list[int], types: dict[str, list[int]], markers: Markers) -> list[int]:
    """The ids by which a part stands in the row."""
    if kind in AROUND:
        if markers.mode.startswith("text"):
            return markers.table[kind]
        role, _, side = kind.partition("_")
        return types[role] if side == "START" else []
    return words if kind == "text" or markers.mode.startswith("text") else []


def _types(
    example: RelationExample, markers: Markers
) -> tuple[dict[str, list[int]], tuple[str, ...]]:
    """Ids of the type of each role, and the names of those that another one stands for."""
    if markers.mode == "text":
        return {}, ()
    names = {"SUBJ": subject_marker(example), "OBJ": object_marker(example)}
    unseen = tuple(name for name in names.values() if name not in markers.table)
    for role, name in names.items():
        if name in unseen and name.endswith("="):
            known = (each.partition("=")[2] for each in markers.table if each.startswith(name))
            field = {"SUBJ": "subject_type", "OBJ": "object_type"}[role]
            raise UserError(
                f"{example.where}: {field} is missing, which this model reads (--task.mode "
                f"{markers.mode}); give one of {', '.join(known)}"
            )
        if name in unseen:
            names[role] = markers.stand_ins[role]
    return {role: markers.table[name] for role, name in names.items()}, unseen
