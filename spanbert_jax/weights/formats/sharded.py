"""A model in several files, as Transformers splits a large one. In: its index. Out: `Tensors`."""

from collections.abc import Callable
from contextlib import ExitStack

import numpy as np
from etils import epath

from spanbert_jax.errors import UserError
from spanbert_jax.weights.formats.interface import Tensors
from spanbert_jax.weights.formats.json_file import read_json


class ShardedTensors(Tensors):
    """The files that an index names, all of them open."""

    def __init__(self, index: epath.Path, open_file: Callable[[epath.Path], Tensors]) -> None:
        file_of = read_index(index)
        with ExitStack() as opened:
            shards = {
                file: opened.enter_context(open_file(index.parent / file))
                for file in sorted(set(file_of.values()))
            }
            self._shard_of = {name: shards[file] for name, file in file_of.items()}
            for name, shard in self._shard_of.items():
                if name not in shard:
                    raise UserError(
                        f"{shard.where}: must hold tensor {name}, which {index.name} looks for "
                        "there, found none of this name; download index and files together"
                    )
            infos = {name: shard.info(name) for name, shard in self._shard_of.items()}
            super().__init__(str(index), infos)
            self._opened = opened.pop_all()

    def _read(self, name: str) -> np.ndarray:
        return self._shard_of[name][name]

    def close(self) -> None:
        self._opened.close()


def read_index(path: epath.Path) -> dict[str, str]:
    """The file of each tensor; all of them are there, beside the index.

    {"weight_map": {"a": "model-00001-of-00002.safetensors"}}
    -> {"a": "model-00001-of-00002.safetensors"}
    """
    file_of = read_json(path).get("weight_map", {})
    try:
        files = sorted(set(file_of.values()))
        plain = bool(files) and all(file == epath.Path(file).name for file in files)
    except (TypeError, AttributeError):
        plain = False
    if not plain:
        raise UserError(
            f"{path}: must be JSON whose weight_map gives a file beside it for each tensor, found "
            "something else; download it again"
        )
    missing = [file for file in files if not (path.parent / file).exists()]
    if missing:
        raise UserError(
            f"{path}: every file that it names must lie beside it, {len(missing)} of {len(files)} "
            f"are missing: {', '.join(missing[:3])}{' ...' * (len(missing) > 3)}; download these "
            "too"
        )
    return file_of
