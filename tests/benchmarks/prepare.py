"""How fast one core turns raw text into shards, sentence splitting and writing included.

    python tests/benchmarks/prepare.py [TEXT_FILE ...]

Prints one JSON line per tokenizer: megabytes of raw text per second of CPU time (this process and
its children), with a tokenizer of 8,000 entries that is trained before the clock starts.
"""

import dataclasses
import json
import resource
import sys
import tempfile
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


def measure(kind: str, source: tuple[str, ...], folder: Path) -> dict[str, object]:
    """One row: train the tokenizer on 4 MB, then time `prepare` alone."""
    trained = PrepareConfig(
        source=source, out=str(folder / "first"), tokenizer=kind, vocab_size=8_000,
        tokenizer_sample_mb=4.0, num_workers=1,
    )  # fmt: skip
    file = prepare(trained, progress=SilentProgress()).tokenizer.file
    timed = dataclasses.replace(
        trained, out=str(folder / "timed"), tokenizer=str(folder / "first" / file)
    )
    began = cpu_seconds()
    manifest = prepare(timed, progress=SilentProgress())
    seconds = cpu_seconds() - began
    megabytes = manifest.counts["text bytes"] / 1e6
    return {
        "benchmark": "prepare",
        "tokenizer": f"{kind} 8k",
        "text_mb": round(megabytes, 2),
        "tokens": manifest.totals["train"]["num_tokens"],
        "cpu_seconds": round(seconds, 2),
        "mb_per_cpu_second": round(megabytes / seconds, 2),
    }


def main() -> None:
    files = sys.argv[1:] or [str(CORPUS / name) for name in DEFAULT_FILES]
    source = tuple(f"text:{file}" for file in files)
    for kind in ("sentencepiece", "wordpiece"):
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(measure(kind, source, Path(folder))), flush=True)


if __name__ == "__main__":
    main()
