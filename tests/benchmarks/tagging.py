"""How fast one core turns raw text into shards with tagged entities.

    python tests/benchmarks/tagging.py [MODEL [TEXT_FILE ...]]

Prints one JSON line: megabytes of raw text per second of CPU time, the loading of spaCy included,
with a SentencePiece tokenizer of 4,000 entries that is trained before the clock starts. MODEL is a
spaCy pipeline; `rules`, the default, makes one that finds a few names.
"""

import dataclasses
import json
import sys
import tempfile
import time
from pathlib import Path

import spacy

from spanbert_jax.config import PrepareConfig
from spanbert_jax.corpus.prepare import prepare
from spanbert_jax.corpus.progress import SilentProgress

CORPUS = Path(__file__).resolve().parents[3] / "shared" / "corpus"
DEFAULT_FILES = ("litbank_books_00.txt", "lee_news_00.txt")
NAMES = ("America", "Congress", "London", "New York", "United States", "Mr. Micawber")


def save_rules(folder: Path) -> str:
    """A pipeline of rules, written without a download."""
    pipeline = spacy.blank("en")
    patterns = [{"label": "NAME", "pattern": name} for name in NAMES]
    pipeline.add_pipe("entity_ruler").add_patterns(patterns)
    pipeline.to_disk(folder)
    return str(folder)


def measure(model: str, source: tuple[str, ...], folder: Path) -> dict[str, object]:
    plain = PrepareConfig(
        source=source, out=str(folder / "plain"), vocab_size=4_000, tokenizer_sample_mb=4.0,
        num_workers=1,
    )  # fmt: skip
    file = prepare(plain, progress=SilentProgress()).tokenizer.file
    tagged = dataclasses.replace(
        plain, out=str(folder / "tagged"), tokenizer=str(folder / "plain" / file),
        tag="spacy:ents", tag_model=model,
    )  # fmt: skip
    began = time.process_time()
    manifest = prepare(tagged, progress=SilentProgress())
    seconds = time.process_time() - began
    megabytes = manifest.counts["text bytes"] / 1e6
    return {
        "benchmark": "tagging",
        "pipeline": manifest.options["tag_model"],
        "text_mb": round(megabytes, 2),
        "spans": manifest.totals["train"]["num_spans"],
        "cpu_seconds": round(seconds, 2),
        "mb_per_cpu_second": round(megabytes / seconds, 3),
    }


def main() -> None:
    model, *files = sys.argv[1:] or ["rules"]
    files = files or [str(CORPUS / name) for name in DEFAULT_FILES]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = save_rules(folder / "rules") if model == "rules" else model
        print(json.dumps(measure(model, tuple(f"text:{file}" for file in files), folder)))


if __name__ == "__main__":
    main()
