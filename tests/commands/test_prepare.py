"""`spanbert prepare` as its user sees it."""

import json
import subprocess
import sys

import pytest

from spanbert_jax.commands.prepare import run
from spanbert_jax.config import PrepareConfig
from spanbert_jax.corpus.shards import read_manifest, verify_shards

LINE = "The quick brown fox number {0} jumps over the lazy dog. It was {0} o'clock, they said."


@pytest.fixture
def config(tmp_path) -> PrepareConfig:
    documents = (LINE.format(number) for number in range(50))
    (tmp_path / "a.txt").write_text("\n\n".join(documents))
    return PrepareConfig(
        source=(f"text:{tmp_path}/a.txt",), out=str(tmp_path / "shards"), vocab_size=100,
        sentencepiece_type="bpe", held_out=0.1,
    )  # fmt: skip


def test_the_summary_says_what_was_made_what_was_left_out_and_what_comes_next(config, capsys):
    run(config)
    out, err = capsys.readouterr()
    manifest = read_manifest(config.out)
    verify_shards(config.out, manifest)
    train = manifest.totals["train"]
    assert "sentencepiece tokenizer of 100 entries" in out
    assert (
        f"next: spanbert pretrain configs/pretrain.py:spanbert_base --data.shards {config.out}"
        in out
    )
    assert "training a sentencepiece tokenizer on" in err
    assert "MB/s" in err
    *_, totals, held_out, read, left_out = err.splitlines()
    assert totals.startswith(
        f"train: {train['num_tokens']:,} tokens, {train['num_sentences']} sentences"
    )
    assert held_out.startswith("held_out: ")
    assert read.startswith("read: 50 documents")
    assert left_out == "left out: nothing"


def test_the_summary_counts_what_was_left_out(config, tmp_path, capsys):
    lines = [json.dumps({"text": text}) for text in ("", LINE)]
    (tmp_path / "b.jsonl").write_text("\n".join(lines))
    run(PrepareConfig(**vars(config) | {"source": (*config.source, f"jsonl:{tmp_path}/b.jsonl")}))
    assert "left out: 1 empty documents\n" in capsys.readouterr().err


def test_without_held_out_documents_it_says_that_training_cannot_be_evaluated(config, capsys):
    run(PrepareConfig(**vars(config) | {"held_out": 0.0}))
    assert "no document is held out" in capsys.readouterr().err


def test_preparing_text_imports_neither_jax_nor_tensorflow(config):
    program = (
        "import sys; from spanbert_jax.commands.prepare import run;"
        "from spanbert_jax.config import PrepareConfig;"
        f"run(PrepareConfig(**{vars(config)!r}));"
        "print(sorted({'tensorflow', 'jax', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("[]\n")
