"""Predicted relations as a file: a line an example, `id<tab>relation`, or the relation alone."""

from collections.abc import Sequence

from spanbert_jax.config.files import nearest
from spanbert_jax.errors import UserError
from spanbert_jax.tasks.relation.example import RelationExample
from spanbert_jax.tasks.text_files import read_lines


def lines_with_ids(examples: Sequence[RelationExample], relations: Sequence[str]) -> str:
    pairs = zip(examples, relations, strict=True)
    return "".join(f"{example.id}\t{relation}\n" for example, relation in pairs)


def read_predictions(
    path: str, examples: Sequence[RelationExample], *, known: Sequence[str]
) -> list[str]:
    """The relation predicted for each example, in their order.

    known: the relations that there are; any other one is a slip, which would count as a mistake.

    What belongs to another data set is seen by the ids, where lines have them. Those of SemEval are
    running numbers, and lines of a relation alone, the official form of TACRED, have none: of
    another data set of the same size and the same relations they are not told apart.

    Raises:
        UserError: another number of lines than of examples, another id, or an unknown relation.
    """
    lines = [(number, line) for number, line in read_lines(path) if line.strip()]
    if len(lines) != len(examples):
        raise UserError(
            f"{path}: must predict a relation for each of {len(examples)} examples, found "
            f"{len(lines)} lines; name the predictions of this data set"
        )
    relations = []
    for (number, line), example in zip(lines, examples, strict=True):
        id, tab, relation = line.partition("\t")
        if tab and id != example.id:
            raise UserError(
                f"{path}:{number}: must predict for the example with id {example.id}, found id "
                f"{id}; name the predictions of this data set, in its order"
            )
        relations.append(_known((relation if tab else line).strip(), known, f"{path}:{number}"))
    return relations


def _known(relation: str, known: Sequence[str], where: str) -> str:
    if relation in known:
        return relation
    close = nearest(relation, list(known))
    raise UserError(
        f"{where}: must predict a relation of the data or of the training data, found "
        f"{relation!r:.80}; "
        + (f"the nearest one is {close}" if close else f"they are {', '.join(known)}")
    )
