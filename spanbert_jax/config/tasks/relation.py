"""Relation extraction: which of some relations holds between two entities of a sentence."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from spanbert_jax.config.tasks.task import TaskConfig
from spanbert_jax.errors import require_choices


@dataclass(frozen=True)
class RelationConfig(TaskConfig):
    """What every set of relations is told; max_length 128 as the paper (appendix B)."""

    fixed: ClassVar[tuple[str, ...]] = ("mode", "markers", "marker_order", "negative_label")

    mode: Literal["ner", "text", "text_ner", "ner_text"] = "ner"
    """How a row shows its entities. ner: their words are deleted, a marker of role and type stands
    where they began (sec. 4.2). text: markers of the role stand around their words. text_ner: text,
    then the types. ner_text: ner, then the words."""
    markers: Literal["auto", "unused", "spelled"] = "auto"
    """What a marker is. unused: an entry [unusedN] of the vocabulary, as BERT's have. spelled: a
    few words of text, `@ person @` for a subject and `# city #` for an object. auto: unused where
    the vocabulary has enough of them."""
    marker_order: Literal["sorted", "released"] = "sorted"
    """Which marker takes which [unusedN]. sorted: those that the mode uses, by name. released: all,
    in order of first use in the training data, as the released script on its first split."""
    unseen_relations: Literal["refuse", "count_wrong"] = "refuse"
    """A relation in dev or test that the training data lack. refuse: it is an error. count_wrong:
    its examples are scored as mistakes, and counted."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_choices("task", self, "mode", "markers", "marker_order", "unseen_relations")


@dataclass(frozen=True)
class TacredConfig(RelationConfig):
    """Relations in the JSON form of TACRED: typed entities, and a label for none at all."""

    name: ClassVar[str] = "tacred"
    definition: ClassVar[str] = "spanbert_jax.tasks.relation.tacred:Tacred"

    negative_label: str = "no_relation"
    """The label of pairs without a relation: class 0, and left out of precision and recall."""


@dataclass(frozen=True)
class SemEvalConfig(RelationConfig):
    """SemEval-2010 Task 8: nine relations in both directions, and Other. Entities have no types."""

    name: ClassVar[str] = "semeval2010_task8"
    definition: ClassVar[str] = "spanbert_jax.tasks.relation.semeval:SemEval"

    mode: Literal["ner", "text", "text_ner", "ner_text"] = "text"
    """How a row shows its entities; the set names no types, so that a marker says the role alone.
    text: markers stand around their words. The others as for TACRED."""
