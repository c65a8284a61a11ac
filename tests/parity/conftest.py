"""Tests against PyTorch and Transformers, from the extra `parity`.

Tiny models and tokenizers of every kind, exported; hidden states as our model computes them.
"""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from spanbert_jax.config import (
    ComputeConfig,
    DataConfig,
    ModelConfig,
    PrepareConfig,
    PretrainConfig,
)
from spanbert_jax.config.json import to_tree
from spanbert_jax.corpus.tokenizers import Tokenizer, load_tokenizer, train_tokenizer
from spanbert_jax.data.batch import PretrainBatch, empty_batch
from spanbert_jax.model.pretraining import SpanBert
from spanbert_jax.training.objective import model_inputs
from spanbert_jax.training.saved_run import LoadedRun
from spanbert_jax.weights.exporting import export_run
from spanbert_jax.weights.model_card import Card
from spanbert_jax.weights.parameters import nest, parameter_shapes

# Triton, which PyTorch imports where it is installed, crashes the process that has TensorFlow in it
# already: both bring an LLVM. None makes it look absent; on CPUs nothing needs it.
sys.modules.setdefault("triton", None)  # type: ignore[arg-type]

# What is tested beside these needs neither: `pytest` without the extra leaves this folder out.
if importlib.util.find_spec("torch") is None:
    collect_ignore_glob = ["test_*.py"]

LENGTH, NUM_REAL = 16, (16, 11)
TEXTS = [
    "The city of Athens is the capital of Greece, and its largest city.",
    "Playing and played, the players play: they were playing with what they had played.",
    "Naïve café owners walked through the forest until the path ended at a quiet lake.",
    "She said that the weather would be better tomorrow than it was today.",
    "In 1854 the river rose by 12 feet; the old bridge was swept away (again).",
    "Every morning the baker lights the oven, kneads the dough and opens the wooden shutters.",
    "Scientists measured the temperature of the water at several depths during the winter.",
    "  Two  spaces, 3.14 (e-mail@example.com) and 東京 🙂!  ",
]


class Outputs(NamedTuple):
    """What a model says of a batch."""

    hidden: list[np.ndarray]
    """Of the embeddings and of every layer."""
    mlm: np.ndarray
    """At every position."""
    next_sentence: np.ndarray | None


@pytest.fixture
def texts() -> list[str]:
    return TEXTS


@pytest.fixture
def tokenizer(tmp_path, train_byte_level) -> Callable[..., Tokenizer]:
    """A tokenizer of some kind, trained on the texts."""

    def make(kind: str) -> Tokenizer:
        if kind == "byte-level":
            return load_tokenizer(train_byte_level(tmp_path, TEXTS * 3, vocab_size=320))
        family, _, variant = kind.partition(" ")
        options = {"sentencepiece_type": variant} if family == "sentencepiece" else {}
        config = PrepareConfig(
            tokenizer=family, vocab_size=130, lowercase=variant == "lowercase", **options
        )
        return train_tokenizer(config, iter(TEXTS * 5))

    return make


@pytest.fixture
def make_model() -> Callable[..., ModelConfig]:
    def make(tokenizer: Tokenizer, **values: object) -> ModelConfig:
        return ModelConfig(
            vocab_size=tokenizer.vocab_size, hidden_size=32, num_layers=3, num_heads=4,
            mlp_size=64, max_positions=24, boundary_offset_size=6, max_boundary_offsets=4, **values,
        )  # fmt: skip

    return make


@pytest.fixture
def exported(tmp_path) -> Callable[[ModelConfig, Tokenizer], tuple[Path, dict]]:
    """The folder of a random model as Transformers loads it, and our parameters."""

    def export(model: ModelConfig, tokenizer: Tokenizer) -> tuple[Path, dict]:
        rng = np.random.default_rng(0)
        params = nest(
            {
                # Large, so that errors show.
                path: 0.2 * rng.standard_normal(shape, "f4") + ("scale" in path)
                for path, shape in parameter_shapes(model).items()
            }
        )
        blocks = "sentence_pair" if model.next_sentence_head else "document"
        data = DataConfig(sequence_length=LENGTH, blocks=blocks)
        config = PretrainConfig(model=model, data=data)
        run = LoadedRun(to_tree(config), params, 3, tokenizer.fingerprint, config.model)
        export_run(tmp_path / "exported", run, tokenizer, card=Card("tiny"))
        return tmp_path / "exported", params

    return export


@pytest.fixture
def random_batch() -> Callable[[ModelConfig], PretrainBatch]:
    """Two rows of ordinary tokens, in two segments where there are some; the second is padded."""

    def draw(model: ModelConfig) -> PretrainBatch:
        rng = np.random.default_rng(1)
        rows = len(NUM_REAL)
        documents = np.arange(LENGTH) < np.array(NUM_REAL)[:, None]
        tokens = rng.integers(5, model.vocab_size, (rows, LENGTH)) * documents
        segments = np.tile(np.arange(LENGTH) >= 6, (rows, 1)) * (model.num_segments > 1)
        positions = np.tile(np.arange(LENGTH), (rows, 1))
        fields = {
            "token_ids": tokens, "segment_ids": segments, "document_ids": documents,
            "position_ids": positions, "masked_positions": positions,
        }  # fmt: skip
        return empty_batch(rows, LENGTH, LENGTH)._replace(
            **{name: array.astype(np.int32) for name, array in fields.items()}
        )

    return draw


@pytest.fixture
def our_outputs() -> Callable[..., Outputs]:
    def compute(model: ModelConfig, params: dict, batch: PretrainBatch) -> Outputs:
        network = SpanBert(model, ComputeConfig(dtype="float32"))
        arrays, inputs = jax.tree.map(jnp.asarray, (params, model_inputs(batch)))
        logits, sown = network.apply({"params": arrays}, **inputs, mutable=["intermediates"])
        hidden = sown["intermediates"]["encoder"]["hidden_states"]
        return jax.device_get(Outputs(list(hidden), logits.mlm, logits.next_sentence))

    return compute
