"""Reads sentences with tags. In: columns as CoNLL's, or JSON lines. Out: `TaggedSentence`s."""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from spanbert_jax.config.tasks.tagging import TaggingConfig
from spanbert_jax.corpus.json_lines import characters, parse_object
from spanbert_jax.errors import UserError
from spanbert_jax.tasks.tagging.schemes import detect, num_strays, read_tag, to_bio
from spanbert_jax.tasks.tagging.sentence import TaggedSentence, words_of
from spanbert_jax.tasks.text_files import read_lines

DOCUMENT_START = "-DOCSTART-"
_SPACES = re.compile(" +")
_EXAMPLE = '{"tokens": [...], "tags": [...]}'


class Read(NamedTuple):
    """Sentences with their tags in BIO, and what is to be said of them."""

    sentences: list[TaggedSentence]
    notes: list[str]


def read_sentences(path: str, config: TaggingConfig) -> Read:
    """All sentences of a file.

    Raises:
        UserError: a line is malformed; names file, line and reason.
    """
    name = path.lower().removesuffix(".gz").removesuffix(".bz2")
    is_json = name.endswith((".jsonl", ".json", ".ndjson"))
    form = config.form if config.form != "auto" else "jsonl" if is_json else "columns"
    read = _json_sentences if form == "jsonl" else _column_sentences
    sentences = list(read(path, config))
    tagged = [sentence.tags for sentence in sentences if sentence.tags is not None]
    scheme = config.scheme if config.scheme != "detect" else detect(tagged)
    in_bio = [
        sentence._replace(tags=None if sentence.tags is None else tuple(to_bio(sentence.tags)))
        for sentence in sentences
    ]
    return Read(in_bio, _notes(scheme, tagged))


def _notes(scheme: str, tagged: Sequence[Sequence[str]]) -> list[str]:
    if scheme == "io":
        return ["tags are IO, read as BIO: neighbours of one type are one entity"]
    if scheme != "bio":
        return [f"tags are {scheme.upper()}, read as BIO"]
    strays = num_strays(tagged)
    return [f"{strays} tags I- begin an entity, read as B-"] if strays else []


def _json_sentences(path: str, config: TaggingConfig) -> Iterator[TaggedSentence]:
    for number, line in read_lines(path):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        record = parse_object(line, where=where, remedy="mend the line", example=_EXAMPLE)
        words, tags = words_of(record.get("tokens"), where=where), record.get("tags")
        if tags is None:
            yield TaggedSentence(words, None, where)
            continue
        if (
            not isinstance(tags, list)
            or len(tags) != len(words)
            or not all(isinstance(tag, str) for tag in tags)
        ):
            raise UserError(
                f"{where}: tags must be a list of {len(words)} tags, one a word, found "
                f"{tags!r:.80}; mend the line"
            )
        characters(" ".join(tags), what="a tag", where=where)
        read = (read_tag(tag, scheme=config.scheme, where=where) for tag in tags)
        yield TaggedSentence(words, tuple(read), where)


def _column_sentences(path: str, config: TaggingConfig) -> Iterator[TaggedSentence]:
    """Sentences of lines "word ... tag", divided by tabs where a line has one, else by spaces."""
    words: list[str] = []
    tags: list[str] = []
    start, width = 0, 0
    for number, line in [*read_lines(path), (0, "")]:
        where = f"{path}:{number}"
        fields = _fields(line)
        if not fields or fields[0] == DOCUMENT_START:
            if words:
                known = tuple(tags) if tags else None
                yield TaggedSentence(tuple(words), known, f"{path}:{start}")
            words, tags = [], []
            continue
        width = width or _checked_width(len(fields), config, where)
        if len(fields) != width:
            raise UserError(
                f"{where}: must have {width} columns as the lines before, found {len(fields)} in "
                f"{line!r:.80}; mend the line"
            )
        start = start if words else number
        words.append(_word(fields[config.token_column], where))
        if width > 1:
            tags.append(read_tag(fields[config.tag_column], scheme=config.scheme, where=where))


def _fields(line: str) -> list[str]:
    """Columns of a line; none where it is blank. Words may hold white space of other kinds, such
    as spaces that do not break."""
    if not line.strip():
        return []
    if "\t" in line:
        return [field.strip(" ") for field in line.split("\t")]
    return _SPACES.split(line.strip(" "))


def _checked_width(width: int, config: TaggingConfig, where: str) -> int:
    """The number of columns: of one alone, there are no tags."""
    for flag, column in (("token", config.token_column), ("tag", config.tag_column)):
        if not -width <= column < width and (width > 1 or flag == "token"):
            raise UserError(
                f"{where}: --task.{flag}-column {column} must be one of {width} columns, 0 to "
                f"{width - 1}; name the column of the {flag}s"
            )
    return width


def _word(word: str, where: str) -> str:
    if not word:
        raise UserError(f"{where}: a line must hold a word, found an empty column; mend the line")
    return word
