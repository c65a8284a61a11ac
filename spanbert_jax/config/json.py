"""A config as JSON and back: what a run's folder keeps, and what changed since."""

import dataclasses
import json
import types
import typing
from operator import attrgetter
from typing import Any, NamedTuple

from spanbert_jax.config.experiment import PretrainConfig
from spanbert_jax.config.finetune import FinetuneConfig
from spanbert_jax.config.model import ModelConfig
from spanbert_jax.config.tasks import TaskConfig, task_config_of
from spanbert_jax.errors import UserError

RunConfig = PretrainConfig | FinetuneConfig
"""What a run's folder keeps."""
# Beside its fields, by which the class of a task is found again.
_TASK_NAME = "name"


class ChangedField(NamedTuple):
    """A field whose value differs between two configs."""

    flag: str
    old: object
    new: object

    def __str__(self) -> str:
        """ChangedField("--data.phases", (), (LengthPhase(9, 128), LengthPhase(7, 64)))
        -> "--data.phases from nothing to 9:128 7:64"
        """
        return f"{self.flag} from {_as_typed(self.old)} to {_as_typed(self.new)}"


def _as_typed(value: object) -> str:
    return (" ".join(map(str, value)) or "nothing") if isinstance(value, tuple) else str(value)


def flag_of(path: str) -> str:
    """The field as it is typed. flag_of("data.batch_size") -> "--data.batch-size"."""
    return "--" + path.replace("_", "-")


def settings(config: Any, path: str = "") -> dict[str, str]:
    """Every field of a config by its flag, as it is typed.

    -> {"--workdir": "runs/a", ..., "--data.phases": "9:128 7:64", ..., "--mesh.fsdp": "1", ...}
    """
    if not dataclasses.is_dataclass(config):
        return {flag_of(path): _as_typed(config)}
    return {
        flag: text
        for field in dataclasses.fields(config)
        for flag, text in settings(
            getattr(config, field.name), f"{path}.{field.name}" if path else field.name
        ).items()
    }


def to_json(config: RunConfig) -> str:
    """Write every field, resolved; `from_json` reads back an equal config."""
    return json.dumps(to_tree(config), indent=2) + "\n"


def to_tree(config: RunConfig | ModelConfig) -> dict[str, Any]:
    """Every field, resolved, in nested dicts; `from_tree` reads back an equal config."""
    tree = dataclasses.asdict(config)
    if isinstance(config, FinetuneConfig):
        tree["task"] = {_TASK_NAME: config.task.name} | tree["task"]
    return tree


def from_json(text: str) -> RunConfig:
    """Read what `to_json` wrote, by the rules of `from_tree`.

    Raises:
        UserError: no JSON.
    """
    try:
        tree = json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(
            f"config.json is no JSON ({error}); restore it, or start a run in another --workdir"
        ) from error
    return from_tree(tree)


def from_tree(tree: Any) -> RunConfig:
    """Read what `to_tree` made, also where tuples have become lists on the way through JSON.

    A field that is not named, because an older version wrote it, takes its default.

    Raises:
        UserError: a field or a task this version does not know, or a value of another type.
        ConfigError: a value out of range.
    """
    return _read(tree, FinetuneConfig if has_task(tree) else PretrainConfig, "")


def has_task(tree: Any) -> bool:
    """Whether what `to_tree` made is of a run of fine-tuning, of whatever task."""
    return isinstance(tree, dict) and "task" in tree


def model_from_tree(tree: Any) -> ModelConfig:
    """Read a model's config that `to_tree` made, by the rules of `from_tree`."""
    return _read(tree, ModelConfig, "model")


def changed_fields(old: RunConfig, new: RunConfig, sections: tuple[str, ...]) -> list[ChangedField]:
    """List the fields of `sections`, or single ones, that differ, in the order of the dataclasses.

    Two configs of 12 and 24 layers -> [("--model.num-layers", 12, 24)]
    """
    return [
        change
        for section in sections
        for change in _changes(attrgetter(section)(old), attrgetter(section)(new), section)
    ]


def _changes(old: Any, new: Any, path: str) -> list[ChangedField]:
    if not dataclasses.is_dataclass(old) or type(old) is not type(new):
        return [] if old == new else [ChangedField(flag_of(path), old, new)]
    return [
        change
        for field in dataclasses.fields(old)
        for change in _changes(
            getattr(old, field.name), getattr(new, field.name), f"{path}.{field.name}"
        )
    ]


def _read(value: Any, kind: Any, path: str) -> Any:
    """Turn parsed JSON into `kind`: a dataclass, tuple, Literal, union or plain type."""
    origin = typing.get_origin(kind)
    if kind is TaskConfig and isinstance(value, dict):
        kind = task_config_of(value.get(_TASK_NAME, ""))
        value = {name: field for name, field in value.items() if name != _TASK_NAME}
    if dataclasses.is_dataclass(kind) and isinstance(value, dict):
        return _read_dataclass(value, kind, path)
    if origin is tuple and isinstance(value, list | tuple):
        element = typing.get_args(kind)[0]
        return tuple(_read(item, element, path) for item in value)
    if origin in (typing.Union, types.UnionType):
        kinds = typing.get_args(kind)
        if _is_one_of(value, kinds):
            return value
        for each in kinds:
            if isinstance(value, list | tuple) and typing.get_origin(each) is tuple:
                return _read(value, each, path)
    if origin is typing.Literal and value in typing.get_args(kind):
        return value
    if origin is None and _is_one_of(value, (kind,)):
        return value
    expected = kind.__name__ if isinstance(kind, type) and origin is None else kind
    raise UserError(
        f"config.json: {flag_of(path)} is {value!r}, expected {expected}; restore the file, or "
        "start a run in another --workdir"
    )


def _read_dataclass(tree: dict[str, Any], kind: Any, path: str) -> Any:
    types_of = typing.get_type_hints(kind)
    names = [field.name for field in dataclasses.fields(kind)]
    unknown = [name for name in tree if name not in names]
    if unknown:
        place = f"{path}.{unknown[0]}" if path else unknown[0]
        raise UserError(
            f"config.json names the field {flag_of(place)}, which this version of spanbert_jax "
            "does not know; use the version that wrote it, or start a run in another --workdir"
        )
    prefix = f"{path}." if path else ""
    return kind(**{name: _read(tree[name], types_of[name], prefix + name) for name in tree})


def _is_one_of(value: Any, kinds: tuple[Any, ...]) -> bool:
    """JSON has one kind of number, and Python counts True as 1: neither may slip through."""
    if isinstance(value, bool) and bool not in kinds:
        return False
    if isinstance(value, int) and float in kinds:
        return True
    return isinstance(value, tuple(k for k in kinds if isinstance(k, type)))
