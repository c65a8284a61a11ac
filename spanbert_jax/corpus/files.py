"""Files on local disks and gs:// alike: whole or not at all, and their checksums."""

import hashlib
import os

from etils import epath


def temporary_suffix() -> str:
    """Ends the names of unfinished files; of this process alone, so that no two runs share one."""
    return f".spanbert-{os.getpid()}.tmp"


def as_path(path: epath.PathLike) -> epath.Path:
    """A path as the user gave it; ~ is the home folder, since `--flag=~/x` leaves it to us."""
    return epath.Path(path).expanduser()


def write_file(path: epath.Path, content: bytes | memoryview) -> str:
    """Write under a temporary name, then rename. Returns the sha256 of the content."""
    temporary = path.parent / (path.name + temporary_suffix())
    temporary.write_bytes(content)
    temporary.replace(path)
    return hashlib.sha256(content).hexdigest()


def sha256_of(path: epath.Path) -> str:
    """Checksum of a file, read in pieces of 8 MB."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 23):
            digest.update(piece)
    return digest.hexdigest()
