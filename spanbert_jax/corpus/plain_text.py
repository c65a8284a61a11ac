"""Plain text: documents between blank lines, or one document a file."""

from collections.abc import Iterator
from dataclasses import dataclass

from etils import epath

from spanbert_jax.corpus.documents import Input, RawDocument, Reading
from spanbert_jax.corpus.paths import file_inputs, read_lines


@dataclass(frozen=True)
class TextSource:
    """A line is a paragraph; a blank line, or the end of the file, ends a document."""

    spec: str
    files: tuple[epath.Path, ...]
    document_per_file: bool = False
    """Blank lines do not end a document."""

    @property
    def inputs(self) -> list[Input]:
        return file_inputs(self.files)

    def read(self, reading: Reading) -> Iterator[RawDocument]:
        for path in self.files:
            yield from self._read_file(path, reading)

    def _read_file(self, path: epath.Path, reading: Reading) -> Iterator[RawDocument]:
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
