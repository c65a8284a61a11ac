"""Batches made ready by a thread of their own. In: an iterator. Out: its items, in their order."""

import threading
import weakref
from collections import deque
from collections.abc import Iterator
from types import TracebackType
from typing import Generic, Self, TypeVar

T = TypeVar("T")

# While a step runs, one batch waits on the devices and the next is on its way there.
NUM_AHEAD = 2
# A thread inside a read that never ends is left behind rather than waited for.
_SECONDS_TO_END = 10.0


class _Shelf(Generic[T]):
    """What the thread has read and nobody has taken yet."""

    def __init__(self, size: int, *, in_reserve: int) -> None:
        self.items: deque[T] = deque()
        self.size, self.in_reserve = size, in_reserve
        self.changed = threading.Condition()
        self.closed = self.ended = False
        self.error: BaseException | None = None

    def wait_for_room(self) -> bool:
        """Whether there is one more to read; waits for room first."""
        with self.changed:
            self.changed.wait_for(lambda: self.closed or len(self.items) < self.size)
            return not self.closed

    def put(self, item: T) -> None:
        with self.changed:
            self.items.append(item)
            self.changed.notify_all()

    def end(self, error: BaseException | None) -> None:
        with self.changed:
            self.ended, self.error = True, error
            self.changed.notify_all()

    def close(self) -> None:
        with self.changed:
            self.closed = True
            self.items.clear()
            self.changed.notify_all()

    def take(self) -> T:
        """The next item; raises what ended the items, once, and then StopIteration."""
        with self.changed:
            self.changed.wait_for(
                lambda: len(self.items) > self.in_reserve or self.ended or self.closed
            )
            if self.items:
                self.changed.notify_all()
                return self.items.popleft()
            error, self.error = self.error, None
        raise StopIteration if error is None else error


class ReadAhead(Generic[T]):
    """An iterator over `items` that reads up to `num_ahead` of them before they are asked for.

    An item is given once `in_reserve` more are read behind it, or `items` have ended: so many are
    left, but for the one that is being asked for, when `failure` becomes known.

    An error in reading is raised where its item is asked for, after those before it. Closed by
    `with`, by `close`, when it is forgotten and when the program ends: then the thread ends, and
    closes `items` where they are a generator.
    """

    def __init__(
        self, items: Iterator[T], *, num_ahead: int = NUM_AHEAD, in_reserve: int = 0
    ) -> None:
        self._shelf: _Shelf[T] = _Shelf(num_ahead + in_reserve, in_reserve=in_reserve)
        # The thread knows the shelf alone: else it would keep alive what should be forgotten.
        thread = threading.Thread(
            target=_fill, args=(self._shelf, items), name="read ahead", daemon=True
        )
        self.close = weakref.finalize(self, _close, self._shelf, thread)
        thread.start()

    @property
    def failure(self) -> BaseException | None:
        """The error that will be raised behind the items that are read already."""
        return self._shelf.error

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        return self._shelf.take()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        self.close()


def _fill(shelf: _Shelf[T], items: Iterator[T]) -> None:
    error = None
    try:
        while shelf.wait_for_room():
            # Not named: a name would keep one more batch in memory.
            shelf.put(next(items))
    except StopIteration:
        pass
    except BaseException as raised:
        error = raised
    try:
        if (close := getattr(items, "close", None)) is not None:
            close()
    except BaseException as raised:
        error = error or raised
    finally:
        shelf.end(error)


def _close(shelf: _Shelf[T], thread: threading.Thread) -> None:
    shelf.close()
    if thread is not threading.current_thread():
        thread.join(_SECONDS_TO_END)
