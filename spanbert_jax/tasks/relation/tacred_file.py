"""Reads relations in the JSON form of TACRED. In: a file. Out: `RelationExample`s."""

import json
from typing import Any

from spanbert_jax.errors import UserError
from spanbert_jax.tasks.relation.example import RelationExample, from_words
from spanbert_jax.tasks.text_files import read_text

_POSITIONS = ("subj_start", "subj_end", "obj_start", "obj_end")


def read_tacred(path: str) -> list[RelationExample]:
    """Examples of a list of records: token, subj_start, subj_end, obj_start, obj_end (first and
    last word), subj_type, obj_type, and where they are known relation and id.

    Raises:
        UserError: no JSON, no list of records, or a record lacks a field or its entities lie
            outside its words.
    """
    try:
        records = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(
            f"{path}: must be JSON, a list of records ({error}); mend the file there"
        ) from error
    if not isinstance(records, list):
        raise UserError(
            f"{path}: must be a list of records in the form of TACRED, found "
            f'{type(records).__name__}; write [{{"token": [...], "subj_start": ...}}, ...]'
        )
    return [_example(record, f"{path}: record {i}") for i, record in enumerate(records)]


def _example(record: Any, where: str) -> RelationExample:
    if not isinstance(record, dict):
        raise UserError(f"{where}: must be an object, found {type(record).__name__}; mend the file")
    id = _name(record, "id")
    where = f"{where} (id {id})" if id else where
    words = record.get("token")
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise UserError(f"{where}: token must be a list of words, found {words!r:.80}")
    first, last, *others = (_position(record, name, where) for name in _POSITIONS)
    relation = record.get("relation")
    if relation is not None and (not isinstance(relation, str) or not relation):
        raise UserError(f"{where}: relation must be a name, found {relation!r:.80}")
    return from_words(
        words, id=id, subject=(first, last), object=(others[0], others[1]), where=where,
        subject_type=_name(record, "subj_type"), object_type=_name(record, "obj_type"),
        relation=relation,
    )  # fmt: skip


def _name(record: dict[str, Any], name: str) -> str:
    """As text; "" where it is null or missing."""
    value = record.get(name)
    return "" if value is None else str(value)


def _position(record: dict[str, Any], name: str, where: str) -> int:
    value = record.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise UserError(
            f"{where}: {name} must be the index of a word, found {value!r:.80}; mend the record"
        )
    return value
