"""The quickstart from end to end, on its real text, with a smaller model and fewer steps."""

import json
import math
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from spanbert_jax.__main__ import main
from spanbert_jax.corpus.shards import read_manifest, verify_shards
from spanbert_jax.data.host_tensorflow import tf
from spanbert_jax.training.saved_run import load_run

CONFIG = Path(__file__).resolve().parents[1] / "configs" / "quickstart.py"
NUM_STEPS = 40
SMALLER = {
    "--model.hidden-size": 16,
    "--model.num-layers": 1,
    "--model.num-heads": 2,
    "--model.mlp-size": 32,
    "--model.boundary-offset-size": 8,
    "--data.sequence-length": 32,
    "--data.batch-size": 8,
    "--optimizer.learning-rate": 1e-2,
    "--optimizer.warmup-steps": 4,
    "--training.num-steps": NUM_STEPS,
    "--training.eval-every": 20,
    "--training.eval-batches": 2,
    "--checkpoint.every-steps": 20,
    "--prepare.vocab-size": 500,
    "--prepare.tokenizer-sample-mb": 0.3,
    "--prepare.num-workers": 1,
}
SENTENCE = "The capital of France is [MASK] [MASK] ."


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("quickstart")


@pytest.fixture(scope="module")
def said(folder: Path) -> str:
    """What the command says on its way, in a process of its own with one device."""
    xla_flags = "--xla_force_host_platform_device_count=1 --xla_backend_optimization_level=0"
    flags = [str(word) for flag in SMALLER.items() for word in flag]
    done = subprocess.run(
        [sys.executable, "-m", "spanbert_jax", "pretrain", str(CONFIG), *flags], cwd=folder,
        env=os.environ | {"XLA_FLAGS": xla_flags},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.fixture
def run(said: str, folder: Path) -> Path:
    return folder / "runs" / "quickstart"


def metrics(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_it_prepares_the_articles_of_a_real_dump(run):
    manifest = read_manifest(run / "shards")
    verify_shards(run / "shards", manifest)
    assert manifest.tokenizer.vocab_size == 500
    assert manifest.counts["documents"] == 106
    train, held_out = (manifest.totals[split] for split in ("train", "held_out"))
    assert train["num_documents"] + held_out["num_documents"] == 106
    assert held_out["num_documents"] >= 5
    assert train["num_tokens"] > 500_000


def test_held_out_losses_of_both_objectives_fall(run):
    records = metrics(run)
    losses = [value for each in records for name, value in each.items() if "loss" in name]
    assert losses and all(math.isfinite(loss) for loss in losses)
    held_out = {each["step"]: each for each in records if "held_out_loss" in each}
    assert list(held_out) == [0, 20, NUM_STEPS]
    for name in ("held_out_mlm_loss", "held_out_sbo_loss"):
        assert held_out[0][name] == pytest.approx(math.log(500), rel=0.05)
        # A unigram guess alone gains more than half a nat.
        assert held_out[NUM_STEPS][name] < held_out[0][name] - 0.5


def test_it_shows_the_losses_on_its_way(run, said):
    for step in (0, 20, NUM_STEPS):
        line = rf"^held out at step {step}/{NUM_STEPS} · loss [\d.]+ · MLM [\d.]+ .* · SBO [\d.]+"
        assert re.search(line, said, re.M)
    assert re.search(rf"^step 20/{NUM_STEPS} · loss .* tokens/s", said, re.M)


def test_it_keeps_checkpoints_and_what_they_need(run):
    assert sorted(int(path.name) for path in (run / "checkpoints").iterdir()) == [20, NUM_STEPS]
    loaded = load_run(run)
    assert loaded.step == NUM_STEPS
    assert loaded.config.model.vocab_size == 500
    assert (run / "tokenizer" / "tokenizer.model").is_file()


def test_it_fills_in_its_sentence(run, said):
    shown = said[said.index(f"\n{SENTENCE}\n") :].splitlines()
    assert shown[2].startswith("-> The capital of France is ")
    assert "[MASK]" not in shown[2]
    (spans,) = (line for line in shown if line.startswith(" span "))
    assert len(re.findall(r"[\d.]+%", spans)) == 3
    assert [line.split("%")[0].split()[:2] for line in shown if line.startswith(" token ")] == [
        ["token", "1"], ["token", "2"]
    ]  # fmt: skip


class Loaded(HTMLParser):
    """Collects what a browser would load for a page."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag, attributes):
        sources = ("src", "href", "xlink:href", "srcset", "data", "poster")
        self.addresses += [value for name, value in attributes if name in sources]


def test_the_report_opens_by_itself(run, said):
    assert f"curves: {run.relative_to(run.parents[1])}/report.html" in said
    page = (run / "report.html").read_text()
    assert "[MASK] [MASK]" in page
    loaded = Loaded()
    loaded.feed(page)
    assert "<svg" in page or any(each.startswith("data:image") for each in loaded.addresses)
    assert [each for each in loaded.addresses if not each.startswith(("data:", "#"))] == []
    assert not re.search(r"@import|url\(\s*['\"]?(?!data:|#)", page)


def test_tensorboard_files_hold_the_same_numbers(run):
    events: dict[tuple[str, int], float] = {}
    for path in (run / "tensorboard").iterdir():
        for content in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            event = tf.compat.v1.Event.FromString(content)
            for value in event.summary.value:
                events[value.tag, event.step] = value.simple_value
    expected = metrics(run)
    for record in expected:
        tag, name = ("loss/held_out", "held_out_loss")
        if "loss" in record:
            tag, name = ("loss/train", "loss")
        assert events[tag, record["step"]] == pytest.approx(record[name], rel=1e-6)
    assert sum(tag in ("loss/held_out", "loss/train") for tag, _ in events) == len(expected)


def test_predict_fills_in_other_sentences_as_json(run, capfd):
    texts = ["The city of [MASK] is old .", "He was born in [MASK] [MASK] ."]
    arguments = ["predict", "fill", "--checkpoint", str(run), "--json", "--top", "4", *texts]
    assert main(arguments) == 0
    out, err = capfd.readouterr()
    assert err == ""
    filled = [json.loads(line) for line in out.splitlines()]
    assert [each["text"] for each in filled] == texts
    assert [len(each["spans"][0]["tokens"]) for each in filled] == [1, 2]
    for each in filled:
        assert "[MASK]" not in each["filled"]
        for opinions in each["spans"][0]["tokens"]:
            for source in ("mlm", "span_boundary", "combined"):
                probabilities = [candidate["probability"] for candidate in opinions[source]]
                assert len(probabilities) == 4
                assert probabilities == sorted(probabilities, reverse=True)
                assert 0 < sum(probabilities) < 1


def test_predict_asks_an_earlier_checkpoint_too(run, capfd):
    arguments = ["predict", "fill", "--checkpoint", str(run), "--json", "He was born in [MASK] ."]
    answers = []
    for step in (20, NUM_STEPS):
        assert main([*arguments[:5], "--step", str(step), *arguments[5:]]) == 0
        answers.append(json.loads(capfd.readouterr().out))
    assert main(arguments) == 0
    assert json.loads(capfd.readouterr().out) == answers[1] != answers[0]
    assert main([*arguments[:5], "--step", "30", *arguments[5:]]) == 2
    assert "keeps, found those of 20, 40; use one of them" in capfd.readouterr().err
