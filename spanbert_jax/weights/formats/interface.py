"""What weights on disk are to the rest of the program: names, shapes, arrays when asked for."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import NamedTuple, Self

import numpy as np


class TensorInfo(NamedTuple):
    """What is known of a tensor before it is read."""

    shape: tuple[int, ...]
    dtype: np.dtype


class Tensors(Mapping[str, np.ndarray]):
    """The tensors of one model, by name. A context manager: closing it closes the files.

    Names, shapes and dtypes are read when it is opened; each array only when it is asked for, anew
    each time, so that whoever goes through them holds one at a time. Arrays have the dtype that
    is stored, `ml_dtypes.bfloat16` among them.

    with open_tensors("model.safetensors") as tensors:
        tensors.names()         -> ["bias", "weight"]
        tensors.info("weight")  -> TensorInfo(shape=(2, 3), dtype=dtype("float16"))
        tensors["weight"]       -> an array of 2 x 3
    """

    def __init__(self, where: str, infos: Mapping[str, TensorInfo]) -> None:
        self.where = where
        """The file or folder, for messages."""
        self._infos = dict(infos)

    def names(self) -> list[str]:
        return list(self._infos)

    def info(self, name: str) -> TensorInfo:
        return self._infos[name]

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._infos:
            raise KeyError(f"{self.where} holds no tensor {name}")
        return self._read(name)

    def __contains__(self, name: object) -> bool:
        return name in self._infos

    def __iter__(self) -> Iterator[str]:
        return iter(self._infos)

    def __len__(self) -> int:
        return len(self._infos)

    @abstractmethod
    def _read(self, name: str) -> np.ndarray:
        """The array of a name that is there."""

    @abstractmethod
    def close(self) -> None:
        """Close the files; nothing can be read any more."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Arrays(Tensors):
    """Arrays at hand, as a checkpoint: Arrays({"bert.pooler.dense.bias": bias})."""

    def __init__(self, arrays: Mapping[str, np.ndarray], *, where: str = "the tensors") -> None:
        infos = {name: TensorInfo(array.shape, array.dtype) for name, array in arrays.items()}
        super().__init__(where, infos)
        self._arrays = arrays

    def _read(self, name: str) -> np.ndarray:
        return self._arrays[name]

    def close(self) -> None:
        """Nothing is open."""
