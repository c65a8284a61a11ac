"""Plain text: documents between blank lines, or one document a file."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from etils import epath

from spanbert_jax.corpus.documents import Input, Part, RawDocument, Reading
from spanbert_jax.corpus.paths import file_inputs, read_lines


@dataclass(frozen=True)
class TextSource:
    """A line is a paragraph; a blank line, or the end of the file, ends a document."""

    spec: str
    files: tuple[epath.Path, ...]
    document_per_file: bool = False
    """Blank lines do not end a document."""

    @cached_property
    def inputs(self) -> list[Input]:
        return file_inputs(self.files)

    @property
    def parts(self) -> list[Part]:
        return [Part(index) for index in range(len(self.files))]

    def read_part(self, part: Part, reading: Reading) -> Iterator[RawDocument]:
        path = self.files[part.input]
        lines: list[str] = []
        first = 1
        for number, line in read_lines(path, reading):
            blank = not line or line.isspace()
            if not blank:
                first = first if lines else number
                lines.append(line)
            elif lines and not self.document_per_file:
                yield RawDocument("\n".join(lines), f"{path}:{first}", "plain")
                lines = []
        if lines:
            yield RawDocument("\n".join(lines), f"{path}:{first}", "plain")
