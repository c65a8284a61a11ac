"""A sentence with two entities. In: words or text. Out: `RelationExample`."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from spanbert_jax.corpus.json_lines import characters
from spanbert_jax.errors import UserError

Span = tuple[int, int]

_ENTITIES = ("subject", "object")
FIELDS = ("id", "tokens", "text", "subject", "object", "subject_type", "object_type")
"""Of what a user asks about."""

# As the Penn Treebank spells them.
_BRACKETS = {
    "-lrb-": "(", "-rrb-": ")", "-lsb-": "[", "-rsb-": "]", "-lcb-": "{", "-rcb-": "}",
}  # fmt: skip


class RelationExample(NamedTuple):
    """A sentence, its two entities, and the relation between them where it is known."""

    id: str
    text: str
    subject: Span
    """Characters [start, end) of `text`."""
    object: Span
    subject_type: str = ""
    object_type: str = ""
    relation: str | None = None
    where: str = ""
    """File and record, for errors."""

    @property
    def overlaps(self) -> bool:
        """Whether the entities share a character."""
        return self.subject[0] < self.object[1] and self.object[0] < self.subject[1]


def from_words(
    words: Sequence[str], *, id: str, subject: Span, object: Span, where: str, **others: Any
) -> RelationExample:
    """An example of words, whose entities are named by their first and last word.

    ["-LRB-", "the", "mayor", "-RRB-"], subject (2, 2), object (0, 1)
    -> text "( the mayor )", subject (6, 11), object (0, 5)

    Raises:
        UserError: an entity is no span of words.
    """
    words = [_BRACKETS.get(word.lower(), word) for word in words]
    starts = [0]
    for word in words:
        starts.append(starts[-1] + len(word) + 1)

    def characters(name: str, span: Span) -> Span:
        first, last = span
        if not 0 <= first <= last < len(words):
            raise UserError(
                f"{where}: {name} must be first and last word, 0 <= first <= last < {len(words)}, "
                f"found {first} and {last}; mend the record"
            )
        return starts[first], starts[last] + len(words[last])

    return checked(
        RelationExample(
            id, " ".join(words), characters("subject", subject), characters("object", object),
            where=where, **others,
        )
    )  # fmt: skip


def checked(example: RelationExample) -> RelationExample:
    """The example.

    Raises:
        UserError: an entity is no span of characters, or nothing but white space; or there is what
            is no character.
    """
    written = (example.text, example.id, example.subject_type, example.object_type)
    characters(" ".join([*written, example.relation or ""]), what="it", where=example.where)
    for name, (start, end) in (("subject", example.subject), ("object", example.object)):
        if not 0 <= start < end <= len(example.text):
            raise UserError(
                f"{example.where}: {name} must be characters [start, end), 0 <= start < end <= "
                f"{len(example.text)}, found {start} and {end}; mend the positions"
            )
        if not example.text[start:end].strip():
            raise UserError(
                f"{example.where}: {name} must be text, found nothing but white space at "
                f"characters {start} to {end}; mend the positions"
            )
    return example


def from_fields(fields: Mapping[str, Any]) -> RelationExample:
    """What a user asked about: {"tokens": [...]} with entities as first and last word, or
    {"text": "..."} with entities as characters [start, end).

    Raises:
        UserError: a field is missing, unknown or of another kind.
    """
    where = f"relation {fields['id']}" if "id" in fields else "relation"
    for name in fields:
        if name not in FIELDS:
            raise UserError(
                f"{where}: must have the fields {', '.join(FIELDS)} alone, found {name}"
            )
    if ("tokens" in fields) == ("text" in fields):
        raise UserError(
            f"{where}: must have either tokens or text, found "
            f"{'both' if 'text' in fields else 'neither'}; give the sentence in one of them"
        )
    entities: dict[str, Any] = {name: _pair(fields, name, where) for name in _ENTITIES}
    types = {f"{name}_type": _string(fields, f"{name}_type", where) for name in _ENTITIES}
    others = entities | types | {"id": str(fields.get("id", "")), "where": where}
    if "text" in fields:
        return checked(RelationExample(text=_string(fields, "text", where), **others))
    tokens = fields["tokens"]
    if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
        raise UserError(f"{where}: tokens must be a list of words, found {tokens!r:.80}")
    return from_words(tokens, **others)


def _pair(fields: Mapping[str, Any], name: str, where: str) -> Span:
    value = fields.get(name)
    if not (
        isinstance(value, list | tuple)
        and len(value) == 2
        and all(isinstance(number, int) and not isinstance(number, bool) for number in value)
    ):
        raise UserError(
            f"{where}: {name} must be a pair of positions, found {value!r:.80}; give [first, last] "
            "word with tokens, or characters [start, end) with text"
        )
    return value[0], value[1]


def _string(fields: Mapping[str, Any], name: str, where: str) -> str:
    value = fields.get(name, "")
    if not isinstance(value, str):
        raise UserError(f"{where}: {name} must be text, found {value!r:.80}")
    return value
