"""Errors the user can mend. They reach the terminal as one paragraph, without a traceback."""

import contextlib
import re
import typing
from collections.abc import Callable, Iterator
from typing import Any

# As TensorStore, under Orbax, ends what the operating system refused: a bare ValueError.
_OS_ERROR = re.compile(r"\"(?P<path>/[^\"]+)\": (?P<cause>[^\"]*) \[os_error_code='\d+'\]$")
_ADDRESS = re.compile(r"\b[a-z][a-z0-9]*://[^\s'\",;)]+")
# As TensorStore begins all of its errors: PERMISSION_DENIED: Error writing "a" at gs://bucket/a
_STATUS = re.compile(r"^(?P<status>[A-Z]+(_[A-Z]+)*): .*(\"/|://)", re.DOTALL)
# TensorStore adds its settings to what it says.
_SETTINGS = re.compile(r" \[(tensorstore_spec|source locations).*", re.DOTALL)
# What the operating system and TensorStore say of files that are not there, or not whole.
_NOT_WHOLE = {
    "NOT_FOUND", "DATA_LOSS", "OUT_OF_RANGE", "INVALID_ARGUMENT", "FAILED_PRECONDITION",
    "FileNotFoundError", "NotADirectoryError", "IsADirectoryError",
    "NotFoundError", "DataLossError", "OutOfRangeError",
}  # fmt: skip


FAILED = 1
"""Exit code of Python, after a mistake of ours."""
USER_ERROR = 2
"""Exit code for bad input, to be mended before the program is run again."""
RUN_AGAIN = 75
"""Exit code of a run that was stopped and can go on: run the same command again. It is EX_TEMPFAIL
of sysexits.h; launchers restart on it."""
INTERRUPTED = 130
"""Exit code after Ctrl-C, by the custom of shells."""


class UserError(ValueError):
    """Bad input: the message states the rule, the value found and the remedy."""


class RunAgain(RuntimeError):
    """A run was stopped by what is no fault of its own: the same command goes on."""


class ConfigError(UserError):
    """A value of the configuration is out of range, or two of them do not fit together."""


def exit_code_of(error: BaseException) -> int:
    """Of the program that `error` ends."""
    codes = {UserError: USER_ERROR, RunAgain: RUN_AGAIN, KeyboardInterrupt: INTERRUPTED}
    return next((code for kind, code in codes.items() if isinstance(error, kind)), FAILED)


@contextlib.contextmanager
def reworded(reword: Callable[[str], str]) -> Iterator[None]:
    """A `UserError` from inside is raised with its message as `reword` puts it.

    For rules of one command that another one keeps too, under flags of its own.
    """
    try:
        yield
    except UserError as error:
        raise type(error)(reword(str(error))) from error


def storage_error(error: BaseException) -> UserError | None:
    """The `UserError` for what libraries raise about disks and addresses; None for others.

    TensorStore, by which Orbax writes, tells a full disk in the message of a `ValueError`.
    etils reads gs:// and other addresses through TensorFlow, whose errors are no `OSError`. They
    are known by the name of their module, since most of the program runs without it, and by the
    address that they name: one without is a mistake of ours, which keeps its traceback.
    """
    if type(error) is ValueError and (found := _OS_ERROR.search(str(error))):
        return UserError(
            f"{found['path']}: must be a file that can be written, found that it cannot be "
            f"({found['cause']}); make room there, mend its permissions, or choose another place"
        )
    if not type(error).__module__.startswith("tensorflow."):
        return None
    address = _ADDRESS.search(str(error))
    if address is None:
        return None
    cause = " ".join(str(error).split())
    return UserError(
        f"{address[0].rstrip('.:')}: must be an address that can be read and written, found "
        f"{type(error).__name__} ({cause}); check the address, the network and your credentials: "
        "gcloud auth application-default login"
    )


def storage_cause(error: BaseException) -> BaseException | None:
    """What a disk or an address answered, at the bottom of an error of the libraries that use it.

    None where it is an error of another kind, such as a mistake of ours.
    """
    beneath = error.__cause__ or error.__context__
    found = None if beneath is None else storage_cause(beneath)
    return found or (error if _status(error) else None)


def is_refusal(error: BaseException) -> bool:
    """Whether a storage does not answer, or not us; a file that is gone or cut is no refusal."""
    cause = storage_cause(error)
    return cause is not None and _status(cause) not in _NOT_WHOLE


@contextlib.contextmanager
def storage_may_fail() -> Iterator[None]:
    """What a disk or an address refuses inside is no error: it is told or tried again elsewhere."""
    try:
        yield
    except Exception as error:
        if storage_cause(error) is None:
            raise


def brief(error: BaseException) -> str:
    """What an error says, on one line; of a long text the beginning, and the end, which is why."""
    text = " ".join(_SETTINGS.sub("", str(error)).split())
    return text if len(text) <= 400 else f"{text[:150]} ... {text[-250:]}"


def _status(error: BaseException) -> str:
    """The name of what a storage answered; "" of an error that is none of a storage."""
    if isinstance(error, OSError) or type(error).__module__.startswith("tensorflow."):
        return type(error).__name__
    found = _STATUS.search(str(error)) if type(error) is ValueError else None
    if found is None:
        return ""
    # Of a file that is not there TensorStore says so; other answers of the system are refusals.
    is_refused = _OS_ERROR.search(str(error)) and found["status"] != "NOT_FOUND"
    return "OSError" if is_refused else found["status"]


def require(holds: bool, flag: str, value: object, rule: str, remedy: str) -> None:
    """Raise `ConfigError` naming the field as it is typed, unless `holds`.

    require(False, "--data.batch-size", 0, "must be at least 1", "use 256, as the paper")
    -> "--data.batch-size 0: must be at least 1; use 256, as the paper"
    """
    if not holds:
        raise ConfigError(f"{flag} {value}: {rule}; {remedy}")


def require_choices(section: str, config: Any, *fields: str) -> None:
    """Raise `ConfigError` where a field of `config` is none of the values that its type lists.

    section: of the flags, such as "optimizer" of --optimizer.name.
    """
    types = typing.get_type_hints(type(config))
    for field in fields:
        choices = typing.get_args(types[field])
        require(
            getattr(config, field) in choices, flag(section, field), getattr(config, field),
            f"must be one of {', '.join(choices)}", f"use {choices[0]}",
        )  # fmt: skip


def require_effect(
    has_effect: bool, section: str, config: Any, field: str, *, on: str, remedy: str
) -> None:
    """Raise `ConfigError` where a field is set that has no effect on what it stands beside.

    on: that, as it is typed. remedy: may name the {default} of the field.
    """
    value, default = getattr(config, field), getattr(type(config), field)
    require(
        has_effect or value == default, flag(section, field), value, f"has no effect on {on}",
        remedy.format(default=default),
    )  # fmt: skip


def flag(section: str, field: str) -> str:
    """flag("optimizer", "clip_by") -> "--optimizer.clip-by" """
    return f"--{section}.{field.replace('_', '-')}"


def require_fraction(flag: str, value: float, *, below: float = 1.0) -> None:
    rule = f"must be in [0, {below:g})"
    require(0.0 <= value < below, flag, value, rule, "use a fraction such as 0.1")


def require_positive(flag: str, value: float, example: str) -> None:
    require(value > 0, flag, value, "must be greater than 0", f"use for instance {example}")
