"""Places that are no local disk. In: a path as it was given. Out: whether it is one of them."""

import os


def is_address(path: str | os.PathLike[str]) -> bool:
    """Whether a path is an address, such as gs://bucket/file, and not on a disk."""
    return "://" in os.fspath(path)
