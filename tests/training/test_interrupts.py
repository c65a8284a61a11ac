"""Real signals, sent to this very process."""

import os
import signal
import threading

import pytest

from spanbert_jax.training.interrupts import StopRequest


def handlers() -> list[object]:
    return [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]


@pytest.mark.parametrize(
    ("number", "name"), [(signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "SIGTERM")]
)
def test_a_signal_is_a_request_announced_once_and_ctrl_c_after_it_is_obeyed_at_once(
    number: signal.Signals, name: str
) -> None:
    said: list[str] = []
    with StopRequest(said.append) as stop:
        assert stop.signal_number is None
        os.kill(os.getpid(), number)
        assert stop.signal_number == number
        more = "once more" if number == signal.SIGINT else "Ctrl-C"
        assert said == [f"{name}: stopping after this step to save; {more} stops at once"]
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert len(said) == 1
    assert stop.signal_number == number


def test_handlers_are_put_back_even_after_an_error() -> None:
    before = handlers()
    with pytest.raises(RuntimeError, match="out of memory"), StopRequest(lambda _: None):
        assert not set(map(id, handlers())) & set(map(id, before))
        raise RuntimeError("out of memory")
    assert handlers() == before


def test_outside_the_main_thread_signals_are_left_alone() -> None:
    before, seen = handlers(), []

    def other_thread() -> None:
        with StopRequest(lambda _: None) as stop:
            seen.append((handlers(), stop.signal_number))

    thread = threading.Thread(target=other_thread)
    thread.start()
    thread.join()
    assert seen == [(before, None)]
    assert handlers() == before
