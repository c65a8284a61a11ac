"""Flags as values. In: a config with its defaults, arguments. Out: the config as they say."""

import contextlib
import dataclasses
import difflib
import io
import itertools
import re
import typing
from collections.abc import Sequence
from typing import Annotated, Any, TypeVar, get_origin, get_type_hints

import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from spanbert_jax.config import LengthPhase
from spanbert_jax.config.json import flag_of
from spanbert_jax.config.phases import TYPED
from spanbert_jax.errors import UserError

ConfigT = TypeVar("ConfigT")


def parse_flags(default: ConfigT, arguments: Sequence[str], *, prog: str, about: str) -> ConfigT:
    """Return `default` with the values that `arguments` name; `--help` prints and exits with 0.

    Raises:
        UserError: an unknown flag (the nearest is named), a value of the wrong type or range.
    """
    printed = io.StringIO()
    try:
        with contextlib.redirect_stderr(printed), _phases_as_words():
            config, unknown = tyro.cli(
                type(default), default=default, args=_spell_out_switches(arguments, default),
                prog=prog, description=about,
                return_unknown_args=True,
            )  # fmt: skip
    except SystemExit as stop:
        if not stop.code:
            raise
        raise _reason(stop, printed.getvalue(), prog) from None
    if unknown:
        raise UserError(_unknown_message(unknown[0], default, prog))
    return config


def state(flag: str, value: object, remedy: str) -> None:
    """Raise `UserError` where a flag that every use needs has no value."""
    if not value:
        raise UserError(f"{flag} is missing; {remedy}")


def _phases_as_words() -> ConstructorRegistry:
    """What tells tyro that phases are words, 900000:128:256, and not a flag for each number."""
    registry = ConstructorRegistry()

    @registry.primitive_rule
    def phases(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
        if typing.get_args(info.type) != (LengthPhase, ...):
            return None
        return PrimitiveConstructorSpec(
            nargs="*",
            metavar=f"[{TYPED} ...]",
            instance_from_str=lambda words: tuple(map(LengthPhase.parse, words)),
            is_instance=lambda value: isinstance(value, tuple),
            str_from_instance=lambda value: [str(phase) for phase in value],
        )

    return registry


def _spell_out_switches(arguments: Sequence[str], default: Any) -> list[str]:
    """Give fields that are true, false or, by default, None the two flags that plain ones have.

    ["--lowercase", "--out", "a"] -> ["--lowercase", "True", "--out", "a"]
    ["--no-lowercase"] -> ["--lowercase", "False"]; ["--lowercase", "None"] as it is
    """
    switches = _switches(default)
    negated = {re.sub(r"([^.]+)$", r"no-\1", flag[2:]): flag for flag in switches}
    spelled: list[str] = []
    for word, following in itertools.zip_longest(arguments, arguments[1:], fillvalue=""):
        if word.startswith("--") and word[2:] in negated:
            spelled += [negated[word[2:]], "False"]
        elif word in switches and following not in ("True", "False", "None"):
            spelled += [word, "True"]
        else:
            spelled.append(word)
    return spelled


def _switches(config: Any, prefix: str = "") -> list[str]:
    """The flags of such fields."""
    flags = []
    for name, kind in typing.get_type_hints(type(config)).items():
        if dataclasses.is_dataclass(kind):
            flags += _switches(getattr(config, name), f"{prefix}{name}.")
        elif kind == bool | None:
            flags.append(flag_of(prefix + name))
    return flags


def _reason(stop: SystemExit, printed: str, prog: str) -> UserError:
    """Our own error where a dataclass raised one, else what tyro printed."""
    cause: BaseException | None = stop
    while cause is not None:
        if isinstance(cause, UserError):
            return cause
        cause = cause.__context__
    return UserError(f"{_first_paragraph(printed)}; {prog} --help lists all flags")


def _first_paragraph(printed: str) -> str:
    """The text inside tyro's box, down to its first rule, on one line."""
    lines = [line.strip("│|╭╮╰╯─ ") for line in printed.splitlines()[1:]]
    paragraph = lines[: lines.index("")] if "" in lines else lines
    return " ".join(paragraph).rstrip(". ").removeprefix("Error parsing ")


def _unknown_message(word: str, default: Any, prog: str) -> str:
    if not word.startswith("-"):
        return f"{word!r} belongs to no flag; {prog} --help lists all flags"
    flag = word.split("=", 1)[0]
    flags = _flags(default)
    close = nearest_flag(flag, list(flags))
    if close and flags[close]:
        name = close.removeprefix("--").upper()
        return (
            f"there is no flag {flag}; {name} is typed by itself, without a flag: {prog} {name} ..."
        )
    return f"there is no flag {flag}; {perhaps(close)}{prog} --help lists all flags"


def perhaps(close: str) -> str:
    return f"the nearest one is {close}; " if close else ""


def nearest_flag(flag: str, flags: list[str]) -> str:
    """The flag that was perhaps meant, also where only its last part was typed; "" for none.

    nearest_flag("--batch-sise", ["--data.batch-size", "--workdir"]) -> "--data.batch-size"
    """

    def likeness(known: str) -> float:
        leaf = known.removeprefix("--").rpartition(".")[2]
        pairs = ((flag, known), (flag.removeprefix("--").rpartition(".")[2], leaf))
        return sum(difflib.SequenceMatcher(None, a, b).ratio() for a, b in pairs)

    best = max(flags, key=likeness)
    return best if likeness(best) >= 1.2 else ""


def _flags(config: Any, prefix: str = "") -> dict[str, bool]:
    """Every flag of a config, and whether its value is typed without it.

    -> {"--workdir": False, "--model.vocab-size": False, ...}
    """
    flags: dict[str, bool] = {}
    types = get_type_hints(type(config), include_extras=True)
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            flags |= _flags(value, f"{prefix}{field.name}.")
        else:
            # tyro's Positional is the one annotation of ours.
            flags[flag_of(prefix + field.name)] = get_origin(types[field.name]) is Annotated
    return flags
