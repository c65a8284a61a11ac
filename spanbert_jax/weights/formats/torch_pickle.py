"""Reads the pickle of a PyTorch file without PyTorch, and without running what it names.

In: the pickled part of the file. Out: where each tensor of the state dict lies; no array is read.

A pickle is a program: it names functions and calls them. Of what it may name, only the few that a
state dict needs mean something here; what training programs lay beside one (their arguments,
meters, numpy numbers) becomes `Inert`; anything else is refused by name. Whatever a pickle can get
hold of here cannot be changed by it either: it has no attributes to set, or ignores what is set.
"""

import math
import pickle
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import IO, Any, ClassVar, NamedTuple

import ml_dtypes
import numpy as np

from spanbert_jax.errors import UserError

_DTYPE_OF_STORAGE = {
    "DoubleStorage": np.float64, "FloatStorage": np.float32, "HalfStorage": np.float16,
    "BFloat16Storage": ml_dtypes.bfloat16, "LongStorage": np.int64, "IntStorage": np.int32,
    "ShortStorage": np.int16, "CharStorage": np.int8, "ByteStorage": np.uint8,
    "BoolStorage": np.bool_, "UntypedStorage": np.uint8,
}  # fmt: skip
_DTYPES = {
    "float64": np.float64, "float32": np.float32, "float16": np.float16,
    "bfloat16": ml_dtypes.bfloat16, "int64": np.int64, "int32": np.int32, "int16": np.int16,
    "int8": np.int8, "uint64": np.uint64, "uint32": np.uint32, "uint16": np.uint16,
    "uint8": np.uint8, "bool": np.bool_,
}  # fmt: skip

# Python 2 and old protocols spell some of these in their own way.
_INERT_NAMES = {
    "argparse": {"Namespace"},
    "builtins": {"bool", "bytes", "dict", "float", "int", "list", "object", "set", "str", "tuple"},
    "__builtin__": {"dict", "list", "object", "set", "tuple"},
    "_codecs": {"encode"},
    "collections": {"defaultdict"},
    "copy_reg": {"_reconstructor"},
    "copyreg": {"_reconstructor"},
    "numpy": {"dtype", "ndarray"},
    "numpy.core.multiarray": {"_reconstruct", "scalar"},
    "numpy._core.multiarray": {"_reconstruct", "scalar"},
    "torch": {"device"},
    "typing": {"Any"},
}
_INERT_PACKAGES = ("fairseq", "omegaconf")

_STATE_DICT_KEYS = ("model", "state_dict", "model_state_dict")
# No tensor has more elements, axes or larger steps; NumPy's own limits are near.
_LARGEST = 1 << 48
_MOST_AXES = 32


class Inert:
    """Stands where an object of another program stood, and takes in what the pickle does to it."""

    __slots__ = ()

    def __init__(self, *_: object) -> None: ...
    def __call__(self, *_: object) -> "Inert":
        return self

    def __setstate__(self, _: object) -> None: ...
    def __setitem__(self, *_: object) -> None: ...
    def append(self, _: object) -> None: ...
    def extend(self, _: object) -> None: ...
    def add(self, _: object) -> None: ...


class Table(OrderedDict[str, Any]):
    """A dict of the pickle: keeps what has a name, and lets go of the rest.

    A state dict needs names alone. Other keys may not end when they are hashed: tuples of tuples of
    tuples.
    """

    def __init__(self, items: Iterable[tuple[Any, Any]] = ()) -> None:
        super().__init__()
        for key, value in items:
            self[key] = value

    def __setitem__(self, key: object, value: object) -> None:
        if isinstance(key, str):
            super().__setitem__(key, value)

    def __setstate__(self, _: object) -> None:
        """Attributes, of which PyTorch sets `_metadata`: versions of its modules."""


class ElementType(NamedTuple):
    """A storage class or dtype of PyTorch."""

    dtype: np.dtype


class Storage(NamedTuple):
    """A stretch of one record of the file."""

    key: str
    """Of the record."""
    dtype: np.dtype
    first_byte: int
    num_bytes: int


class StoredTensor(NamedTuple):
    """A tensor that is yet to be read; offset and strides count elements."""

    storage: Storage
    dtype: np.dtype
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def num_elements(self) -> int:
        """From the first element that it uses to the last, used or not in between.

        shape = (2, 3), strides = (8, 1) -> 11
        """
        if 0 in self.shape:
            return 0
        return 1 + sum((n - 1) * step for n, step in zip(self.shape, self.strides, strict=True))

    @property
    def first_byte(self) -> int:
        """Of the record."""
        return self.storage.first_byte + self.offset * self.dtype.itemsize

    @property
    def num_bytes(self) -> int:
        return self.num_elements * self.dtype.itemsize


class _Rebuild(NamedTuple):
    """One of the functions that a state dict calls."""

    function: Callable[..., StoredTensor]

    def __call__(self, *arguments: Any) -> StoredTensor:
        return self.function(*arguments)


def _rebuild_tensor(
    storage: Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: object
) -> StoredTensor:
    return StoredTensor(storage, storage.dtype, offset, tuple(shape), tuple(strides))


def _rebuild_tensor_of_dtype(
    storage: Storage,
    offset: int,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    requires_grad: bool,
    hooks: object,
    element: ElementType,
    *_: object,
) -> StoredTensor:
    return StoredTensor(storage, element.dtype, offset, tuple(shape), tuple(strides))


def _rebuild_parameter(tensor: StoredTensor, *_: object) -> StoredTensor:
    return tensor


_MEANINGS: dict[tuple[str, str], object] = {
    ("collections", "OrderedDict"): Table,
    ("torch", "Size"): tuple,
    ("torch._utils", "_rebuild_tensor"): _Rebuild(_rebuild_tensor),
    ("torch._utils", "_rebuild_tensor_v2"): _Rebuild(_rebuild_tensor),
    ("torch._utils", "_rebuild_tensor_v3"): _Rebuild(_rebuild_tensor_of_dtype),
    ("torch._utils", "_rebuild_parameter"): _Rebuild(_rebuild_parameter),
    **{("torch", name): ElementType(np.dtype(t)) for name, t in _DTYPE_OF_STORAGE.items()},
    **{("torch", name): ElementType(np.dtype(t)) for name, t in _DTYPES.items()},
    ("torch.storage", "UntypedStorage"): ElementType(np.dtype(np.uint8)),
}


# The one in Python: that in C takes as much memory as a number in the file asks for.
class TorchUnpickler(pickle._Unpickler):
    """Reads one pickle of a PyTorch file; `storages` gathers what its tensors refer to, by key.

    `load` raises `UserError` for a name that no state dict needs, and over damaged bytes anything.
    """

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = dict(pickle._Unpickler.dispatch)
    # Takes as much memory as a number in the file asks for.
    del dispatch[pickle.BYTEARRAY8[0]]

    def __init__(self, file: IO[bytes], *, where: str) -> None:
        # Files of Python 2 hold names as bytes.
        super().__init__(file, encoding="utf-8")
        self._where = where
        self.storages: dict[str, Storage] = {}

    # `Any`, since the type checker knows nothing of the stack.
    def load_empty_dictionary(self: Any) -> None:
        self.append(Table())

    def load_dict(self: Any) -> None:
        items = self.pop_mark()
        self.append(Table(zip(items[::2], items[1::2], strict=True)))

    def load_empty_set(self: Any) -> None:
        self.append(Inert())

    def load_frozenset(self: Any) -> None:
        self.pop_mark()
        self.append(Inert())

    dispatch |= {
        pickle.EMPTY_DICT[0]: load_empty_dictionary,
        pickle.DICT[0]: load_dict,
        pickle.EMPTY_SET[0]: load_empty_set,
        pickle.FROZENSET[0]: load_frozenset,
    }

    def find_class(self, module: str, name: str) -> object:
        if (module, name) in _MEANINGS:
            return _MEANINGS[module, name]
        if name in _INERT_NAMES.get(module, ()) or module.split(".")[0] in _INERT_PACKAGES:
            return Inert
        raise UserError(
            f"{self._where}: a pickle may name only what a state dict of PyTorch needs, found "
            f"{shown(f'{module}.{name}')}, which was not run; where you trust the file, load it "
            "with PyTorch and save its state dict with safetensors.torch.save_file"
        )

    def persistent_load(self, reference: Any) -> Storage:
        """("storage", FloatStorage, key, location, elements), or with (key, offset, elements) of a
        view, which files of 2018 have -> where the elements lie"""
        kind, element, key, _, elements, *view = reference
        if not isinstance(key, str) or not isinstance(element, ElementType):
            raise ValueError("a reference without the key or the type of a storage")
        if kind != "storage" or not _is_size(elements):
            raise ValueError(f"no reference to storage {shown(key)}")
        dtype = element.dtype
        whole = Storage(key, dtype, 0, elements * dtype.itemsize)
        self.storages.setdefault(whole.key, whole)
        if not view or view[0] is None:
            return whole
        _, offset, elements = view[0]
        return Storage(whole.key, dtype, offset * dtype.itemsize, elements * dtype.itemsize)


def state_dict(content: object, *, where: str) -> dict[str, StoredTensor]:
    """The tensors of a pickled state dict, or of the one inside a training checkpoint.

    {"weight": a, "epoch": 3} -> {"weight": a}
    {"args": ..., "model": {"weight": a}, "optimizer_history": ...} -> {"weight": a}

    Raises:
        UserError: There is none, or a tensor has more elements than are stored of it.
    """
    found = content if isinstance(content, dict) else {}
    for key in _STATE_DICT_KEYS:
        if isinstance(found.get(key), dict):
            found = found[key]
            break
    tensors = {name: value for name, value in found.items() if isinstance(value, StoredTensor)}
    if not tensors:
        keys = [shown(key) for key in found][:5]
        instead = keys if isinstance(content, dict) else type(content).__name__
        raise UserError(
            f"{where}: must hold a state dict, by itself or as one of "
            f"{', '.join(_STATE_DICT_KEYS)}, found no tensors there but {instead}; save "
            "model.state_dict() alone"
        )
    for name, tensor in tensors.items():
        if not _is_sound(tensor):
            raise damaged(where, f"tensor {shown(name)} does not fit into its storage")
        if math.prod(tensor.shape) > tensor.num_elements:
            raise UserError(
                f"{where}: every tensor must have all its elements stored, found {shown(name)} to "
                f"repeat {tensor.num_elements} of them in shape {shown(str(tensor.shape))}, as an "
                "expanded view does; save its contiguous() instead"
            )
    return tensors


def damaged(where: str, cause: str) -> UserError:
    """For a file that PyTorch did not write like this."""
    return UserError(
        f"{where}: must be a whole file of torch.save, found a damaged one ({shown(cause, 300)}); "
        "download or save it again"
    )


def shown(text: str, most: int = 120) -> str:
    """A name out of a file, as long as a message can bear: "aaaa", most=2 -> "aa..."."""
    return text if len(text) <= most else f"{text[:most]}..."


def _is_sound(tensor: StoredTensor) -> bool:
    storage, dtype, offset, shape, strides = tensor
    if not isinstance(storage, Storage) or not len(shape) == len(strides) <= _MOST_AXES:
        return False
    if not all(_is_size(number) for number in (offset, storage.first_byte, *shape, *strides)):
        return False
    # Of an empty one too, whose other axes NumPy multiplies all the same.
    if math.prod(size or 1 for size in shape) > _LARGEST:
        return False
    return offset * dtype.itemsize + tensor.num_bytes <= storage.num_bytes


def _is_size(number: object) -> bool:
    return isinstance(number, int) and 0 <= number <= _LARGEST
