"""Whether all processes of a run are alive. In: signs of life, through JAX's coordinator. Out: an
end that names who is missing, in place of a wait that never ends.

A collective waits for every process: where one is gone or hangs, the others would wait for ever,
inside the compiler's runtime, where no exception reaches them. So each process gives a sign of life
from a thread of its own; the first one reads them all, and says in one word to everybody who is
missing; everybody reads that word, and ends.

From the loss of a process to the end of all others passes at most 1.75 times the silence that is
allowed, of which a sign is a sixth: a sign may be heard one sign late (1), is missed at the first
look after the silence (6 + 1), and the first process lingers, so that the others read why (2.5).
Where it is the first process that hangs, nobody lingers, and it is 7 signs. Where it dies, JAX's
runtime may notice at once.
"""

import contextlib
import json
import threading
import time
from collections.abc import Callable
from typing import NamedTuple, Protocol, Self

from spanbert_jax.errors import RUN_AGAIN, UserError, exit_code_of
from spanbert_jax.training.leaving import leave

_ALIVE, _FAILED, _VERDICT = "spanbert/alive/", "spanbert/failed/", "spanbert/verdict"
_SIGNS_IN_SILENCE = 6
"""Signs of life that may get lost."""
_LINGERING_SIGNS = 2.5
"""For which the first process stays, once it has said why all end."""
_START_PATIENCE = 4
"""How many times as long as later nothing may move before the first step: opening data and
compiling are single long moves."""
_NAMED = 4
"""Processes that are named where many are missing."""


class Store(Protocol):
    """Texts that all processes read and write: JAX's client of its coordinator."""

    def key_value_set(self, key: str, value: str, allow_overwrite: bool = False) -> None: ...

    def key_value_dir_get(self, key: str) -> list[tuple[str, str]]: ...

    def key_value_delete(self, key: str) -> None: ...


class Sign(NamedTuple):
    """What a process says of itself."""

    host: str
    number: int
    """Grows with every sign: by it others see that it is new, whatever their clocks say."""
    step: int
    doing: str
    waits: bool = False
    """Whether it waits for the others, and so is not the one that holds them up."""
    left: bool = False
    """Whether it has left the run, as it should."""

    @property
    def is_at(self) -> str:
        """-> "training and waiting for others, step 1,200"."""
        return f"{self.doing}{' and waiting for others' * self.waits}, step {self.step:,}"


class Verdict(NamedTuple):
    """Why the run ends, and the code of every process that ends with it."""

    text: str
    exit_code: int = RUN_AGAIN


class Patience(NamedTuple):
    """Seconds."""

    silence: float
    standstill: float

    @property
    def between_signs(self) -> float:
        return self.silence / _SIGNS_IN_SILENCE


class Roll:
    """What the first process knows of all: their signs, and when each one last changed."""

    def __init__(self, num_processes: int, patience: Patience, *, now: float) -> None:
        self._patience = patience
        self._signs: dict[int, Sign | None] = dict.fromkeys(range(num_processes))
        self._heard = dict.fromkeys(range(num_processes), now)
        self._moved = now

    def hear(self, process: int, sign: Sign, *, now: float) -> None:
        """Take a sign, which may be one that is known."""
        before = self._signs[process]
        if sign != before:
            self._signs[process], self._heard[process] = sign, now
        if before is None or (sign.step, sign.doing) != (before.step, before.doing):
            self._moved = now

    def missing(self, *, now: float) -> Verdict | None:
        """The processes that have been silent for too long, or that all others wait for."""
        here = [i for i, sign in self._signs.items() if sign is None or not sign.left]
        silent = [i for i in here if now - self._heard[i] > self._patience.silence]
        if silent:
            return Verdict(
                f"no sign of life for {self._patience.silence:g} seconds from "
                f"{self._named(silent)}: dead, hanging, or cut off"
            )
        begun = any(sign is not None and sign.step > 0 for sign in self._signs.values())
        patience = self._patience.standstill * (1 if begun else _START_PATIENCE)
        if here and now - self._moved > patience:
            behind = sorted(here, key=self._progress)
            return Verdict(
                f"nothing has moved for {patience:g} seconds; furthest behind: "
                f"{self._named(behind)}; if that is no fault, raise "
                "--distributed.standstill-seconds"
            )
        return None

    def _progress(self, process: int) -> tuple[int, bool]:
        sign = self._signs[process]
        return (-1, False) if sign is None else (sign.step, sign.waits)

    def _named(self, processes: list[int]) -> str:
        """-> "process 3 on host-3 (waiting for data, step 1,200), process 5"."""
        named = [
            f"process {i} on {sign.host} ({sign.is_at})"
            if (sign := self._signs[i])
            else f"process {i}"
            for i in processes[:_NAMED]
        ]
        more = len(processes) - len(named)
        return ", ".join(named + [f"{more} more"] * (more > 0))


class Liveness:
    """Gives this process' signs of life, and ends it where the run has to end."""

    def __init__(
        self,
        store: Store,
        *,
        process: int,
        num_processes: int,
        patience: Patience,
        sign: Callable[[], tuple[int, str, bool]],
        host: str,
        end: Callable[[Verdict], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """sign: step, words of what the process is at, whether it waits for the others. end: called
        once, in a thread.
        """
        self._store, self._process, self._patience = store, process, patience
        self._sign, self._host, self._clock = sign, host, clock
        self._end = end or _end_process
        self._roll = Roll(num_processes, patience, now=clock()) if process == 0 else None
        self._number, self._reached = 0, clock()
        self._closing = threading.Event()
        self._verdict: Verdict | None = None
        self._told = threading.Event()
        self._threads = [
            threading.Thread(target=target, name=name, daemon=True)
            for target, name in ((self._exchange, "signs of life"), (self._watch, "watch"))
        ]

    def __enter__(self) -> Self:
        self._say()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Leave the run; nobody misses this process from now on, unless an error drives it out."""
        self._closing.set()
        if kind is not None:
            return
        with contextlib.suppress(Exception):  # The coordinator may have gone first.
            self._say(left=True)

    def tell_failure(self, error: BaseException) -> None:
        """Let the others know at once why this process ends."""
        # A crash is one of all processes, whichever of them ends first: launchers count it.
        code = exit_code_of(error) if not isinstance(error, KeyboardInterrupt) else RUN_AGAIN
        said = f"{error}" if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        text = f"process {self._process} on {self._host} failed: {said}"
        with contextlib.suppress(Exception):  # Nobody may be left to be told.
            if self._roll is None:
                self._store.key_value_set(f"{_FAILED}{self._process}", json.dumps([text, code]))
            else:
                # Nobody else would judge.
                self._proclaim(Verdict(text, code))
                self._linger()

    def wait_for_verdict(self) -> Verdict | None:
        """Who is missing, for a process that others have left in the middle of a step."""
        self._end = lambda verdict: None
        self._told.wait(self._patience.silence + 6 * self._patience.between_signs)
        self._linger()
        return self._verdict

    def _exchange(self) -> None:
        while not self._closing.wait(self._patience.between_signs):
            try:
                self._say()
                verdict = self._read_verdict() or self._judge()
                self._reached = self._clock()
            except Exception:  # `_watch` counts for how long.
                continue
            if verdict is not None:
                self._conclude(verdict)
                return

    def _say(self, *, left: bool = False) -> None:
        self._number += 1
        sign = Sign(self._host, self._number, *self._sign(), left)
        self._store.key_value_set(
            f"{_ALIVE}{self._process}", json.dumps(sign), allow_overwrite=True
        )

    def _read_verdict(self) -> Verdict | None:
        # A folder of at most one entry: asking for a key that is missing is an error.
        found = self._store.key_value_dir_get(_VERDICT)
        return Verdict(*json.loads(found[0][1])) if found else None

    def _judge(self) -> Verdict | None:
        """What the first process concludes, written down for the others."""
        if self._roll is None:
            return None
        failed = self._store.key_value_dir_get(_FAILED)
        verdict = Verdict(*json.loads(failed[0][1])) if failed else None
        now = self._clock()
        for key, value in self._store.key_value_dir_get(_ALIVE):
            process = int(key.rpartition("/")[2])
            self._roll.hear(process, Sign(*json.loads(value)), now=now)
        verdict = verdict or self._roll.missing(now=now)
        if verdict is not None:
            self._proclaim(verdict)
        return verdict

    def _proclaim(self, verdict: Verdict) -> None:
        self._store.key_value_set(f"{_VERDICT}/0", json.dumps(verdict))

    def _linger(self) -> None:
        """End after the others, who read the verdict through the first process."""
        if self._roll is not None:
            time.sleep(_LINGERING_SIGNS * self._patience.between_signs)

    def _watch(self) -> None:
        """Conclude that the coordinator is gone, where it has not answered for too long."""
        while not self._closing.wait(self._patience.between_signs):
            if self._clock() - self._reached > self._patience.silence:
                self._conclude(
                    Verdict(
                        f"no answer for {self._patience.silence:g} seconds from process 0, the "
                        "coordinator: it died, hangs, or its network does"
                    )
                )
                return

    def _conclude(self, verdict: Verdict) -> None:
        self._verdict = self._verdict or verdict
        self._told.set()
        self._linger()
        if not self._closing.is_set():
            self._end(verdict)


def _end_process(verdict: Verdict) -> None:
    """The main thread is inside a collective, and never comes back from it."""
    leave(f"spanbert: stopped: {verdict.text}", verdict.exit_code)
