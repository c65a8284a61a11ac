"""A folder that appears whole, or not at all."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from etils import epath

from spanbert_jax.config.addresses import is_address
from spanbert_jax.corpus.files import as_path, temporary_suffix
from spanbert_jax.errors import UserError


def check_new(out: epath.PathLike) -> None:
    """Raise `UserError` where `out` is a file, or a folder that holds something."""
    folder = as_path(out)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        found = "one that holds files" if folder.is_dir() else "a file"
        raise UserError(
            f"--out {out}: must be a new or empty folder, found {found}; choose another name"
        )


def check_room(folder: epath.Path, num_bytes: int, *, out: epath.PathLike) -> None:
    """Raise `UserError` where the local disk of `folder` surely has not this much room left."""
    if is_address(folder):
        return
    free = shutil.disk_usage(folder).free
    if free < num_bytes:
        raise UserError(
            f"--out {out}: must have room for {num_bytes:,} bytes, found {free:,} free; make room "
            "there, or choose another place"
        )


@contextmanager
def new_folder(out: epath.PathLike) -> Iterator[epath.Path]:
    """A folder to fill, which becomes `out` in the end; after an error nothing is left of it.

    Filled beside `out`, then renamed. An empty folder that is there stays the same one, since it
    may be where the user stands, or where a disk is mounted: it is filled inside, then moved up.

    Raises:
        UserError: `out` holds something, or cannot be written.
    """
    check_new(out)
    folder = as_path(out).resolve()
    stays = folder.exists()
    filling = (folder if stays else folder.parent) / (folder.name + temporary_suffix())
    try:
        filling.mkdir(parents=True)
        yield filling
        if stays:
            for path in sorted(filling.iterdir()):
                path.rename(folder / path.name)
            filling.rmdir()
        else:
            filling.rename(folder)
    except OSError as error:
        filling.rmtree(missing_ok=True)
        raise UserError(
            f"--out {out}: must be a folder that can be written ({error}); choose another one"
        ) from error
    except BaseException:
        filling.rmtree(missing_ok=True)
        raise
