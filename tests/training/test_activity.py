"""Seconds of a clock that the test moves."""

import pytest

from spanbert_jax.training.activity import Activity


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_every_second_counts_once_for_what_the_process_was_at() -> None:
    clock = Clock()
    activity = Activity("starting", clock=clock)
    clock.now += 5
    activity.switch("training")
    clock.now += 2
    with activity.at("saving"):
        clock.now += 1
        with activity.at("waiting for data"):
            clock.now += 3
        clock.now += 1
    assert activity.now == "training"
    clock.now += 4
    assert activity.seconds() == {
        "starting": 5, "training": 6, "saving": 2, "waiting for data": 3,
    }  # fmt: skip
    assert sum(activity.seconds().values()) == clock.now - 100


def test_an_error_inside_leaves_it_at_what_it_was_before() -> None:
    activity = Activity("training")
    try:
        with activity.at("evaluating"):
            raise OSError
    except OSError:
        pass
    assert activity.now == "training"


def test_it_says_what_it_is_at() -> None:
    activity = Activity("training")
    activity.step = 1200
    assert str(activity) == "training, step 1,200"


def test_it_waits_for_all_inside_and_not_behind_an_error() -> None:
    activity = Activity()
    with pytest.raises(ValueError), activity.waiting_for_all():
        assert activity.waits
        raise ValueError("left alone")
    assert not activity.waits
