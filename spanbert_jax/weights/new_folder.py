"""A folder that appears whole, or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager

from etils import epath

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


@contextmanager
def new_folder(out: epath.PathLike) -> Iterator[epath.Path]:
    """A folder beside `out` to fill, renamed to it in the end; after an error nothing is left.

    Raises:
        UserError: `out` holds something, or cannot be written.
    """
    check_new(out)
    folder = as_path(out)
    filling = folder.parent / (folder.name + temporary_suffix())
    try:
        filling.mkdir(parents=True)
        yield filling
        if folder.exists():
            folder.rmdir()
        filling.rename(folder)
    except OSError as error:
        filling.rmtree(missing_ok=True)
        raise UserError(
            f"--out {out}: must be a folder that can be written ({error}); choose another one"
        ) from error
    except BaseException:
        filling.rmtree(missing_ok=True)
        raise
