"""Reads the specification of a source, such as `jsonl:/data/*.jsonl.gz#body`, and opens it.

In: text files, JSON lines, Wikipedia dumps, TensorFlow Datasets. Out: documents.
"""

import difflib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping

from spanbert_jax.corpus.documents import Document, Reading, Source, clean_document, read_source
from spanbert_jax.corpus.json_lines import JsonLinesSource
from spanbert_jax.corpus.paths import PACKAGE, find_files
from spanbert_jax.corpus.plain_text import TextSource
from spanbert_jax.corpus.tfds import TfdsSource, default_data_dir
from spanbert_jax.corpus.wikipedia import WikipediaSource
from spanbert_jax.errors import UserError, storage_error


def _text(spec: str, place: str) -> Source:
    return TextSource(spec, find_files(place, spec=spec))


def _text_files(spec: str, place: str) -> Source:
    return TextSource(spec, find_files(place, spec=spec), document_per_file=True)


def _json_lines(spec: str, place: str) -> Source:
    pattern, _, field = place.partition("#")
    return JsonLinesSource(spec, find_files(pattern, spec=spec), field or "text")


def _wikipedia(spec: str, place: str) -> Source:
    return WikipediaSource(spec, find_files(place, spec=spec))


def _tfds(spec: str, place: str) -> Source:
    dataset, _, field = place.partition("#")
    name, _, split = dataset.partition("@")
    return TfdsSource(spec, name, split or "train", field or "text", default_data_dir())


KINDS: dict[str, Callable[[str, str], Source]] = {
    "text": _text,
    "text-files": _text_files,
    "jsonl": _json_lines,
    "wikipedia": _wikipedia,
    "tfds": _tfds,
}


def find_source(spec: str) -> Source:
    """The source that `spec` names, its files found; nothing is read yet.

    Raises `UserError` for an unknown kind, and where no file matches.
    """
    kind, colon, place = spec.partition(":")
    if kind not in KINDS or not colon or not place:
        nearest = difflib.get_close_matches(kind, KINDS, n=1)
        hint = f"perhaps you meant {nearest[0]}:{place}" if nearest else "for instance text:*.txt"
        raise UserError(
            f"--source {spec}: must be KIND:PLACE with one of the kinds {', '.join(KINDS)}; {hint}"
        )
    return KINDS[kind](spec, place)


def inputs_at_hand(specs: Iterable[str], *, recorded: Mapping[str, int]) -> dict[str, int]:
    """Files, with sizes in bytes, that the sources name here and now; those not there are silent.

    Nothing is downloaded, so a dataset of tfds is not looked at. Of an installed package only the
    files in `recorded` count: it lies elsewhere on another machine.
    """
    found: dict[str, int] = {}
    for spec in specs:
        if spec.startswith("tfds:"):
            continue
        try:
            inputs = find_source(spec).inputs
        except Exception as error:
            if not isinstance(error, UserError | OSError) and storage_error(error) is None:
                raise
            continue
        found |= {
            name: size
            for name, size in inputs
            if name in recorded or not spec.partition(":")[2].startswith(PACKAGE)
        }
    return found


def open_source(spec: str) -> Iterator[Document]:
    """Cleaned documents of a source, in order, one at a time."""
    return (clean_document(raw, Counter()) for raw in read_source(find_source(spec), Reading()))
