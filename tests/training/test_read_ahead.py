"""A thread that reads ahead gives what its iterator gives, and leaves nothing behind."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import jax
import numpy as np
import pytest

from spanbert_jax.config import MeshConfig
from spanbert_jax.errors import UserError
from spanbert_jax.training.mesh import batch_sharding, make_mesh
from spanbert_jax.training.read_ahead import ReadAhead


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "read ahead"]


@pytest.fixture(autouse=True)
def _no_thread_is_left_behind() -> Iterator[None]:
    yield
    assert threads() == []


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline, "never came true"
        time.sleep(0.001)


def numbers(read: list[int], *, fail_at: int | None = None) -> Iterator[int]:
    """0, 1, 2, ..., each noted when it is read; -1 is noted when closed."""
    try:
        for number in range(1_000):
            if number == fail_at:
                raise UserError("the shard is altered")
            read.append(number)
            yield number
    finally:
        read.append(-1)


def test_items_come_in_their_order_to_the_end_and_from_another_thread() -> None:
    names = (threading.current_thread().name for _ in range(100))
    with ReadAhead(names) as items:
        assert list(items) == ["read ahead"] * 100
        assert list(items) == []
    with ReadAhead(iter(range(1_000))) as items:
        assert list(items) == list(range(1_000))


def test_no_more_is_read_than_asked_for() -> None:
    read: list[int] = []
    with ReadAhead(numbers(read), num_ahead=2) as items:
        until(lambda: len(read) == 2)
        assert next(items) == 0
        until(lambda: len(read) == 3)
        time.sleep(0.05)
        assert read == [0, 1, 2]


def test_an_error_comes_where_its_item_is_asked_for_with_its_type_and_then_the_end() -> None:
    with ReadAhead(numbers([], fail_at=3), num_ahead=8) as items:
        assert [next(items) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(UserError, match="the shard is altered") as raised:
            next(items)
        assert any(entry.name == "numbers" for entry in raised.traceback)
        assert list(items) == []


def test_no_item_is_given_before_a_failure_would_be_known_three_items_ahead() -> None:
    """With what is left, a run reaches the step at which all of its processes stop."""
    gate, fail_at = threading.Event(), 5

    def items_up_to_a_gate() -> Iterator[int]:
        yield from range(fail_at)
        gate.wait()
        raise UserError("the shard is altered")

    taken: list[int] = []
    with ReadAhead(items_up_to_a_gate(), in_reserve=3) as items:
        taker = threading.Thread(target=lambda: [taken.append(next(items)) for _ in range(3)])
        taker.start()
        until(lambda: taken == [0, 1])
        time.sleep(0.2)
        # The third one waits for what comes behind the reserve.
        assert taken == [0, 1] and items.failure is None
        gate.set()
        taker.join()
        assert taken == [0, 1, 2] and items.failure is not None
        assert [next(items), next(items)] == [3, 4]
        with pytest.raises(UserError, match="the shard is altered"):
            next(items)


def test_a_reserve_is_given_out_where_the_items_end() -> None:
    with ReadAhead(iter(range(10)), in_reserve=3) as items:
        assert list(items) == list(range(10))


def test_closed_early_it_closes_its_iterator_and_has_no_more() -> None:
    read: list[int] = []
    items = ReadAhead(numbers(read), num_ahead=4)
    assert next(items) == 0
    items.close()
    assert threads() == [] and read[-1] == -1
    assert list(items) == []
    items.close()


def test_an_error_of_its_reader_closes_it() -> None:
    read: list[int] = []
    with pytest.raises(KeyboardInterrupt), ReadAhead(numbers(read)) as items:
        next(items)
        raise KeyboardInterrupt
    assert read[-1] == -1


def test_forgotten_it_ends_its_thread() -> None:
    items = ReadAhead(numbers([]))
    assert next(items) == 0 and threads() == ["read ahead"]
    del items
    until(lambda: threads() == [])


def test_a_program_ends_though_nobody_closed_it() -> None:
    script = """
import itertools
from spanbert_jax.training.read_ahead import ReadAhead
items = ReadAhead(itertools.count())
print(next(items))
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stdout, run.stderr) == (0, "0\n", "")


def test_arrays_that_it_puts_on_devices_are_those_of_the_thread_that_asks() -> None:
    """The mesh of a thread is not that of another: shardings must name theirs."""
    mesh = make_mesh(MeshConfig())
    sharding = batch_sharding(mesh)

    def put(rows: np.ndarray) -> jax.Array:
        return jax.make_array_from_process_local_data(sharding, rows)

    rows = [np.arange(16).reshape(8, 2) + i for i in range(4)]
    with jax.set_mesh(mesh), ReadAhead(put(each) for each in rows) as items:
        double = jax.jit(lambda x: 2 * x, in_shardings=sharding, out_shardings=sharding)
        for array, each in zip(items, rows, strict=True):
            assert array.sharding == sharding and len(array.addressable_shards) == 8
            np.testing.assert_array_equal(double(array), 2 * each)


def test_an_error_in_closing_the_items_is_raised_and_nobody_waits_for_more():
    class Stubborn:
        def __iter__(self) -> "Stubborn":
            return self

        def __next__(self) -> int:
            raise StopIteration

        def close(self) -> None:
            raise RuntimeError("will not close")

    with ReadAhead(Stubborn()) as ahead, pytest.raises(RuntimeError, match="will not close"):
        next(ahead)
