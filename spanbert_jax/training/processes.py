"""The processes of a run: how they find each other, and do the same thing or nothing.

Where there is one process alone, everything but `joined` does what would be done without it.
"""

import atexit
import contextlib
import hashlib
import json
import os
import re
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np
from etils import epath
from jax.experimental import multihost_utils
from orbax.checkpoint import multihost

from spanbert_jax.config import DistributedConfig
from spanbert_jax.config.json import RunConfig, settings
from spanbert_jax.errors import USER_ERROR, RunAgain, UserError, exit_code_of
from spanbert_jax.training import run_folder
from spanbert_jax.training.activity import Activity
from spanbert_jax.training.checkpoint import newest_step
from spanbert_jax.training.console import Console, open_console
from spanbert_jax.training.liveness import Liveness, Patience
from spanbert_jax.training.mesh import replicated
from spanbert_jax.training.run_lock import holding
from spanbert_jax.training.state_digest import state_digest

T = TypeVar("T")

# What the runtime says where another process has gone in the middle of a collective.
_LEFT_ALONE = re.compile(
    r"gloo|nccl|connection (closed|reset|refused)|broken pipe|socket closed|peer|heartbeat|"
    r"coordination service|barrier|deadline_exceeded|unavailable",
    re.IGNORECASE,
)
_SECONDS_TO_LEAVE = 30
_PACKAGE = Path(__file__).resolve().parents[1]
_PACKAGES = (
    "jax", "jaxlib", "libtpu", "flax", "optax", "orbax-checkpoint", "numpy", "tensorflow",
)  # fmt: skip


@contextmanager
def joined(config: DistributedConfig, activity: Activity) -> Iterator[None]:
    """Be one of the processes of a run, inside; leave it when all do.

    Must come before anything asks JAX for its devices. Where a process is lost, the others end
    with exit code 75, from inside a collective too.

    Raises:
        UserError: the processes do not find each other.
        RunAgain: what was raised inside came of the loss of another process.
    """
    _connect(config)
    with Liveness(
        multihost.get_jax_distributed_client(),
        process=jax.process_index(),
        num_processes=jax.process_count(),
        patience=Patience(config.silence_seconds, config.standstill_seconds),
        sign=lambda: (activity.step, activity.now, activity.waits),
        host=socket.gethostname(),
    ) as liveness:
        try:
            yield
            multihost_utils.sync_global_devices("the end of the run")
        except BaseException as error:
            if not isinstance(error, UserError) and _LEFT_ALONE.search(f"{error}"):
                verdict = liveness.wait_for_verdict()
                if verdict is not None:
                    _leave_at_exit(verdict.exit_code)
                    kind = UserError if verdict.exit_code == USER_ERROR else RunAgain
                    raise kind(verdict.text) from error
            liveness.tell_failure(error)
            _leave_at_exit(exit_code_of(error))
            raise
    jax.distributed.shutdown()


def _leave_at_exit(code: int) -> None:
    """Leave out what JAX does at exit: it would wait for processes that are gone, and abort."""

    def leave() -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)

    # The last one registered is the first one called.
    atexit.register(leave)


def _connect(config: DistributedConfig) -> None:
    waits: dict[str, Any] = {
        "initialization_timeout": config.connect_seconds,
        # Ours speak first, and name who is missing.
        "heartbeat_timeout_seconds": 4 * config.silence_seconds + 60,
        "shutdown_timeout_seconds": _SECONDS_TO_LEAVE,
    }
    # Stopping is agreed on by the loop: JAX's own way would take the signal away from it.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        if config.is_explicit:
            jax.distributed.initialize(
                config.coordinator, config.num_processes, config.process_id,
                cluster_detection_method="deactivate", **waits,
            )  # fmt: skip
        else:
            jax.distributed.initialize(**waits)
    except Exception as error:
        where = config.coordinator or "the coordinator that Cloud TPU or Slurm names"
        raise UserError(
            f"--distributed.coordinator: all processes must reach {where} within "
            f"{config.connect_seconds} seconds, found {type(error).__name__}: {error}; check that "
            "every process is started, that the port is free and open between the hosts, and that "
            "no two have the same --distributed.process-id"
        ) from error


def are_several() -> bool:
    """Whether there are other processes."""
    return jax.process_count() > 1


def is_first() -> bool:
    """Whether this process is the one that writes and speaks."""
    return jax.process_index() == 0


def own_console(num_steps: int) -> Console:
    """The console of this process, for a run of `num_steps`; the first one speaks for all."""
    return open_console(num_steps, speaks=is_first(), name=f"process {jax.process_index()}")


def wait_for_all(what: str) -> None:
    """Return when every process has come here."""
    if are_several():
        multihost_utils.sync_global_devices(what)


def texts_of_all(text: str) -> list[str]:
    """What every process says here, by their numbers: ["...", "..."]."""
    if not are_several():
        return [text]
    said = np.frombuffer(text.encode(), np.uint8)
    sizes = multihost_utils.process_allgather(np.array([len(said)]))
    padded = np.zeros(max(1, sizes.max()), np.uint8)
    padded[: len(said)] = said
    rows = multihost_utils.process_allgather(padded)
    return [bytes(row[:size]).decode() for row, size in zip(rows, sizes.reshape(-1), strict=True)]


def reason_of_all(here: str, *, is_own: bool = True) -> str:
    """Why something failed in one of all processes, as it says itself; "" where it did in none.

    is_own: it is no failure that only came of another one's.
    """
    if not are_several():
        return here
    return min(_spoken(here, mark=not is_own), default=(False, 0, ""))[2]


def _spoken(said: str, *, mark: bool) -> list[tuple[bool, int, str]]:
    """Of the processes that say anything: mark, number, "process 1 on a: what it says"."""
    texts = texts_of_all(json.dumps([socket.gethostname(), said, mark]))
    return [
        (marked, number, f"process {number} on {host}: {text}")
        for number, (host, text, marked) in enumerate(map(json.loads, texts))
        if text
    ]


def any_of_all(here: bool) -> bool:
    """Whether it holds in any process; every process must ask, and waits for the others."""
    if not are_several():
        return here
    return bool(multihost_utils.process_allgather(np.array(here)).any())


def together(action: Callable[[], T]) -> T:
    """`action` in every process; where it fails in one, it fails in all, with that one's reason.

    Raises:
        UserError: of this process, or what the first one of the others says of bad input.
        RunAgain: the first one of the others failed otherwise.
    """
    failure, result = None, None
    try:
        result = action()
    except Exception as error:
        failure = error
    is_input = isinstance(failure, UserError)
    message = f"{failure}" if is_input else f"{failure!r}" if failure else ""
    spoken = _spoken(message, mark=is_input)
    if failure is not None:
        raise failure
    for is_input, _, said in spoken:
        raise (UserError if is_input else RunAgain)(said)
    return result  # type: ignore[return-value]


def require_same(facts: dict[str, str]) -> None:
    """Raise `UserError` where processes differ in what they must have in common, naming the first.

    facts: by the words that say what they are, such as {"version of jax": "0.10.2"}.
    """
    everybody = [json.loads(text) for text in texts_of_all(json.dumps(facts))]
    for what, value in everybody[0].items():
        others = [i for i, each in enumerate(everybody) if each.get(what) != value]
        if others:
            raise UserError(
                f"{what}: must be the same for all processes, found {value} in process 0 and "
                f"{everybody[others[0]].get(what)} in process {others[0]}"
                f"{f' and {len(others) - 1} more' if len(others) > 1 else ''}; start all of them "
                "with the same code, the same packages and the same command"
            )


def check_same_run(config: RunConfig, data: dict[str, str], *, weights: Any = None) -> None:
    """Raise `UserError` where processes were started with other code, packages or settings.

    data: fingerprints of what is trained on, by name.
    weights: arrays of the host that the run begins with, where it does not begin at random.
    """
    if not (config.fail_fast and are_several()):
        return
    require_same(
        {
            **settings(config),
            **data,
            **({} if weights is None else {"weights of --init-from": _digest_of_arrays(weights)}),
            "code of spanbert_jax": _digest(*map(Path.read_bytes, sorted(_PACKAGE.rglob("*.py")))),
            **{f"version of {name}": _version(name) for name in _PACKAGES},
            "number of devices of a process": f"{jax.local_device_count()}",
        }
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


def _digest_of_arrays(tree: Any) -> str:
    return _digest(json.dumps(state_digest(tree), sort_keys=True).encode())


def _digest(*contents: bytes) -> str:
    return hashlib.sha256(b"\0".join(contents)).hexdigest()[:12]


def claim_together(
    config: RunConfig, *, tokenizer_file: epath.Path, data: Mapping[str, str] | None = None
) -> None:
    """The first process claims the run's folder; the others see that it is the same folder.

    data: fingerprints to keep there, as of `run_folder.claim`.

    Raises:
        UserError: it cannot be written, or is not one folder for all hosts.
    """
    folder = config.workdir

    def claim() -> None:
        if is_first():
            run_folder.claim(folder, config, tokenizer_file=tokenizer_file, data=data)

    together(claim)
    together(lambda: None if is_first() else _check_shared(folder, config))


@contextmanager
def holding_together(run_dir: epath.PathLike, *, newest: int | None) -> Iterator[None]:
    """The first process holds the folder of a run, for all of them.

    newest: the step of the newest checkpoint when the folder was looked at, before it was held.

    Raises:
        UserError: another run holds it.
        RunAgain: another run has saved there since, and has left; or processes see different ones.
    """
    with contextlib.ExitStack() as held:
        together(lambda: held.enter_context(holding(run_dir)) if is_first() else None)
        _check_unchanged(run_dir, newest)
        yield


def _check_unchanged(run_dir: epath.PathLike, newest: int | None) -> None:
    found = together(lambda: newest_step(run_dir))
    # Before and now, as every process sees it.
    steps = {
        step for text in texts_of_all(json.dumps([newest, found])) for step in json.loads(text)
    }
    if len(steps) > 1:
        raise RunAgain(
            f"--workdir {run_dir}: the newest checkpoint must be the same one for all processes, "
            f"from the first look to the last, found those of steps {_listed(steps)}: another run "
            "was at it, or a network disk shows its hosts different things; run the same command "
            "again"
        )


def _listed(steps: set[int | None]) -> str:
    """{10, None} -> 10, none"""
    return ", ".join("none" if step is None else f"{step:,}" for step in sorted(steps, key=str))


def _check_shared(folder: str, config: RunConfig) -> None:
    if run_folder.read_config(folder) != config:
        raise UserError(
            f"--workdir {folder}: must be one folder that all hosts share, such as gs:// or a "
            "network disk, found that this host does not see what the first one wrote there; use "
            "another --workdir"
        )
    # Every host writes its part of a checkpoint there.
    run_folder.prove_writable(folder, by=f"process-{jax.process_index()}")


def whole(tree: Any) -> Any:
    """Arrays of all devices as this process' own, whole; every process must ask for them."""
    if not are_several():
        return tree
    mesh = jax.tree.leaves(tree)[0].sharding.mesh
    gathered = jax.jit(lambda tree: tree, out_shardings=replicated(mesh))(tree)
    return jax.tree.map(np.asarray, gathered)
