"""The folder that prepare writes: complete, or resumable, or as it was before."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

from etils import epath

from spanbert_jax.corpus.files import NO_ROOM, ResumableError, full_disk, temporary_suffix
from spanbert_jax.corpus.record import RECORD_FILE, Record, read_record
from spanbert_jax.corpus.shards import (
    ARRAYS,
    MANIFEST_FILE,
    SPLITS,
    UNIGRAM_FILE,
    Manifest,
    read_manifest,
)
from spanbert_jax.corpus.tokenizers.loading import SENTENCEPIECE_FILE, TOKENIZER_JSON
from spanbert_jax.corpus.units import FOLDER as PROGRESS
from spanbert_jax.errors import UserError

_FIXED_NAMES = (
    MANIFEST_FILE, RECORD_FILE, UNIGRAM_FILE, SENTENCEPIECE_FILE, TOKENIZER_JSON, PROGRESS,
)  # fmt: skip
_OUR_NAMES = re.compile(
    rf"{'|'.join(map(re.escape, _FIXED_NAMES))}"
    rf"|(?:{'|'.join(SPLITS)})-\d+\.(?:json|(?:{'|'.join(ARRAYS)})\.npy)"
)

_TEMPORARY = re.compile(r"(?P<name>.+)\.spanbert-(?P<process>\d+)\.tmp")


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
def nothing_half_written(folder: epath.Path, *, resumed: bool) -> Iterator[None]:
    """Make the folder; nothing in it is ever half-written under its own name.

    Where the text or an option is to blame, it is left as it was, or with complete shards added.
    Interrupted, killed or without room, it keeps all that is complete: the same command goes on
    from there. Raises `UserError` where it cannot be written, or where no earlier run (`resumed`)
    left what it holds under names that this one writes.
    """
    existed = folder.exists()
    before = _claim(folder, resumed=resumed)
    try:
        yield
    except OSError as error:
        _remove_temporary_files(folder)
        if error.errno in NO_ROOM:
            raise full_disk(folder, error) from error
        raise
    except UserError as error:
        _remove_temporary_files(folder)
        if not isinstance(error, ResumableError):
            _withdraw(folder, before, remove_folder=not existed)
        raise
    except KeyboardInterrupt:
        _remove_temporary_files(folder)
        raise KeyboardInterrupt(
            f"while preparing text; what is complete in {folder} is kept, and the same command "
            "goes on from there"
        ) from None


def _claim(folder: epath.Path, *, resumed: bool) -> frozenset[str]:
    """Make the folder and prove that it can be written. Returns the names it held before."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        before = frozenset(path.name for path in folder.iterdir())
        foreign = sorted(name for name in before if _OUR_NAMES.fullmatch(name))
        if foreign and not resumed:
            raise UserError(
                f"--out {folder}: must hold no files of the names that are written there, found "
                f"{', '.join(foreign[:3])}{' ...' * (len(foreign) > 3)} of no earlier run of "
                "prepare; choose another folder, or move them away"
            )
        _remove_files_of_killed_runs(folder)
        # Named as one of ours, so that a run killed here leaves nothing for ever.
        trial = folder / f"{RECORD_FILE}{temporary_suffix()}"
        trial.write_text("")
        trial.unlink()
    except OSError as error:
        raise UserError(
            f"--out {folder}: must be a folder that can be written ({error.strerror or error}); "
            "choose another one"
        ) from error
    return before


def _remove_temporary_files(folder: epath.Path) -> None:
    for place in (folder, folder / PROGRESS):
        for left in place.glob(f"*{temporary_suffix()}") if place.exists() else ():
            left.unlink(missing_ok=True)


def _remove_files_of_killed_runs(folder: epath.Path) -> None:
    """Temporary files of processes that are no more; those in progress go with their folder."""
    for path in folder.iterdir():
        found = _TEMPORARY.fullmatch(path.name)
        if found and _OUR_NAMES.fullmatch(found["name"]) and not _is_alive(int(found["process"])):
            path.unlink(missing_ok=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def remove_progress(folder: epath.Path) -> None:
    """Remove what a run keeps to go on from; its shards are complete."""
    if (folder / PROGRESS).exists():
        (folder / PROGRESS).rmtree()


def _withdraw(folder: epath.Path, before: frozenset[str], *, remove_folder: bool) -> None:
    """Remove what this run made, unless complete shards are among it; nothing that was there."""
    if PROGRESS not in before:
        remove_progress(folder)
    if any(list(folder.glob(f"{split}-*.json")) for split in SPLITS):
        return
    for path in folder.iterdir():
        if path.name not in before and _OUR_NAMES.fullmatch(path.name):
            path.unlink(missing_ok=True)
    if remove_folder and not list(folder.iterdir()):
        folder.rmdir()
