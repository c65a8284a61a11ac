"""Scores of relations, as the benchmarks' own scorers count. In: labels. Out: numbers by name."""

from collections.abc import Sequence

from spanbert_jax.tasks.relation.semeval_file import OTHER


def micro_scores(
    gold: Sequence[str], predicted: Sequence[str], *, negative: str
) -> dict[str, float]:
    """Precision, recall and F1 over all relations but `negative`, and accuracy, as fractions.

    gold a a - b, predicted a - b b, negative "-"
    -> precision 2/3, recall 2/3, f1 2/3, accuracy 1/2
    """
    pairs = list(zip(gold, predicted, strict=True))
    hits = sum(g == p != negative for g, p in pairs)
    precision = _ratio(hits, sum(p != negative for _, p in pairs))
    recall = _ratio(hits, sum(g != negative for g, _ in pairs))
    return {
        "f1": _harmonic(precision, recall),
        "precision": precision,
        "recall": recall,
        "accuracy": _ratio(sum(g == p for g, p in pairs), len(pairs)),
    }


def semeval_scores(gold: Sequence[str], predicted: Sequence[str]) -> dict[str, float]:
    """The official score of SemEval-2010 Task 8 (its third evaluation), as fractions: F1 of each of
    nine relations, averaged. A relation in the wrong direction is a mistake, but counts as
    predicted; Other is left out. Relations that the gold labels lack are left out of the average.

    gold A(e1,e2) A(e2,e1) Other, predicted A(e1,e2) A(e1,e2) A(e1,e2)
    -> precision 1/3, recall 1/2, F1 2/5
    """
    pairs = list(zip(gold, predicted, strict=True))
    names = sorted({_undirected(label) for label in gold} - {OTHER})
    precisions, recalls, f1s = [], [], []
    for name in names:
        hits = sum(g == p and _undirected(g) == name for g, p in pairs)
        precisions.append(_ratio(hits, sum(_undirected(p) == name for _, p in pairs)))
        recalls.append(_ratio(hits, sum(_undirected(g) == name for g, _ in pairs)))
        f1s.append(_harmonic(precisions[-1], recalls[-1]))
    return {
        "macro_f1": _ratio(sum(f1s), len(names)),
        "macro_precision": _ratio(sum(precisions), len(names)),
        "macro_recall": _ratio(sum(recalls), len(names)),
        "accuracy": _ratio(sum(g == p for g, p in pairs), len(pairs)),
    }


def _undirected(label: str) -> str:
    return label.partition("(")[0]


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def _harmonic(precision: float, recall: float) -> float:
    return _ratio(2.0 * precision * recall, precision + recall)
