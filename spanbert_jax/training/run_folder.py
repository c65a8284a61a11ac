"""A run's folder: its config, its tokenizer, its checkpoints. What resuming may not change.

config.json  data.json  tokenizer/  checkpoints/  damaged/  metrics.jsonl  tensorboard/
report.html
"""

import json
import os
from collections.abc import Mapping

from etils import epath

from spanbert_jax.config import FinetuneConfig, PretrainConfig
from spanbert_jax.config.addresses import is_address
from spanbert_jax.config.json import ChangedField, RunConfig, changed_fields, from_json, to_json
from spanbert_jax.errors import UserError

CONFIG_FILE = "config.json"
DATA_FILE = "data.json"
"""Fingerprints of what a run of fine-tuning is trained on, and compares its checkpoints on."""
CHECKPOINT_FOLDER = "checkpoints"
DAMAGED_FOLDER = "damaged"
"""Checkpoints that are not what was saved, out of the way of those that are."""
TOKENIZER_FOLDER = "tokenizer"
GRID_FILE = "grid.json"
"""What the runs of a grid came to, in the folder that holds theirs."""
IMPORTED_FILE = "imported.json"
"""Where the weights came from, in a folder that `spanbert import` wrote in the layout of a run."""
# Sections of a config, or single fields, that a run keeps as they were when it began.
_KEPT = {
    PretrainConfig: ("model", "masking", "data.blocks", "data.over_long_sentences"),
    FinetuneConfig: (
        "init_from", "task", "optimizer", "training.num_epochs", "training.batch_size",
        "training.seed", "training.order", "training.dropout_rate",
    ),
}  # fmt: skip
_SAID_TO_BE_KEPT = {
    PretrainConfig: "the model, masking and blocks",
    FinetuneConfig: "the weights, task, optimizer and batches",
}
# What it may change on its way, and should say so: of these sections all that is not kept.
_MAY_CHANGE = {
    PretrainConfig: (
        "data", "objective", "optimizer", "training", "checkpoint", "mesh", "compute",
    ),
    FinetuneConfig: ("training", "checkpoint", "mesh", "compute"),
}  # fmt: skip


def read_config(run_dir: epath.PathLike) -> RunConfig | None:
    """The config that a run was started with, None where there is no run."""
    path = epath.Path(run_dir) / CONFIG_FILE
    return from_json(path.read_text()) if path.exists() else None


def best_of_grid(run_dir: epath.PathLike) -> epath.Path:
    """The folder of a grid's best run; any other folder is itself.

    Raises:
        UserError: grid.json is none, or no run of the grid is done.
    """
    folder = epath.Path(run_dir)
    file = folder / GRID_FILE
    if (folder / CHECKPOINT_FOLDER).exists() or not file.exists():
        return folder
    try:
        best = json.loads(file.read_text())["best"]
        if best is not None:
            return folder / best
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{file}: must say which run of the grid is the best, found {error!r}; run the grid "
            "again, or name the folder of one of its runs"
        ) from error
    raise UserError(
        f"{folder}: must be a grid with a run that is done, found none yet; run the grid's own "
        "command again, which goes on with it"
    )


def check_resumable(run_dir: epath.PathLike, config: RunConfig) -> None:
    """Raise `UserError` where `config` changes what a run keeps as it was when it began."""
    old, kind = read_config(run_dir), type(config)
    if old is not None and type(old) is not kind:
        holds = "pretraining" if isinstance(old, PretrainConfig) else "fine-tuning"
        raise UserError(
            f"--workdir {run_dir}: must be the folder of a new run or of one of the same kind, "
            f"found a run of {holds}; use another --workdir"
        )
    changes = [] if old is None else changed_fields(old, config, _KEPT[kind])
    if changes:
        raise UserError(
            f"{run_dir}: a run goes on with {_SAID_TO_BE_KEPT[kind]} it began with, found "
            f"changed {_listed(changes)}; put {'it' if len(changes) == 1 else 'them'} back, or "
            "start a new run in another --workdir"
        )


def check_same_data(
    run_dir: epath.PathLike, fingerprints: Mapping[str, str], *, files: Mapping[str, str]
) -> None:
    """Raise `UserError` where a run began with other data than those at hand.

    A run of an earlier version kept no fingerprints. Its scores are taken as they are: nobody can
    tell what they are of, and to refuse them would cost its results. Where it goes on, its
    checkpoint tells other training data all the same.

    files: by split, where its data come from, as it is typed.
    """
    path = epath.Path(run_dir) / DATA_FILE
    began = json.loads(path.read_text()) if path.exists() else {}
    for split, fingerprint in fingerprints.items():
        if began.get(split, fingerprint) != fingerprint:
            raise UserError(
                f"{files[split]}: must hold the data that the run in {run_dir} began with, found "
                "others; put the old file back, or start a new run in another --workdir"
            )


def check_not_imported(run_dir: epath.PathLike) -> None:
    """Raise `UserError` where the folder holds imported weights: there is no run to go on with."""
    if (epath.Path(run_dir) / IMPORTED_FILE).exists():
        raise UserError(
            f"--workdir {run_dir}: must be the folder of a run, found weights that spanbert import "
            f"wrote; start from them with --init-from {run_dir} and another --workdir"
        )


def describe_changes(run_dir: epath.PathLike, config: RunConfig) -> str:
    """What `config` changes of the rest, which it may; "" for nothing.

    -> "changed since the run was last started: --training.seed from 0 to 1"
    """
    old = read_config(run_dir)
    changes = [] if old is None else changed_fields(old, config, _MAY_CHANGE[type(config)])
    return f"changed since the run was last started: {_listed(changes)}" if changes else ""


def _listed(changes: list[ChangedField]) -> str:
    return ", ".join(map(str, changes))


def check_weights_exist(init_from: str) -> None:
    """Raise `UserError` for weights that are not there, before data are read for long."""
    path = os.path.expanduser(init_from.removeprefix("hf:"))
    if not any(epath.Path(each).exists() for each in (path, f"{path}.index")):
        raise UserError(
            f"--init-from {init_from}: must be a run's folder, a folder with weights or a file of "
            "them, found nothing there; check the path"
        )


def check_writable(run_dir: epath.PathLike) -> None:
    """Raise `UserError` where a local folder can surely not be made or written; `claim` proves it.

    Touches nothing, so that it can come before hours of preparing text.
    """
    if is_address(run_dir):
        return
    folder = epath.Path(run_dir).absolute()
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    if not nearest.is_dir():
        raise not_writable(run_dir, f"{nearest}, which is a file")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise not_writable(run_dir, f"{nearest} without permission to write")


def not_writable(run_dir: epath.PathLike, found: object) -> UserError:
    return UserError(
        f"--workdir {run_dir}: must be a folder that can be written, found {found}; "
        "choose another, or mend its permissions"
    )


def claim(
    run_dir: epath.PathLike,
    config: RunConfig,
    *,
    tokenizer_file: epath.Path,
    data: Mapping[str, str] | None = None,
) -> None:
    """Create the folder, prove that it can be written, and keep config and tokenizer in it.

    data: fingerprints of what a run of fine-tuning reads, by split, for `check_same_data`.

    Raises:
        UserError: the folder cannot be written.
    """
    folder = epath.Path(run_dir)
    try:
        (folder / TOKENIZER_FOLDER).mkdir(parents=True, exist_ok=True)
        write_whole(folder / TOKENIZER_FOLDER / tokenizer_file.name, tokenizer_file.read_bytes())
        for path in (folder / TOKENIZER_FOLDER).iterdir():
            if path.name != tokenizer_file.name:
                # Of an earlier start that took no step: two tokenizers would be one too many.
                path.unlink()
        if data is not None:
            write_whole(folder / DATA_FILE, (json.dumps(data, indent=2) + "\n").encode())
        write_whole(folder / CONFIG_FILE, to_json(config).encode())
    except OSError as error:
        raise not_writable(run_dir, error) from error


def prove_writable(run_dir: epath.PathLike, *, by: str) -> None:
    """Raise `UserError` where this host cannot write in a folder that another one has claimed.

    by: a name that no other process has: a file of that name comes and goes.
    """
    try:
        probe = epath.Path(run_dir) / f".written-by-{by}"
        probe.write_text("")
        probe.unlink()
    except OSError as error:
        raise not_writable(run_dir, error) from error


def write_whole(path: epath.Path, content: bytes) -> None:
    """Write a file; whoever reads it finds all of it or what was there before."""
    temporary = path.parent / f".{path.name}.{os.getpid()}.tmp"
    temporary.write_bytes(content)
    temporary.replace(path)
