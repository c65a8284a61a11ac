"""Markers of entities, and the token ids each of them is. In: training examples, a vocabulary.
Out: a table that the checkpoint keeps, so that no order of reading changes it.

A marker is named as in the released code: SUBJ_START, SUBJ_END, OBJ_START and OBJ_END stand around
an entity, SUBJ=PERSON and OBJ=CITY stand for one.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from spanbert_jax.config.tasks.relation import RelationConfig
from spanbert_jax.corpus.tokenizers import Tokenizer
from spanbert_jax.errors import UserError
from spanbert_jax.tasks.relation.example import RelationExample

AROUND = ("SUBJ_START", "SUBJ_END", "OBJ_START", "OBJ_END")
MarkerTable = dict[str, list[int]]
"""Token ids by the name of the marker."""

_UNUSED = re.compile(r"\[unused([1-9]\d*)\]")


def subject_marker(example: RelationExample) -> str:
    return f"SUBJ={example.subject_type}"


def object_marker(example: RelationExample) -> str:
    return f"OBJ={example.object_type}"


def names_by_use(examples: Iterable[RelationExample]) -> list[str]:
    """All markers in order of first use, as the released script takes them on in any mode.

    Types PERSON, CITY, then DATE, CITY -> [..., "SUBJ=PERSON", "OBJ=CITY", "SUBJ=DATE"]
    """
    used = ((subject_marker(each), object_marker(each)) for each in examples)
    return list(dict.fromkeys([*AROUND, *(name for pair in used for name in pair)]))


def names_by_mode(examples: Iterable[RelationExample], mode: str) -> list[str]:
    """The markers that rows of a mode hold, sorted by name, whatever the order of examples."""
    types = sorted(set(names_by_use(examples)) - set(AROUND))
    around = list(AROUND) if mode.startswith("text") else []
    return around + (types if mode != "text" else [])


def marker_table(
    examples: Sequence[RelationExample], *, config: RelationConfig, tokenizer: Tokenizer
) -> MarkerTable:
    """The markers of the training examples.

    Raises:
        UserError: the vocabulary has too few entries [unusedN] where these are asked for, or cannot
            spell a marker.
    """
    if config.marker_order == "released":
        names = names_by_use(examples)
    else:
        names = names_by_mode(examples, config.mode)
    if config.markers == "spelled":
        return _spelled(names, tokenizer)
    unused = list(unused_ids(tokenizer))
    if len(unused) >= len(names):
        return {name: [token_id] for name, token_id in zip(names, unused, strict=False)}
    if config.markers == "unused":
        raise UserError(
            f"--task.markers unused: takes {len(names)} entries [unusedN] of the vocabulary, one a "
            f"marker, found {len(unused)} in this {tokenizer.kind} vocabulary; "
            "use --task.markers spelled, which writes them as words"
        )
    return _spelled(names, tokenizer)


def unused_ids(tokenizer: Tokenizer) -> Iterator[int]:
    """Ids of [unused1], [unused2] and so on; none where the vocabulary has no such entries."""
    pieces = ((tokenizer.id_to_piece(i), i) for i in range(tokenizer.vocab_size))
    found = ((_UNUSED.fullmatch(piece), i) for piece, i in pieces)
    for _, token_id in sorted((int(match[1]), i) for match, i in found if match):
        yield token_id


def _spelled(names: Sequence[str], tokenizer: Tokenizer) -> MarkerTable:
    """Markers as text: a sign for the role, the type between two of them.

    SUBJ_START, SUBJ_END -> "@"; SUBJ=STATE_OR_PROVINCE -> "@ state or province @"; with # for the
    object (the typed markers in punctuation of Zhou and Chen 2022, arXiv 2102.01373).
    """
    signs = {"SUBJ": "@", "OBJ": "#"}
    if any(tokenizer.unk_id in _encoded(sign, tokenizer) for sign in signs.values()):
        signs = {"SUBJ": "subject", "OBJ": "object"}
    table = {name: _encoded(_spelling(name, signs), tokenizer) for name in names}
    for name, ids in table.items():
        if not ids or tokenizer.unk_id in ids:
            raise UserError(
                f"--task.markers spelled: {_spelling(name, signs)!r}, which marks {name}, has "
                f"pieces that this {tokenizer.kind} vocabulary lacks; name the types of entities "
                "in its own script, or use a vocabulary with entries [unusedN]"
            )
    return table


def _spelling(name: str, signs: dict[str, str]) -> str:
    if name in AROUND:
        return signs[name.partition("_")[0]]
    role, _, kind = name.partition("=")
    words = filter(None, re.split(r"[\s_]+", kind.lower()))
    return " ".join([signs[role], *words, signs[role]])


def _encoded(text: str, tokenizer: Tokenizer) -> list[int]:
    return tokenizer.encode(tokenizer.between_sentences + text)


def stand_ins(examples: Sequence[RelationExample]) -> dict[str, str]:
    """By role the marker that stands for a type unseen in training: the most frequent one, since an
    entry that was never trained says nothing."""
    subjects = Counter(map(subject_marker, examples))
    objects = Counter(map(object_marker, examples))
    return {"SUBJ": subjects.most_common(1)[0][0], "OBJ": objects.most_common(1)[0][0]}
