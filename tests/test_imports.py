"""Imports point one way, and the first import of the package is light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "spanbert_jax"
MODULES = sorted(str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py"))

# What a layer may import of the package, beside itself and errors.py.
MAY_IMPORT = {
    "errors": (),
    "config": (),
    "corpus": ("config",),
    "data": ("config", "corpus"),
    "model": ("config",),
    "training": ("config", "data.batch", "model"),
    "weights": ("config", "corpus", "data", "model", "training"),
    "tasks": ("config", "corpus", "data", "model", "training"),
    "planning": ("config", "corpus", "data", "model", "training"),
    "inference": ("config", "corpus", "data", "model", "training", "weights", "tasks"),
    "commands": (
        "config", "corpus", "data", "model", "training", "weights", "tasks", "inference",
        "planning",
    ),
    # Commands are imported inside functions, after the config stands.
    "command_line": ("config",),
    # Its last words, by a module that loads no library.
    "__main__": ("command_line", "training.leaving"),
}  # fmt: skip

# Modules of commands/ that are a command; the others are parts of one.
COMMANDS = {
    f"commands.{path.stem}"
    for path in (PACKAGE / "commands").glob("*.py")
    if "\ndef run(" in path.read_text(encoding="utf-8")
}

JAX = ("jax", "jaxlib", "flax", "optax", "orbax")
MUST_NOT_IMPORT = {
    "corpus": JAX,
    "data": JAX,
    "model": ("tensorflow", "tensorflow_datasets"),
    # Files of PyTorch are read without it; tests/parity compares with it.
    "weights": ("torch", "transformers"),
    "inference": ("torch", "transformers"),
    "command_line": (*JAX, "tensorflow", "numpy", "rich", "matplotlib"),
    "__main__": (*JAX, "tensorflow", "numpy", "rich", "matplotlib"),
}


def layer_of(module: str) -> str:
    """layer_of("data/batch.py") -> "data"; layer_of("errors.py") -> "errors"."""
    return module.removesuffix(".py").split("/")[0]


def imports_of(source: str, *, top_level: bool = False) -> list[str]:
    """Dotted names that a module imports, of the package's own what follows its name.

    imports_of("import numpy as np") -> ["numpy"]
    imports_of("from spanbert_jax.data.batch import PretrainBatch")
    -> ["spanbert_jax.data.batch.PretrainBatch"]
    """
    tree = ast.parse(source)
    names = []
    for node in tree.body if top_level else ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide the layer they point at"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def inside(names: list[str]) -> list[str]:
    own = [name.removeprefix("spanbert_jax.") for name in names if name.startswith("spanbert_jax.")]
    return [name for name in own if name != "__version__"]


def allowed(name: str, layers: tuple[str, ...]) -> bool:
    return any(name == layer or name.startswith(layer + ".") for layer in layers)


def misdirected(module: str, source: str) -> list[str]:
    """The imports of one module that do not point the right way."""
    layer = layer_of(module)
    lazy_commands = layer == "command_line"
    names = imports_of(source, top_level=lazy_commands)
    wrong = [
        name
        for name in inside(names)
        if not allowed(name, (*MAY_IMPORT[layer], "errors"))
        and (not allowed(name, (layer,)) or allowed(name, tuple(COMMANDS)))
    ]
    libraries = [name for name in names if not name.startswith("spanbert_jax")]
    forbidden = MUST_NOT_IMPORT.get(layer, ())
    wrong += [name for name in libraries if name.split(".")[0] in forbidden]
    if layer in ("config", "errors"):
        wrong += [name for name in libraries if name.split(".")[0] not in sys.stdlib_module_names]
    return wrong


@pytest.mark.parametrize("module", [name for name in MODULES if name != "__init__.py"])
def test_imports_point_one_way(module):
    assert misdirected(module, (PACKAGE / module).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "module, line",
    [
        ("config/data.py", "import numpy as np"),
        ("config/data.py", "from spanbert_jax.corpus.shards import Manifest"),
        ("corpus/shards.py", "import jax.numpy as jnp"),
        ("data/pipeline.py", "from flax import linen as nn"),
        ("model/encoder.py", "import tensorflow as tf"),
        ("model/encoder.py", "from spanbert_jax.data.batch import PretrainBatch"),
        ("training/loop.py", "from spanbert_jax.data.pipeline import pretrain_dataset"),
        ("training/loop.py", "def f():\n    from spanbert_jax.corpus import shards"),
        ("weights/bert.py", "from spanbert_jax.tasks.fill import fill_masks"),
        ("weights/tensors.py", "def f():\n    import torch"),
        ("commands/pretrain.py", "from spanbert_jax.commands import prepare"),
        ("commands/pretrain.py", "from spanbert_jax.command_line import parse_flags"),
        ("command_line.py", "from spanbert_jax.commands import prepare"),
        ("command_line/asking.py", "from spanbert_jax.training import run_folder"),
        ("__main__.py", "import numpy"),
    ],
)
def test_an_import_in_the_wrong_direction_is_found(module, line):
    assert len(misdirected(module, line)) == 1


@pytest.mark.parametrize(
    "module, line",
    [
        ("training/loop.py", "from spanbert_jax.data.batch import PretrainBatch"),
        ("training/loop.py", "from spanbert_jax.errors import UserError"),
        ("planning/plan.py", "from spanbert_jax.training.train_step import train_step"),
        ("commands/pretrain.py", "from spanbert_jax.tasks.fill import fill_masks"),
        ("commands/pretrain.py", "from spanbert_jax.commands.parts_of_pretrain import part"),
        ("command_line.py", "def f():\n    from spanbert_jax.commands import prepare"),
    ],
)
def test_an_import_in_the_right_direction_is_not(module, line):
    assert misdirected(module, line) == []


@pytest.mark.parametrize("name", ["spanbert_jax", "spanbert_jax.config", "spanbert_jax.__main__"])
def test_importing_the_package_loads_neither_jax_nor_tensorflow(name):
    heavy = ("jax", "tensorflow", "numpy")
    script = f"import sys, {name}; print([heavy for heavy in {heavy} if heavy in sys.modules])"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"
