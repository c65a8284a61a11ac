"""Predicted relations as a file: a line an example, `id<tab>relation`, or the relation alone."""

from collections.abc import Sequence

from spanbert_jax.errors import UserError
from spanbert_jax.tasks.relation.example import RelationExample
from spanbert_jax.tasks.text_files import read_lines


def lines_with_ids(examples: Sequence[RelationExample], relations: Sequence[str]) -> str:
    pairs = zip(examples, relations, strict=True)
    return "".join(f"{example.id}\t{relation}\n" for example, relation in pairs)


def read_predictions(path: str, examples: Sequence[RelationExample]) -> list[str]:
    """The relation predicted for each example, in their order.

    Raises:
        UserError: the file is of another data set: other ids, or another number of lines.
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
        relations.append((relation if tab else line).strip())
    return relations
