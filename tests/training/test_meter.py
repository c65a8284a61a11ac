"""Figures of a run by a clock of our own, from metrics that say when they were waited for."""

import math
from types import SimpleNamespace

import pytest

from spanbert_jax.training import meter as meter_module
from spanbert_jax.training.meter import STEPS_IN_FLIGHT, Meter, PhaseWork, PhaseWorkload


class Clock:
    """Seconds that pass when told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        clock = SimpleNamespace(perf_counter=lambda: self.now)
        monkeypatch.setattr(meter_module, "time", clock)

    def pass_seconds(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


class OnDevice:
    """A number that notes when somebody waits for it."""

    def __init__(self, value: float, waited_for: list[float]) -> None:
        self._value, self._waited_for = value, waited_for

    def block_until_ready(self) -> "OnDevice":
        self._waited_for.append(self._value)
        return self

    def __float__(self) -> float:
        return self._value


def workload(*, num_steps: int, log_every: int, peak_flops: float | None = None) -> PhaseWorkload:
    return PhaseWorkload(
        log_every=log_every, phases=(PhaseWork(num_steps, 1_000, 600),),
        epoch=lambda step: step / 4, peak_flops=peak_flops,
    )  # fmt: skip


def metrics(
    loss: float, *, norm: float = 1.0, skipped: float = 0.0, rate: float = 0.0
) -> dict[str, float]:
    return {"loss": loss, "grad_norm": norm, "skipped_steps": skipped, "learning_rate": rate}


def test_the_newest_steps_are_not_waited_for(clock: Clock) -> None:
    assert STEPS_IN_FLIGHT == 2
    meter, waited_for = Meter(workload(num_steps=100, log_every=50)), []
    seen = []
    for step in range(1, 5):
        loss = OnDevice(step, waited_for)
        meter.add(step, metrics(1.0) | {"loss": loss})
        seen.append(list(waited_for))
    assert seen == [[], [], [1], [1, 2]]
    meter.settle()
    assert waited_for == [1, 2, 3, 4]
    meter.settle()
    assert waited_for == [1, 2, 3, 4]


def test_a_window_is_a_mean_over_its_steps_and_the_last_value_of_counts(clock: Clock) -> None:
    meter = Meter(workload(num_steps=6, log_every=2))
    figures = [(1.0, 0, 0.1), (2.0, 1, 0.2), (5.0, 1, 0.3), (7.0, 3, 0.4)]
    for step, (loss, skipped, rate) in enumerate(figures, start=1):
        meter.add(step, metrics(loss, skipped=skipped, rate=rate))
    meter.settle()
    records = meter.records()
    names = ("loss", "skipped_steps", "learning_rate", "epoch")
    figures = [(record.step, *(record.metrics[name] for name in names)) for record in records]
    assert figures == [(2, 1.5, 1.0, 0.2, 0.5), (4, 6.0, 3.0, 0.4, 1.0)]
    assert meter.records() == []


def test_a_step_that_is_no_number_leaves_the_mean_to_the_others(clock: Clock) -> None:
    meter = Meter(workload(num_steps=6, log_every=3))
    broken = metrics(math.nan, norm=math.nan)
    for step, each in enumerate([metrics(1.0), broken, metrics(2.0, norm=2.0), *[broken] * 3]):
        meter.add(step + 1, each)
    meter.settle()
    mixed, lost = (record.metrics for record in meter.records())
    assert (mixed["loss"], mixed["grad_norm"]) == (1.5, 1.5)
    assert math.isnan(lost["loss"]) and math.isnan(lost["grad_norm"])


def test_steps_skipped_in_a_row_are_counted_over_windows_until_one_is_not(clock: Clock) -> None:
    meter = Meter(workload(num_steps=8, log_every=2))
    norms = [1.0, math.nan, math.inf, math.nan, math.nan, 1.0, 1.0, math.nan]
    for step, norm in enumerate(norms, start=1):
        meter.add(step, metrics(0.0, norm=norm))
    meter.settle()
    assert [record.skipped_in_a_row for record in meter.records()] == [1, 3, 0, 1]


def test_a_spike_that_was_skipped_counts_by_the_number_that_the_step_keeps(clock: Clock) -> None:
    meter = Meter(workload(num_steps=6, log_every=2))
    # Two were skipped before this start.
    for step, skipped in enumerate((2, 3, 4, 5, 5, 6), start=1):
        meter.add(step, metrics(0.0, norm=50.0, skipped=skipped))
    meter.settle()
    assert [record.skipped_in_a_row for record in meter.records()] == [1, 3, 1]


def test_a_window_can_be_ended_before_it_is_full_and_only_if_it_holds_a_step(clock: Clock) -> None:
    meter = Meter(workload(num_steps=9, log_every=3))
    meter.end_window(0)
    for step in range(1, 6):
        meter.add(step, metrics(step))
    meter.settle()
    meter.end_window(5)
    meter.end_window(5)
    ends = [(record.step, record.metrics["loss"]) for record in meter.records()]
    assert ends == [(3, 2.0), (5, 4.5)]


def test_windows_end_at_multiples_of_log_every_and_with_the_last_step(clock: Clock) -> None:
    meter = Meter(workload(num_steps=5, log_every=2))
    for step in range(2, 6):  # resumed after step 1
        meter.add(step, metrics(step))
    # Steps 4 and 5 are still in flight.
    assert [(record.step, record.metrics["loss"]) for record in meter.records()] == [(2, 2.0)]
    meter.settle()
    ends = [(record.step, record.metrics["loss"]) for record in meter.records()]
    assert ends == [(4, 3.5), (5, 5.0)]


def test_speed_leaves_pauses_out_and_tells_the_share_of_waiting_for_data(clock: Clock) -> None:
    meter = Meter(workload(num_steps=10, log_every=2, peak_flops=1_000))
    with meter.paused("saving"):
        clock.pass_seconds(50)
    for step in (1, 2):
        with meter.waiting_for_data():
            clock.pass_seconds(1)
        clock.pass_seconds(3)
        meter.add(step, metrics(0.0))
    meter.settle()
    with meter.paused("saving"):
        clock.pass_seconds(70)
    for step in (3, 4):
        clock.pass_seconds(0.5)
        meter.add(step, metrics(0.0))
    meter.settle()
    first, second = (record.metrics for record in meter.records())
    # 2 steps in 8 s, of which 2 s waiting; 8 steps left.
    assert first["tokens_per_second"] == pytest.approx(250)
    assert first["data_wait"] == pytest.approx(0.25)
    assert first["eta_seconds"] == pytest.approx(32)
    assert first["mfu"] == pytest.approx(2 * 600 / 8 / 1_000)
    # 2 steps in 1 s, none of it waiting; 6 steps left.
    assert second["tokens_per_second"] == pytest.approx(2_000)
    assert second["data_wait"] == 0.0
    assert second["eta_seconds"] == pytest.approx(3)


def test_utilisation_is_left_out_where_the_peak_is_not_known(clock: Clock) -> None:
    meter = Meter(workload(num_steps=1, log_every=1))
    clock.pass_seconds(1)
    meter.add(1, metrics(0.0))
    meter.settle()
    assert "mfu" not in meter.records()[0].metrics


def test_a_window_in_no_time_divides_by_no_zero(clock: Clock) -> None:
    meter = Meter(workload(num_steps=1, log_every=1))
    meter.add(1, metrics(0.0))
    meter.settle()
    assert meter.records()[0].metrics["data_wait"] == 0.0


def test_a_window_over_two_phases_counts_what_each_step_was_worth(clock: Clock) -> None:
    work = PhaseWorkload(
        log_every=4, phases=(PhaseWork(2, 100, 50), PhaseWork(8, 400, 250)), epoch=float,
        peak_flops=1_000,
    )  # fmt: skip
    assert work.num_steps == 8
    assert work.between(0, 4) == (2 * 100 + 2 * 400, 2 * 50 + 2 * 250)
    assert work.between(2, 8) == (6 * 400, 6 * 250)
    assert work.between(8, 8) == (0, 0)
    meter = Meter(work)
    for step in range(1, 5):
        meter.add(step, metrics(1.0))
        clock.pass_seconds(0.5)
    meter.settle()
    ((step, record, *_),) = meter.records()
    assert step == 4 and record["epoch"] == 4.0
    assert record["tokens_per_second"] == pytest.approx(1_000 / 2)
    assert record["mfu"] == pytest.approx(600 / 2 / 1_000)
    # 600 FLOPs took two seconds; the four steps that are left have 1,000.
    assert record["eta_seconds"] == pytest.approx(1_000 / 300)
