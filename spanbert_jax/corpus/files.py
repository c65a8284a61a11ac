"""Files on local disks and gs:// alike: whole or not at all, and their checksums."""

import contextlib
import errno
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from typing import Any

from etils import epath

from spanbert_jax.errors import UserError

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


class ResumableError(UserError):
    """The text is not to blame: what is complete is kept, and the same command goes on."""


class FullDisk(ResumableError):
    """There is no room for a file."""


def temporary_suffix() -> str:
    """Ends the names of unfinished files; of this process alone, so that no two runs share one."""
    return f".spanbert-{os.getpid()}.tmp"


def as_path(path: epath.PathLike) -> epath.Path:
    """A path as the user gave it; ~ is the home folder, since `--flag=~/x` leaves it to us."""
    return epath.Path(path).expanduser()


def write_bytes(path: epath.Path, *parts: bytes | memoryview) -> None:
    with path.open("wb") as file:
        for part in parts:
            file.write(part)


def write_file(path: epath.Path, *parts: bytes | memoryview) -> str:
    """Write under a temporary name, then rename. Returns the sha256 of the content.

    parts: one after the other; a large file need not be put together in memory.

    Raises `FullDisk` where there is no room; the temporary file is gone then.
    """
    temporary = path.parent / (path.name + temporary_suffix())
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    try:
        write_bytes(temporary, *parts)
        temporary.replace(path)
    except OSError as error:
        # Room for what follows, the message of the error first.
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        if error.errno in NO_ROOM:
            raise full_disk(path, error) from error
        raise
    return digest.hexdigest()


def write_texts(folder: epath.Path, texts: Mapping[str, str]) -> None:
    """Write files by their names below `folder`, each whole or not at all."""
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, text.encode())


def write_json(path: epath.Path, content: Any) -> None:
    """Write JSON that people can read, whole or not at all."""
    write_file(path, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())


def full_disk(path: epath.Path, error: OSError) -> "FullDisk":
    try:
        free = f", with {shutil.disk_usage(path.parent).free / 1e6:,.0f} MB free there now"
    except OSError:
        free = ""
    return FullDisk(
        f"{path}: must be written, found no room for it ({error.strerror}{free}); make room, then "
        "run the same command: what is complete is kept, and it goes on from there"
    )


def sha256_of(path: epath.Path) -> str:
    """Checksum of a file, read in pieces of 8 MB."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 23):
            digest.update(piece)
    return digest.hexdigest()
