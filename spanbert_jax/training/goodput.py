"""Where the time of a run went, over all of its starts. In: what each start was at. Out: the share
of the wall time in steps that count, and goodput.json.
"""

import json
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from etils import epath

from spanbert_jax.errors import is_refusal, storage_cause, storage_may_fail
from spanbert_jax.training.activity import TRAINING, Activity
from spanbert_jax.training.console import duration
from spanbert_jax.training.patient_file import Uploads
from spanbert_jax.training.run_folder import write_whole

GOODPUT_FILE = "goodput.json"
TAKEN_BACK, DOWN = "steps taken again", "not running"


class Start(NamedTuple):
    """One start of a run."""

    began: float
    """Seconds since 1970, by the clock of the host."""
    from_step: int
    to_step: int
    seconds: dict[str, float]
    """By what the first process was at, of its own clock that never jumps."""

    @property
    def ended(self) -> float:
        return self.began + sum(self.seconds.values())


def spent(starts: Sequence[Start]) -> dict[str, float]:
    """Seconds from the first start to the end of the last one, by what they went to.

    Steps that a later start took again, since a crash came before they were saved, count for
    nothing. 10 steps in 10 s, from 6 on again after a pause of 2 s, 4 steps in 4 s
    -> {"training": 10.0, "steps taken again": 4.0, "not running": 2.0}
    """
    total: dict[str, float] = {}

    def add(what: str, seconds: float) -> None:
        total[what] = total.get(what, 0.0) + seconds

    for number, start in enumerate(starts):
        later = starts[number + 1 :]
        done = start.to_step - start.from_step
        # The furthest back that any later start began: what lies behind it was taken again.
        kept = max(0, min([start.to_step, *(each.from_step for each in later)]) - start.from_step)
        for what, seconds in start.seconds.items():
            lost = seconds * (1 - kept / done) if what == TRAINING and done else 0.0
            add(what, seconds - lost)
            if lost:
                add(TAKEN_BACK, lost)
        if later:
            # Clocks of two hosts may disagree.
            add(DOWN, max(0.0, later[0].began - start.ended))
    return total


def goodput(total: dict[str, float]) -> float:
    """The share of steps that count: {"training": 9.0, "saving": 1.0} -> 0.9."""
    wall = sum(total.values())
    return total.get(TRAINING, 0.0) / wall if wall else 0.0


def described(total: dict[str, float]) -> str:
    """-> "goodput 91.2% of 2h 3m: training 1h 52m, compiling 5m 2s, saving 3m 10s, ..."."""
    parts = sorted(total.items(), key=lambda part: -part[1])
    listed = ", ".join(f"{what} {duration(seconds)}" for what, seconds in parts if seconds >= 0.5)
    of = f"goodput {goodput(total):.1%} of {duration(sum(total.values()))}"
    return f"{of}: {listed}" if listed else of


class Ledger:
    """Keeps goodput.json of a run; of several processes, the first one's."""

    def __init__(
        self,
        run_dir: epath.PathLike,
        activity: Activity,
        *,
        from_step: int,
        writes: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """All starts in a folder are starts of its run, also those that saved nothing."""
        self._file = epath.Path(run_dir) / GOODPUT_FILE
        self._uploads = Uploads(self._file)
        self._writes, self._activity, self._from_step = writes, activity, from_step
        self._began = clock() - sum(activity.seconds().values())
        self._before = _read(self._file) if writes else []
        self._processes: Sequence[dict[str, Any]] = ()

    def update(
        self, step: int, processes: Sequence[dict[str, Any]] = (), *, is_last: bool = False
    ) -> dict[str, float]:
        """Write down where the run stands after `step`; seconds of all starts, as `spent`.

        processes: figures of each, as `host_times.named`; those of the last time where none are
            given.
        is_last: nothing follows, so that it is written wherever the file lies; else see `Uploads`.
        """
        self._processes = processes or self._processes
        if self._before is None:
            self._before = _read(self._file)
        this = Start(self._began, self._from_step, step, self._activity.seconds())
        starts = [*(self._before or ()), this]
        total = spent(starts)
        # What is there and cannot be read yet is not written over.
        if self._writes and self._before is not None and (self._uploads.are_due() or is_last):
            content = {
                "goodput": goodput(total), "seconds": total,
                "starts": [start._asdict() for start in starts],
                "processes": list(self._processes),
            }  # fmt: skip
            # Others say so, and the next window has all of it again.
            with storage_may_fail():
                write_whole(self._file, json.dumps(content, indent=1).encode())
        return total


def _read(file: epath.Path) -> list[Start] | None:
    """The starts before; what a crash left unreadable is no reason not to go on. None where the
    storage does not answer.
    """
    try:
        content: dict[str, Any] = json.loads(file.read_text())
        return [Start(**start) for start in content["starts"]]
    except (ValueError, TypeError, KeyError):
        return []
    except Exception as error:
        if storage_cause(error) is None:
            raise
        return None if is_refusal(error) else []
