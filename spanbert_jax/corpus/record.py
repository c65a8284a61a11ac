"""What a folder of shards was made from and how: written at the start, compared by a later run."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from etils import epath

from spanbert_jax.config import PrepareConfig
from spanbert_jax.corpus.files import write_file
from spanbert_jax.corpus.tokenizers import Tokenizer
from spanbert_jax.errors import UserError

RECORD_FILE = "prepare.json"
# Fields that do not change the shards, or stand in the record under names of their own.
_OTHER_FIELDS = ("source", "out", "num_workers", "runner", "beam_options", "dry_run")
_TRAINING_FIELDS = ("vocab_size", "sentencepiece_type", "lowercase", "tokenizer_sample_mb")
_DEFAULTS: dict[str, Any] = json.loads(
    json.dumps(dataclasses.asdict(PrepareConfig(lowercase=False)))
)


@dataclass(frozen=True)
class Record:
    """Sources, the files they name with their sizes in bytes, and options."""

    sources: list[str]
    inputs: dict[str, int]
    options: dict[str, Any]

    def write(self, folder: epath.Path) -> None:
        text = json.dumps(dataclasses.asdict(self), indent=2, sort_keys=True) + "\n"
        write_file(folder / RECORD_FILE, text.encode())


def make_record(
    config: PrepareConfig,
    inputs: Mapping[str, int],
    loaded: Tokenizer | None,
    *,
    tag_model: str = "",
) -> Record:
    """Everything that the shards depend on.

    A loaded tokenizer counts by content, not by path; the pipeline that tags by its identity
    `tag_model`, "" for none.
    """
    options = dataclasses.asdict(config) | {"lowercase": bool(config.lowercase)}
    dropped: tuple[str, ...] = _OTHER_FIELDS
    if loaded is not None:
        dropped += _TRAINING_FIELDS
        options["tokenizer"] = f"{loaded.kind} {loaded.fingerprint[:16]}"
    options |= {"tag_model": tag_model, "tag_skip_labels": list(config.tag_skip_labels)}
    if not config.tag:
        dropped += ("tag_model",)
    if config.tag != "spacy:ents":
        dropped += ("tag_skip_labels",)
    kept = {name: value for name, value in options.items() if name not in dropped}
    # As JSON gives them back: lists for tuples.
    return Record(list(config.source), dict(inputs), json.loads(json.dumps(kept)))


def read_record(folder: epath.Path) -> Record | None:
    """The record of an earlier run, or None where there was none."""
    path = folder / RECORD_FILE
    if not path.exists():
        return None
    try:
        return Record(**json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise UserError(
            f"{path}: is damaged ({error}); delete the folder, or use another --out"
        ) from error


def check_same(folder: epath.Path, *, before: Record, now: Record) -> None:
    """Raise `UserError` naming the first thing that differs, its old and its new value."""
    remedy = "use another --out, or delete the folder to make it anew"
    if before.sources != now.sources:
        raise UserError(
            f"--out {folder}: holds shards of --source {' '.join(before.sources)}, "
            f"not {' '.join(now.sources)}; {remedy}"
        )
    # An option that is younger than the folder had its default when the folder was made.
    options = _DEFAULTS | before.options
    # Those that matter now come first: --tokenizer explains why others are gone.
    for name in (*sorted(now.options), *sorted(before.options.keys() - now.options.keys())):
        old, new = options.get(name), now.options.get(name)
        if old != new:
            flag = f"--{name.replace('_', '-')}"
            if old == "":
                raise UserError(
                    f"--out {folder}: was made without {flag}, not with {flag} {new}; leave it "
                    f"out, {remedy}"
                )
            raise UserError(
                f"--out {folder}: was made with {flag} {old}, not "
                f"{'without it' if new == '' else new}; use {flag} {old}, {remedy}"
            )
    for name in sorted(before.inputs | now.inputs):
        then, today = _size(before, name), _size(now, name)
        if then != today:
            raise UserError(
                f"--out {folder}: {name} has changed since its shards were made "
                f"(then {then}, now {today}); {remedy}"
            )


def _size(record: Record, name: str) -> str:
    return f"{record.inputs[name]:,} bytes" if name in record.inputs else "absent"
