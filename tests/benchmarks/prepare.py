"""How fast text becomes shards, sentence splitting and writing included, and in how much memory.

    python tests/benchmarks/prepare.py [TEXT_FILE ...]
    python tests/benchmarks/prepare.py --gigabyte [--megabytes 1000] [TEXT_FILE ...]

The first prints a JSON line for each tokenizer, and one with near duplicates looked for: megabytes
of raw text per second of CPU time (this process and its children), with a tokenizer of 8,000
entries that is trained before the clock starts. The second repeats the text, with words changed, up
to that many megabytes, and prints a line for 1 and for 2 processes: megabytes per second of wall
time, CPU time, and the most memory that all processes held together.
"""

import argparse
import dataclasses
import json
import os
import random
import resource
import tempfile
import threading
import time
from pathlib import Path

from spanbert_jax.config import PrepareConfig
from spanbert_jax.corpus.prepare import prepare
from spanbert_jax.corpus.progress import SilentProgress

CORPUS = Path(__file__).resolve().parents[3] / "shared" / "corpus"
DEFAULT_FILES = ("litbank_books_00.txt", "sotu_01.txt", "lee_news_00.txt", "jargon_00.txt")


def cpu_seconds() -> float:
    usages = (
        resource.getrusage(resource.RUSAGE_SELF),
        resource.getrusage(resource.RUSAGE_CHILDREN),
    )
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def with_tokenizer(kind: str, source: tuple[str, ...], folder: Path) -> PrepareConfig:
    """Train a tokenizer on 4 MB; what is timed loads it."""
    trained = PrepareConfig(
        source=source, out=str(folder / "first"), tokenizer=kind, vocab_size=8_000,
        tokenizer_sample_mb=4.0, num_workers=1,
    )  # fmt: skip
    file = prepare(trained, progress=SilentProgress()).tokenizer.file
    return dataclasses.replace(
        trained, out=str(folder / "timed"), tokenizer=str(folder / "first" / file)
    )


def measure(kind: str, source: tuple[str, ...], folder: Path, **values) -> dict[str, object]:
    """One row: seconds of CPU time of `prepare` alone."""
    timed = dataclasses.replace(with_tokenizer(kind, source, folder), **values)
    began = cpu_seconds()
    manifest = prepare(timed, progress=SilentProgress())
    seconds = cpu_seconds() - began
    megabytes = manifest.counts["text bytes"] / 1e6
    return {
        "benchmark": "prepare",
        "tokenizer": f"{kind} 8k",
        **values,
        "text_mb": round(megabytes, 2),
        "tokens": manifest.totals["train"]["num_tokens"],
        "cpu_seconds": round(seconds, 2),
        "mb_per_cpu_second": round(megabytes / seconds, 2),
    }


class Memory:
    """The most memory that this process and its children held together, looked at all the time."""

    def __enter__(self) -> "Memory":
        self.peak, self._done = 0, threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._done.wait(0.05):
            self.peak = max(self.peak, sum(map(_proportional_bytes, _family(os.getpid()))))

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()


def _family(process: int) -> list[int]:
    children = [
        int(child)
        for task in Path(f"/proc/{process}/task").glob("*/children")
        for child in task.read_text().split()
    ]
    return [process, *(each for child in children for each in _family(child))]


def _proportional_bytes(process: int) -> int:
    """Resident memory, what is shared counted once over all who share it."""
    try:
        text = Path(f"/proc/{process}/smaps_rollup").read_text()
    except OSError:
        return 0
    return 1024 * int(text.partition("\nPss:")[2].split()[0])


def repeat_with_changes(files: list[str], folder: Path, *, megabytes: int) -> tuple[str, ...]:
    """The text again and again, in each document some words changed, so that none is a copy."""
    documents = [d for file in files for d in Path(file).read_text().split("\n\n") if d.strip()]
    draw = random.Random(0)
    size = number = 0
    while size < megabytes * 1e6:
        with (folder / f"part{number:03d}.txt").open("w") as out:
            for document in documents:
                words = document.split(" ")
                for _ in range(1 + len(words) // 200):
                    words[draw.randrange(len(words))] = f"changed{draw.randrange(10**6)}"
                size += out.write(" ".join(words) + "\n\n")
                if size >= megabytes * 1e6:
                    break
        number += 1
    return (f"text:{folder}/part*.txt",)


def measure_large(files: list[str], folder: Path, *, megabytes: int) -> None:
    """A row for one process and one for two, of the same text."""
    (folder / "text").mkdir()
    source = repeat_with_changes(files, folder / "text", megabytes=megabytes)
    config = with_tokenizer("sentencepiece", tuple(f"text:{file}" for file in files), folder)
    for workers in (1, 2):
        timed = dataclasses.replace(
            config, source=source, out=str(folder / f"by{workers}"), num_workers=workers
        )
        began, cpu_began = time.monotonic(), cpu_seconds()
        with Memory() as memory:
            manifest = prepare(timed, progress=SilentProgress())
        seconds = time.monotonic() - began
        row = {
            "benchmark": "prepare a large corpus", "processes": workers,
            "text_mb": round(manifest.counts["text bytes"] / 1e6), "seconds": round(seconds, 1),
            "mb_per_second": round(manifest.counts["text bytes"] / 1e6 / seconds, 2),
            "cpu_seconds": round(cpu_seconds() - cpu_began, 1),
            "peak_memory_mb": round(memory.peak / 1e6),
        }  # fmt: skip
        print(json.dumps(row), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("files", nargs="*", help="text files; by default a part of the corpus")
    parser.add_argument("--gigabyte", action="store_true", help="repeat the text to a gigabyte")
    parser.add_argument("--megabytes", type=int, default=1_000, help="or to so many megabytes")
    arguments = parser.parse_args()
    files = arguments.files or [str(CORPUS / name) for name in DEFAULT_FILES]
    if arguments.gigabyte:
        with tempfile.TemporaryDirectory() as folder:
            measure_large(files, Path(folder), megabytes=arguments.megabytes)
        return
    source = tuple(f"text:{file}" for file in files)
    rows = ({}, "sentencepiece"), ({}, "wordpiece"), ({"near_duplicates": 0.8}, "sentencepiece")
    for values, kind in rows:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(measure(kind, source, Path(folder), **values)), flush=True)


if __name__ == "__main__":
    main()
