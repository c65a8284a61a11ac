"""Steps compiled before the first of them is taken, for all shapes that a run will meet.

In: jitted functions and abstract arguments. Out: the same functions, which then never wait for the
compiler. It works for several shapes at once, where steps that compile as they come use one core.
On CPU it saves memory too: what a compiler leaves behind does not come to lie where the temporaries
of a step were, so that they find their place again.
"""

import os
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jax

Shapes = tuple[tuple[int, ...], ...]


class Given:
    """A jitted or compiled function whose last argument is given.

    A value in the program would make another program of every other value; an argument does not,
    and what was compiled for one is found in the cache for all.
    """

    def __init__(self, function: Any, last: Any) -> None:
        self._function, self._last = function, last

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments, self._last)

    def lower(self, *arguments: Any) -> "Given":
        """As that of a jitted function; what is compiled of it lacks the same argument."""
        return Given(self._function.lower(*arguments, self._last), self._last)

    def compile(self) -> "Given":
        return Given(self._function.compile(), self._last)

    def __getattr__(self, name: str) -> Any:
        """Whatever else the function has, such as the text of its program."""
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._function, name)


class OfManyShapes:
    """A jitted function of (state or parameters, batch), compiled for batches of some shapes.

    Batches of other shapes compile when they come.
    """

    def __init__(self, jitted: Any) -> None:
        self._jitted = jitted
        self._compiled: dict[Shapes, Future[Any]] = {}

    def __call__(self, first: Any, batch: Any) -> Any:
        compiled = self._compiled.get(_shapes(batch))
        return (self._jitted if compiled is None else compiled.result())(first, batch)

    def compile_for(
        self, compiler: "Compiler", abstract_first: Any, batches: Iterable[Any]
    ) -> None:
        """Begin to compile for batches as these; their values do not matter."""
        for batch in batches:
            if (shapes := _shapes(batch)) not in self._compiled:
                self._compiled[shapes] = compiler.begin(self._jitted, abstract_first, batch)


class Compiler:
    """Compiles on all cores; a context manager that waits for what was begun."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(_num_cores(), thread_name_prefix="compile")
        self._begun: list[Future[Any]] = []

    def begin(self, jitted: Any, *arguments: Any) -> Future[Any]:
        """Trace here, since threads have no mesh of their own, and compile in the background."""
        future = self._pool.submit(jitted.lower(*map(_abstract, arguments)).compile)
        self._begun.append(future)
        return future

    def __enter__(self) -> "Compiler":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()
        for future in self._begun:
            future.result()


def _num_cores() -> int:
    """Those that this process may use, where the system tells."""
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed else os.cpu_count() or 1


def _shapes(batch: Any) -> Shapes:
    return tuple(leaf.shape for leaf in jax.tree.leaves(batch))


def _abstract(tree: Any) -> Any:
    """Arrays of the host as their shapes; what is abstract already keeps its sharding."""
    return jax.tree.map(
        lambda leaf: (
            leaf
            if isinstance(leaf, jax.ShapeDtypeStruct)
            else jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)
        ),
        tree,
    )
