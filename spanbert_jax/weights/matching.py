"""Finds our parameters among the tensors of a checkpoint, and turns them into each other.

Every tensor is accounted for: used, a copy of another (checked), no parameter, or unused. One is
read at a time; what does not fit is found by names and shapes, before any is.
"""

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from spanbert_jax.config import ModelConfig
from spanbert_jax.errors import UserError
from spanbert_jax.weights.layouts import Shape, their_shapes
from spanbert_jax.weights.names import HEADS, Entry, Names
from spanbert_jax.weights.parameters import Params, flatten, nest, parameter_shapes
from spanbert_jax.weights.tensors import Arrays, TensorInfo, Tensors


class _Found(NamedTuple):
    """A parameter whose tensors are all there."""

    entry: Entry
    shape: Shape
    sources: tuple[str, ...]
    """Its tensors, as the checkpoint spells them."""


@dataclass(frozen=True)
class Matching:
    """Which tensors of a checkpoint are which parameters of ours."""

    found: Mapping[str, _Found]
    copies: Mapping[str, str]
    """Tensors that repeat another tensor: both as the checkpoint spells them."""
    ignored: tuple[str, ...]
    """Buffers and moments of an optimizer."""
    unused: tuple[str, ...]
    missing: tuple[str, ...]
    """Paths of ours in heads that the checkpoint lacks."""

    @property
    def num_used(self) -> int:
        return sum(len(found.sources) for found in self.found.values())

    def summary(self) -> str:
        """What became of the tensors.

        -> "weights: 199 of 199 matched; initialised: span_boundary_head (10)"
        """
        total = self.num_used + len(self.unused)
        parts = [f"weights: {self.num_used} of {total} matched"]
        if self.copies:
            parts.append(f"equal to another: {len(self.copies)}")
        if self.ignored:
            parts.append(f"no parameters: {len(self.ignored)}")
        if self.unused:
            parts.append(f"unused: {', '.join(_some(self.unused))}")
        heads = [f"{head} ({number})" for head, number in self.initialised.items()]
        if heads:
            parts.append(f"initialised: {', '.join(heads)}")
        return "; ".join(parts)

    @property
    def initialised(self) -> dict[str, int]:
        """Heads that the checkpoint lacks, and the number of their parameters."""
        heads = [path.split("/")[0] for path in self.missing]
        return {head: heads.count(head) for head in HEADS if head in heads}


def match(tensors: Tensors, *, names: Names, model: ModelConfig) -> Matching:
    """Find every parameter of `model`; nothing but names and shapes is read.

    Raises:
        UserError: a tensor is missing outside a head that is missing as a whole, is of another
            shape, or holds no floating-point numbers.
    """
    shapes = parameter_shapes(model)
    entries = names.entries(model)
    spelled = _spelled(tensors, names)
    found: dict[str, _Found] = {}
    absent: dict[str, list[str]] = {}
    for path, shape in shapes.items():
        lacking = [name for name in entries[path].tensors if name not in spelled]
        if lacking:
            absent[path] = lacking
        else:
            sources = tuple(spelled[name] for name in entries[path].tensors)
            found[path] = _Found(entries[path], shape, sources)
    known = {name for each in found.values() for name in each.sources}
    rest = [name for own, name in spelled.items() if name not in known and own not in names.copies]
    _check_missing(absent, found, rest, where=tensors.where)
    for path, each in found.items():
        _check_shapes(path, each, tensors, rest)
    copies = {
        spelled[copy]: spelled[original]
        for copy, original in names.copies.items()
        if copy in spelled and original in spelled
    }
    for copy, original in copies.items():
        _check_shape_of_copy(copy, original, tensors)
    return Matching(
        found=found,
        copies=copies,
        ignored=tuple(name for name in tensors.names() if names.is_ignored(name)),
        unused=tuple(rest),
        missing=tuple(absent),
    )


def _spelled(tensors: Tensors, names: Names) -> dict[str, str]:
    """The family's name of every tensor -> the checkpoint's."""
    spelled: dict[str, str] = {}
    for name in tensors.names():
        if names.is_ignored(name):
            continue
        own = names.canonical(name)
        if own in spelled:
            raise UserError(
                f"{tensors.where}: must hold {own} once, found {spelled[own]} and {name}; remove "
                "one of them"
            )
        spelled[own] = name
    for copy, original in names.copies.items():
        if copy in spelled and original not in spelled:
            # Whoever writes a shared array once may write it under either name.
            spelled[original] = spelled.pop(copy)
    return spelled


def _check_missing(
    absent: Mapping[str, list[str]], found: Mapping[str, _Found], rest: list[str], *, where: str
) -> None:
    """Raise `UserError` for a parameter that is missing outside a head that is, as a whole."""
    parts = {path.split("/")[0] for path in found}
    for path, lacking in absent.items():
        head = path.split("/")[0]
        if head in HEADS and head not in parts:
            continue
        raise UserError(
            f"{where}: must hold the tensor {lacking[0]} (our {path}), found none of that name"
            f"{_nearest(lacking[0], rest)}; import a checkpoint that is complete, with the config "
            "that belongs to it"
        )


def _check_shapes(path: str, found: _Found, tensors: Tensors, rest: list[str]) -> None:
    expected = their_shapes(found.entry.layout, found.shape)
    for name, shape in zip(found.sources, expected, strict=True):
        actual = tuple(tensors.info(name).shape)
        if actual != shape:
            raise UserError(
                f"{tensors.where}: the tensor {name} (our {path}) must be of shape {shape} by the "
                f"model's config, found {actual}{_nearest(name, rest)}; import the weights with "
                "the config that belongs to them"
            )
        dtype = tensors.info(name).dtype
        if not jnp.issubdtype(dtype, jnp.floating):
            raise UserError(
                f"{tensors.where}: the tensor {name} (our {path}) must be of floating-point "
                f"numbers, found {dtype}; import weights that are not quantised"
            )


def _check_shape_of_copy(copy: str, original: str, tensors: Tensors) -> None:
    shapes = tensors.info(copy).shape, tensors.info(original).shape
    if shapes[0] != shapes[1]:
        raise UserError(
            f"{tensors.where}: {copy} must be of the shape of {original}, which it repeats, "
            f"{shapes[1]}, found {shapes[0]}; models with a decoder of their own are not supported"
        )


def _nearest(name: str, others: list[str]) -> str:
    close = difflib.get_close_matches(name, others, n=1)
    return f", the nearest unused one is {close[0]}" if close else ""


def _some(names: tuple[str, ...], most: int = 8) -> list[str]:
    more = len(names) - most
    return [*names[:most], *([f"and {more} more"] if more > 0 else [])]


def read(matching: Matching, tensors: Tensors) -> Params:
    """The parameters that were found, as float32 arrays of their own; one tensor at a time.

    Raises:
        UserError: a tensor that must repeat another one differs from it.
    """
    params = {path: _read_one(found, tensors) for path, found in matching.found.items()}
    for copy, original in matching.copies.items():
        _check_copy(copy, original, tensors)
    return nest(params)


def _read_one(found: _Found, tensors: Tensors) -> np.ndarray:
    parts = [tensors[name] for name in found.sources]
    # A copy, so that no file stays open or in memory behind it.
    array = _empty(found.shape)
    array[...] = found.entry.layout.to_ours(parts, found.shape)
    return array


def _empty(shape: Shape) -> np.ndarray:
    """A float32 array at an address that JAX takes as it is on CPUs, where it copies others."""
    num_bytes = 4 * math.prod(shape)
    buffer = np.empty(num_bytes + 64, np.uint8)
    start = -buffer.ctypes.data % 64
    return buffer[start : start + num_bytes].view(np.float32).reshape(shape)


def _check_copy(copy: str, original: str, tensors: Tensors) -> None:
    # NaN is for others to find: here it is equal to itself.
    if not np.array_equal(tensors[copy], tensors[original], equal_nan=True):
        raise UserError(
            f"{tensors.where}: {copy} must be equal to {original}, since the heads predict with "
            "the token embedding, found other numbers; models with a decoder of their own are not "
            "supported"
        )


def params_from(tensors: Mapping[str, np.ndarray], *, names: Names, model: ModelConfig) -> Params:
    """Our parameters out of a checkpoint; heads that it lacks are left out.

    Raises:
        UserError: by the rules of `match` and `read`.
    """
    source = tensors if isinstance(tensors, Tensors) else Arrays(tensors)
    return read(match(source, names=names, model=model), source)


class _OfParameters(Tensors):
    """Our parameters as a checkpoint of others: views of them, where that is possible."""

    def __init__(self, params: Mapping[str, Any], entries: Mapping[str, Entry]) -> None:
        self._sources: dict[str, tuple[Entry, int, Any]] = {}
        infos = {}
        for path, leaf in flatten(params):
            entry = entries[path]
            shapes = their_shapes(entry.layout, leaf.shape)
            for index, (name, shape) in enumerate(zip(entry.tensors, shapes, strict=True)):
                self._sources[name] = entry, index, leaf
                infos[name] = TensorInfo(shape, np.dtype(leaf.dtype))
        super().__init__("the parameters", infos)

    def _read(self, name: str) -> np.ndarray:
        entry, index, leaf = self._sources[name]
        return entry.layout.to_theirs(np.asarray(leaf))[index]

    def close(self) -> None:
        """Nothing is open."""


def tensors_from(params: Mapping[str, Any], *, names: Names, model: ModelConfig) -> Tensors:
    """The tensors that hold our parameters (of separate layers), made one by one as asked for."""
    return _OfParameters(params, names.entries(model))
