"""Wikipedia XML dumps (pages-articles), streamed page by page, compressed or not."""

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import IO

from etils import epath

from spanbert_jax.corpus.documents import Input, Part, RawDocument, Reading
from spanbert_jax.corpus.paths import damage_is_an_error, file_inputs, open_file
from spanbert_jax.errors import UserError


@dataclass(frozen=True)
class WikipediaSource:
    """Articles of dumps; redirects and pages of other namespaces are skipped and counted.

    Only the XML is read here. The markup is cleaned by the processes that tokenize.
    """

    spec: str
    files: tuple[epath.Path, ...]

    @cached_property
    def inputs(self) -> list[Input]:
        return file_inputs(self.files)

    @property
    def parts(self) -> list[Part]:
        return [Part(index) for index in range(len(self.files))]

    def read_part(self, part: Part, reading: Reading) -> Iterator[RawDocument]:
        path = self.files[part.input]
        try:
            with open_file(path, reading) as file, damage_is_an_error(path):
                yield from _articles(file, path, reading)
        except ElementTree.ParseError as error:
            raise UserError(
                f"{path}:{error.position[0]}: is not well-formed XML ({error}); "
                "download the dump again, or cut it behind a </page> and add </mediawiki>"
            ) from error


def _articles(file: IO[bytes], path: epath.Path, reading: Reading) -> Iterator[RawDocument]:
    events = iter(ElementTree.iterparse(file, events=("start", "end")))
    _, root = next(events)
    if _local_name(root) != "mediawiki":
        raise UserError(
            f"{path}:1: must begin with <mediawiki>, found <{_local_name(root)}>; "
            "name a pages-articles dump of Wikipedia"
        )
    for event, element in events:
        if event == "end" and _local_name(element) == "page":
            fields = {_local_name(child): child for child in element.iter()}
            if "redirect" in fields:
                reading.counts["wiki redirects"] += 1
            elif _text(fields, "ns").strip() not in ("", "0"):
                reading.counts["wiki pages that are no articles"] += 1
            else:
                where = f"{path}:{_text(fields, 'title')}"
                yield RawDocument(_text(fields, "text"), where, "wikitext")
            root.clear()  # else the whole dump gathers in memory


def _local_name(element: ElementTree.Element) -> str:
    """{http://www.mediawiki.org/xml/export-0.10/}page -> page."""
    return element.tag.rpartition("}")[2]


def _text(fields: dict[str, ElementTree.Element], name: str) -> str:
    return fields[name].text or "" if name in fields else ""
