"""One program for one run's folder. In: the folder. Out: it, held until the program ends.

On a local disk the kernel holds it, and lets go however the program ends. On gs:// and the like
nobody does: there the holder renews a lease, and who finds one waits until it is renewed, which
means that its holder lives, or is surely old.
"""

import contextlib
import fcntl
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any

from etils import epath

from spanbert_jax.config.addresses import is_address
from spanbert_jax.errors import USER_ERROR, UserError
from spanbert_jax.training.leaving import leave
from spanbert_jax.training.run_folder import not_writable

LOCK_FILE = "lock"
_RENEWALS = 4
"""Renewals in the life of a lease: three may fail."""


def _leave(why: UserError) -> None:
    """End this program where it stands: whatever it wrote now would be in another one's folder."""
    leave(f"spanbert: error: {why}", USER_ERROR)


@contextmanager
def holding(run_dir: epath.PathLike, *, lease_seconds: float = 60.0) -> Iterator[None]:
    """Hold the folder of a run, which is made if need be.

    lease_seconds: of storage that is no local disk; so long a start waits there after a crash.

    Raises:
        UserError: another program holds it, or it cannot be written.
    """
    folder = epath.Path(run_dir)
    if is_address(run_dir):
        folder.mkdir(parents=True, exist_ok=True)
        with leased(folder, seconds=lease_seconds):
            yield
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = _locked(folder)
    except OSError as error:
        raise not_writable(run_dir, error) from error
    with file:
        try:
            yield
        finally:
            (folder / LOCK_FILE).unlink(missing_ok=True)


def _locked(folder: epath.Path) -> IO[str]:
    """The lock file, held as long as it is open."""
    while True:
        file = open(folder / LOCK_FILE, "a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            with file:
                file.seek(0)
                raise _held(folder, file.read()) from error
        if _is_there(folder, file):
            break
        # Its holder has left, and taken it away, since it was opened.
        file.close()
    file.truncate(0)
    file.write(json.dumps(_holder()))
    file.flush()
    return file


def _is_there(folder: epath.Path, file: IO[str]) -> bool:
    try:
        return os.path.samestat(os.stat(folder / LOCK_FILE), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


@contextmanager
def leased(
    folder: epath.Path, *, seconds: float, on_loss: Callable[[UserError], None] = _leave
) -> Iterator[None]:
    """Hold a folder by a lease that a thread renews.

    on_loss: called once by that thread, where the lease ran out unrenewed, as for a program that
        was suspended or cut off for so long, and another program took it.
    """
    file, own, number = folder / LOCK_FILE, _holder(), 0
    _await_end(file, seconds=seconds)

    def renew() -> None:
        nonlocal number
        number += 1
        file.write_text(json.dumps(own | {"renewals": number}))

    renew()
    # Whoever wrote at the same moment sees the last one's.
    time.sleep(seconds / 60)
    if json.loads(file.read_text())["id"] != own["id"]:
        raise _held(folder, file.read_text())
    done = threading.Event()

    def other() -> str | None:
        """What lies there in place of our lease: another one, or "" where that has gone again."""
        try:
            said = file.read_text()
            return None if json.loads(said)["id"] == own["id"] else said
        except FileNotFoundError:
            return ""

    def keep() -> None:
        while not done.wait(seconds / _RENEWALS):
            try:
                if (said := other()) is None:
                    renew()
            except Exception:  # Storage may fail now and then.
                continue
            if said is not None:
                on_loss(_held(folder, said))
                return

    thread = threading.Thread(target=keep, name="lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        with contextlib.suppress(Exception):
            if other() is None:
                file.unlink()


def _await_end(file: epath.Path, *, seconds: float) -> None:
    """Return when no lease is there, or one that nobody renews."""
    try:
        found = file.read_text()
    except FileNotFoundError:
        return
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(seconds / (2 * _RENEWALS))
        try:
            again = file.read_text()
        except FileNotFoundError:
            return
        if again != found:
            raise _held(file.parent, again)


def _holder() -> dict[str, Any]:
    return {"host": socket.gethostname(), "pid": os.getpid(), "id": uuid.uuid4().hex}


def _held(folder: epath.Path, said: str) -> UserError:
    try:
        holder = json.loads(said)
        who = f"process {holder['pid']} on {holder['host']}"
    except (ValueError, TypeError, KeyError):
        who = "another process"
    return UserError(
        f"--workdir {folder}: must be written by one run alone, found that {who} is at it; wait "
        "for its end, stop it, or use another --workdir"
    )
