"""Predicted tags as a file that conlleval reads: word, gold tag where it is known, predicted tag,
a blank line after each sentence."""

from collections.abc import Iterable, Sequence

from spanbert_jax.errors import UserError
from spanbert_jax.tasks.tagging.entities import split_tag
from spanbert_jax.tasks.tagging.schemes import read_tag, to_bio
from spanbert_jax.tasks.tagging.sentence import TaggedSentence
from spanbert_jax.tasks.text_files import read_lines


def prediction_lines(
    sentences: Sequence[TaggedSentence], predicted: Sequence[Sequence[str]]
) -> str:
    lines = []
    for sentence, tags in zip(sentences, predicted, strict=True):
        columns = [sentence.words, sentence.tags, tags]
        columns_in_one = (map(_in_one_column, each) for each in columns if each is not None)
        rows = zip(*columns_in_one, strict=True)
        lines += [*map(" ".join, rows), ""]
    return "".join(f"{line}\n" for line in lines)


def read_predictions(
    path: str, sentences: Sequence[TaggedSentence], *, types: Iterable[str]
) -> list[list[str]]:
    """The tags predicted for each sentence, in BIO: the last column of the file.

    types: those of the data, as they are spelled there: a column has creative_work for the type
        "creative work".

    Raises:
        UserError: the file is of another data set: other words, or fewer or more.
    """
    lines = [(number, line.split()) for number, line in read_lines(path) if line.strip()]
    expected = sum(len(sentence.words) for sentence in sentences)
    if len(lines) != expected:
        raise UserError(
            f"{path}: must predict a tag for each of {expected} words, found {len(lines)} lines; "
            "name the predictions of this data set"
        )
    spelled = {_in_one_column(kind): kind for kind in types}
    rest, predicted = iter(lines), []
    for sentence in sentences:
        tags = []
        for word in map(_in_one_column, sentence.words):
            number, columns = next(rest)
            if columns[0] != word or len(columns) < 2:
                raise UserError(
                    f"{path}:{number}: must predict a tag for the word {word!r} of "
                    f"{sentence.where}, found {' '.join(columns)!r:.80}; name the predictions of "
                    "this data set, in its order"
                )
            tag = read_tag(columns[-1], scheme="detect", where=f"{path}:{number}")
            state, kind = split_tag(tag)
            tags.append(f"{state}-{spelled.get(kind, kind)}" if kind else tag)
        predicted.append(to_bio(tags))
    return predicted


def _in_one_column(text: str) -> str:
    """Words and tags may hold spaces where they came from JSON; columns are divided by them.

    "B-creative work" -> "B-creative_work"
    """
    return "_".join(text.split()) or "_"
