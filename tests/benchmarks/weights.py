"""Time and peak memory of `spanbert import` and `spanbert export`, on a model of random weights.

    python tests/benchmarks/weights.py --size base    # 12 x 768, V 28,996
    python tests/benchmarks/weights.py --size large   # 24 x 1024, V 28,996
    python tests/benchmarks/weights.py --size large --stacked

A folder as Hugging Face's, with every head, is written to a temporary place (6 GB for `large`),
imported and exported again, each by a process of its own, checks included. `--stacked` stacks the
layers of the checkpoint between the two, as a run with `--compute.scan-layers` saves them. One JSON
line per process: seconds, its peak resident memory (mapped files included), and how much of it is
above a process that does nothing but import the same modules, as a multiple of the weights' size.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

# Nothing but the standard library up here: Linux counts the memory of whoever starts a process
# into the peak of that process.
SIZES = {"base": (12, 768), "large": (24, 1024)}
VOCAB_SIZE = 28_996


class Usage(NamedTuple):
    """What one process took."""

    seconds: float
    peak_bytes: int


def measure(*arguments: str) -> Usage:
    """Run Python with `arguments`, to its end."""
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"python {' '.join(arguments)}: exit code {process.returncode}")
    # Linux counts kilobytes, macOS bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return Usage(time.perf_counter() - began, usage.ru_maxrss * unit)


def make_model(folder: Path, size: str) -> None:
    """Write config.json, model.safetensors and vocab.txt, one random tensor at a time."""
    import numpy as np

    from spanbert_jax.config import ModelConfig
    from spanbert_jax.corpus.tokenizers import SPECIAL_PIECES
    from spanbert_jax.weights.layouts import their_shapes
    from spanbert_jax.weights.model_config import export_config, exported_names
    from spanbert_jax.weights.parameters import parameter_shapes
    from spanbert_jax.weights.tensors import TensorInfo, Tensors, write_safetensors

    class RandomTensors(Tensors):
        def _read(self, name: str) -> np.ndarray:
            return 0.02 * rng.standard_normal(self.info(name).shape, np.float32)

        def close(self) -> None:
            """Nothing is open."""

    rng = np.random.default_rng(0)
    num_layers, hidden_size = SIZES[size]
    model = ModelConfig(
        vocab_size=VOCAB_SIZE, hidden_size=hidden_size, num_layers=num_layers,
        num_heads=hidden_size // 64, mlp_size=4 * hidden_size, pooler=True, next_sentence_head=True,
    )  # fmt: skip
    entries = exported_names(model).entries(model)
    infos = {
        name: TensorInfo(theirs, np.dtype(np.float32))
        for path, shape in parameter_shapes(model).items()
        for name, theirs in zip(
            entries[path].tensors, their_shapes(entries[path].layout, shape), strict=True
        )
    }
    folder.mkdir()
    write_safetensors(folder / "model.safetensors", RandomTensors("random", infos), {})
    config = export_config(model, pad_id=0, cls_id=2, sep_id=3)
    (folder / "config.json").write_text(json.dumps(config))
    words = [*SPECIAL_PIECES, *(f"X{number}" for number in range(VOCAB_SIZE - len(SPECIAL_PIECES)))]
    (folder / "vocab.txt").write_text("\n".join(words))


def stack_checkpoint(run: Path) -> None:
    """Save the parameters of a run once more, with stacked layers, as its step 1."""
    import dataclasses

    from spanbert_jax.model.layer_stack import stack_layers
    from spanbert_jax.training.checkpoint import Checkpoints, DataPosition
    from spanbert_jax.training.saved_run import load_run

    loaded = load_run(run)
    compute = dataclasses.replace(loaded.config.compute, scan_layers=True)
    config = dataclasses.replace(loaded.config, compute=compute)
    with Checkpoints(
        run, config, tokenizer_fingerprint=loaded.tokenizer_fingerprint
    ) as checkpoints:
        state = {"params": stack_layers(loaded.params)}
        checkpoints.save(1, state, position=DataPosition(0), held_out_loss=None)


def run_rows(folder: Path, size: str, *, stacked: bool) -> None:
    """Make a model, import and export it, and print what each of the two took."""
    source, run, out = (str(folder / name) for name in ("source", "run", "out"))
    measure(__file__, "--size", size, "--make", source)
    weights = (folder / "source" / "model.safetensors").stat().st_size
    rows = {
        "import": ("import_weights", ("import", source, "--out", run)),
        "export": ("export_weights", ("export", run, "--out", out)),
    }
    for name, (module, command) in rows.items():
        if stacked and name == "export":
            measure(__file__, "--stack", run)
        idle = measure("-c", f"import spanbert_jax.commands.{module}")
        usage = measure("-m", "spanbert_jax", *command)
        row = {
            "benchmark": f"spanbert {name}",
            "size": size + " stacked" * (stacked and name == "export"),
            "weights_mb": round(weights / 1e6),
            "seconds": round(usage.seconds, 1),
            "peak_mb": round(usage.peak_bytes / 1e6),
            "idle_mb": round(idle.peak_bytes / 1e6),
            "above_idle_per_weights": round((usage.peak_bytes - idle.peak_bytes) / weights, 2),
        }
        print(json.dumps(row), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", choices=SIZES, default="base")
    parser.add_argument("--stacked", action="store_true")
    parser.add_argument("--make", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--stack", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.make:
        make_model(options.make, options.size)
    elif options.stack:
        stack_checkpoint(options.stack)
    else:
        with tempfile.TemporaryDirectory() as folder:
            run_rows(Path(folder), options.size, stacked=options.stacked)


if __name__ == "__main__":
    main()
