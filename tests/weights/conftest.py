"""Tiny models and random parameters; foreign checkpoints of them; a run that holds one."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from spanbert_jax.config import DataConfig, ModelConfig, PretrainConfig
from spanbert_jax.corpus.tokenizers import SPECIAL_PIECES, Tokenizer, load_tokenizer
from spanbert_jax.training.checkpoint import Checkpoints, DataPosition
from spanbert_jax.weights.matching import tensors_from
from spanbert_jax.weights.model_config import export_config, exported_names
from spanbert_jax.weights.parameters import flatten, nest, parameter_shapes
from spanbert_jax.weights.tensors import write_safetensors

SIZES = {
    "vocab_size": 40, "hidden_size": 16, "num_layers": 2, "num_heads": 4, "mlp_size": 32,
    "max_positions": 12, "boundary_offset_size": 6, "max_boundary_offsets": 4,
}  # fmt: skip
PIECES = (*SPECIAL_PIECES, *"the cat sat on mat dog a ##s ##ing . , ! The Cat".split())


@pytest.fixture
def model() -> ModelConfig:
    return ModelConfig(**SIZES)


@pytest.fixture
def roberta() -> ModelConfig:
    """Its padding has id 1, as in every RoBERTa, and its vocabulary all bytes."""
    sizes = SIZES | {"vocab_size": 270}
    return ModelConfig(**sizes, position_offset=2, num_segments=0, pooler=True)


@pytest.fixture
def random_params() -> Callable[[ModelConfig], dict]:
    """Parameters of a model, all of them random."""

    def draw(model: ModelConfig) -> dict:
        rng = np.random.default_rng(0)
        shapes = parameter_shapes(model)
        return nest({path: rng.standard_normal(shape, "f4") for path, shape in shapes.items()})

    return draw


@pytest.fixture
def same() -> Callable[[Mapping, Mapping], bool]:
    """Whether two trees hold the same arrays, bit for bit."""

    def compare(left: Mapping, right: Mapping) -> bool:
        left, right = dict(flatten(left)), dict(flatten(right))
        return left.keys() == right.keys() and all(
            np.asarray(left[path]).tobytes() == np.asarray(right[path]).tobytes() for path in left
        )

    return compare


@pytest.fixture
def vocabulary(tmp_path) -> Callable[..., Path]:
    """A vocab.txt of 40 entries with capitals, or without."""

    def write(folder: Path, *, size: int = 40, cased: bool = True) -> Path:
        pieces = [piece for piece in PIECES if cased or piece in SPECIAL_PIECES or piece.islower()
                  or not piece.isalpha()]  # fmt: skip
        pieces += [f"x{number}" for number in range(size - len(pieces))]
        file = folder / "vocab.txt"
        file.write_text("\n".join(pieces[:size]) + "\n")
        return file

    return write


@pytest.fixture
def released(tmp_path, random_params, vocabulary, train_byte_level) -> Callable[..., Path]:
    """A folder as Hugging Face has them: config.json, model.safetensors and a vocabulary."""

    def write(model: ModelConfig, *, without: str = "", **changed: object) -> Path:
        folder = tmp_path / "released"
        folder.mkdir()
        padding = max(0, model.position_offset - 1)
        config = export_config(model, pad_id=padding, cls_id=0, sep_id=2) | changed
        (folder / "config.json").write_text(json.dumps(config))
        tensors = {
            name: array
            for name, array in tensors_from(
                random_params(model), names=exported_names(model), model=model
            ).items()
            if not without or without not in name
        }
        write_safetensors(folder / "model.safetensors", tensors, {"format": "pt"})
        if model.position_offset:
            train_byte_level(folder, ["the cat sat on the mat"], vocab_size=model.vocab_size)
        else:
            vocabulary(folder, size=model.vocab_size)
        return folder

    return write


@pytest.fixture
def saved_run(tmp_path, random_params, vocabulary, train_byte_level) -> Callable[..., Path]:
    """The folder of a run with a checkpoint of `model`, and a tokenizer that fits or `words`."""

    def write(
        model: ModelConfig,
        *,
        step: int = 7,
        params: dict | None = None,
        words: Tokenizer | None = None,
    ) -> Path:
        folder = tmp_path / "run"
        (folder / "tokenizer").mkdir(parents=True)
        if words is not None:
            words.save(folder / "tokenizer")
        elif model.position_offset:
            train_byte_level(folder / "tokenizer", ["the cat"], vocab_size=model.vocab_size)
        else:
            vocabulary(folder / "tokenizer", size=model.vocab_size)
        fingerprint = load_tokenizer(folder / "tokenizer").fingerprint
        blocks = "sentence_pair" if model.next_sentence_head else "document"
        data = DataConfig(sequence_length=model.max_positions, blocks=blocks)
        config = PretrainConfig(workdir=str(folder), model=model, data=data)
        with Checkpoints(folder, config, tokenizer_fingerprint=fingerprint) as checkpoints:
            checkpoints.save(
                step, {"params": random_params(model) if params is None else params},
                position=DataPosition(0), score=None,
            )  # fmt: skip
        return folder

    return write
