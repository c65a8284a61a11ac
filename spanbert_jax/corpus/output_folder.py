"""The folder that prepare writes: complete, or resumable, or as it was before."""

from collections.abc import Iterator
from contextlib import contextmanager

from etils import epath

from spanbert_jax.corpus.files import TEMPORARY_SUFFIX
from spanbert_jax.corpus.record import RECORD_FILE, Record, read_record
from spanbert_jax.corpus.shards import (
    ARRAYS,
    MANIFEST_FILE,
    SPLITS,
    UNIGRAM_FILE,
    Manifest,
    read_manifest,
)
from spanbert_jax.errors import UserError


def earlier_record(folder: epath.Path) -> Record | None:
    """What an earlier run made the folder from; None where there was no such run."""
    record = read_record(folder)
    if record is None and (folder / MANIFEST_FILE).exists():
        # Shards copied from elsewhere without the record: the manifest holds the same.
        found = read_manifest(folder)
        record = Record(list(found.sources), dict(found.inputs), dict(found.options))
    return record


def complete_manifest(folder: epath.Path) -> Manifest | None:
    """The manifest where it and every file that it names are there."""
    if not (folder / MANIFEST_FILE).exists():
        return None
    manifest = read_manifest(folder)
    shards = [shard for split in manifest.splits.values() for shard in split]
    names = [shard.file(array) for shard in shards for array in ARRAYS]
    names += [manifest.tokenizer.file, UNIGRAM_FILE]
    return manifest if all((folder / name).exists() for name in names) else None


@contextmanager
def nothing_half_written(folder: epath.Path) -> Iterator[None]:
    """Make the folder; after an error leave it only where it holds complete shards.

    Interrupted, it keeps the tokenizer too: the same command goes on from there.
    """
    existed = folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        trial = folder / f"writable{TEMPORARY_SUFFIX}"
        trial.write_text("")
        trial.unlink()
    except OSError as error:
        raise UserError(
            f"--out {folder}: must be a folder that can be written ({error.strerror or error}); "
            "choose another one"
        ) from error
    try:
        yield
    except Exception:
        _withdraw(folder, remove_folder=not existed)
        raise
    except KeyboardInterrupt:
        _remove_temporary_files(folder)
        raise KeyboardInterrupt(
            f"while preparing text; what is complete in {folder} is kept, and the same command "
            "goes on from there"
        ) from None
    _remove_temporary_files(folder)


def _remove_temporary_files(folder: epath.Path) -> None:
    for left in folder.glob(f"*{TEMPORARY_SUFFIX}"):
        left.unlink()


def _withdraw(folder: epath.Path, *, remove_folder: bool) -> None:
    _remove_temporary_files(folder)
    if any(list(folder.glob(f"{split}-*.json")) for split in SPLITS):
        return
    for name in (RECORD_FILE, "tokenizer.model", "tokenizer.json"):
        (folder / name).unlink(missing_ok=True)
    if remove_folder and not list(folder.iterdir()):
        folder.rmdir()
