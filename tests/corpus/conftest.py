"""Text for tests of preparing: documents that one can tell apart, in files of all sizes."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

WORDS = (
    "river mountain window garden letter winter summer bridge castle forest market kitchen engine "
    "doctor teacher village ocean island desert planet silver copper golden quiet narrow ancient "
    "carried opened followed answered walked noticed painted repaired visited reached the a of in"
).split()


def story(number: int, *, num_sentences: int = 8) -> str:
    """A document of its own for every number."""
    source = random.Random(number)
    sentences = (source.choices(WORDS, k=source.randint(5, 12)) for _ in range(num_sentences))
    return " ".join(f"{' '.join(words).capitalize()}." for words in sentences)


@pytest.fixture
def write_stories(tmp_path) -> Callable[..., list[Path]]:
    """Writes stories into files of so many each, with a blank line between."""

    def write(sizes: list[int], *, first: int = 0, folder: str = "text") -> list[Path]:
        (tmp_path / folder).mkdir(exist_ok=True)
        paths = []
        for index, size in enumerate(sizes):
            path = tmp_path / folder / f"{index:03d}.txt"
            path.write_text("\n\n".join(map(story, range(first, first + size))))
            first += size
            paths.append(path)
        return paths

    return write


@pytest.fixture
def folder_bytes() -> Callable[[Path], dict[str, bytes]]:
    """All files of a folder by name."""

    def read(folder: Path) -> dict[str, bytes]:
        files = (path for path in folder.rglob("*") if path.is_file())
        return {str(path.relative_to(folder)): path.read_bytes() for path in files}

    return read
