"""Precision, recall and F1 of entities, as seqeval and conlleval count. In: tags. Out: numbers."""

from collections.abc import Iterable, Sequence

from spanbert_jax.tasks.tagging.entities import Entity, entities_of

Located = set[tuple[int, Entity]]


def entity_scores(
    gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]
) -> dict[str, float]:
    """Micro-averaged scores, and those of every type, as fractions. An entity is right where type
    and both ends are.

    gold B-PER I-PER O B-LOC, predicted B-PER I-PER O B-ORG
    -> precision 1/2, recall 1/2, f1 1/2, PER_f1 1, LOC_f1 0, ORG_f1 0
    """
    theirs, ours = _located(gold), _located(predicted)
    scores = _scores(theirs, ours)
    for kind in sorted({entity.type for _, entity in theirs | ours}):
        of_kind = _scores(_of(kind, theirs), _of(kind, ours))
        scores |= {f"{kind}_{name}": score for name, score in of_kind.items()}
    return scores


def _located(sentences: Iterable[Sequence[str]]) -> Located:
    """Entities with the number of their sentence."""
    return {(i, entity) for i, tags in enumerate(sentences) for entity in entities_of(tags)}


def _of(kind: str, located: Located) -> Located:
    return {each for each in located if each[1].type == kind}


def _scores(gold: Located, predicted: Located) -> dict[str, float]:
    hits = len(gold & predicted)
    precision = hits / len(predicted) if predicted else 0.0
    recall = hits / len(gold) if gold else 0.0
    f1 = 2.0 * precision * recall / (precision + recall) if hits else 0.0
    return {"f1": f1, "precision": precision, "recall": recall}
