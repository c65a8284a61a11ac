"""Finds a config: `configs/pretrain.py:spanbert_base` -> what that function returns."""

import difflib
import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from spanbert_jax.config.experiment import PretrainConfig
from spanbert_jax.config.finetune import FinetuneConfig
from spanbert_jax.errors import UserError

ConfigT = TypeVar("ConfigT", PretrainConfig, FinetuneConfig)
# What takes the config of another command to the right one.
_COMMANDS = {PretrainConfig: "spanbert pretrain", FinetuneConfig: "spanbert finetune"}


def load_config(name: str, kind: type[ConfigT]) -> ConfigT:
    """Call the config function that `name` points at.

    Args:
        name: `FILE.py:FUNCTION`, or `FILE.py` where the file has one config function.
        kind: what it must return.

    Raises:
        UserError: no such file or function (the nearest one is named), a mistake inside, or a
            config of another command.
    """
    file, function = split_name(name)
    functions = config_functions(load_module(_existing(file)))
    config = _call(_choose(functions, function, file), name)
    if not isinstance(config, kind):
        command = _COMMANDS.get(type(config))
        raise UserError(
            f"{name} returned a value of type {type(config).__name__}; a config function of "
            f"{_COMMANDS[kind]} returns a {kind.__name__}"
            + (f": this one is of {command}" if command else "")
        )
    return config


def load_task_file(file: str | os.PathLike[str]) -> None:
    """Execute a file that defines a task: from then on checkpoints know the task by its name.

    Raises:
        UserError: no such file, or a mistake inside.
    """
    load_module(_existing(Path(file).expanduser(), "task file"))


def split_name(name: str) -> tuple[Path, str]:
    """split_name("configs/a.py:base") -> (Path("configs/a.py"), "base")."""
    file, colon, function = name.rpartition(":")
    if colon and (function.isidentifier() or not function):
        return Path(file), function
    return Path(name), ""


def config_functions(module: ModuleType) -> dict[str, Callable[[], Any]]:
    """The public functions of a config file that take no arguments, in the order of the file."""
    return {
        name: member
        for name, member in vars(module).items()
        if inspect.isfunction(member)
        and member.__module__ == module.__name__
        and not name.startswith("_")
        and all(
            parameter.default is not parameter.empty
            for parameter in inspect.signature(member).parameters.values()
        )
    }


def nearest(word: str, choices: list[str]) -> str:
    """nearest("spanbert_bas", ["bert_base", "spanbert_base"]) -> "spanbert_base"; "" for none."""
    return next(iter(difflib.get_close_matches(word, choices, n=1, cutoff=0.5)), "")


def _existing(file: Path, what: str = "config file") -> Path:
    if file.is_file():
        return file
    folders = [folder for folder in (file.parent, Path("configs")) if folder.is_dir()]
    found = sorted({str(path) for folder in folders for path in folder.glob("*.py")})
    close = nearest(str(file), found)
    if close:
        remedy = f"the nearest one is {close}"
    elif found:
        remedy = f"there are {', '.join(found)}"
    else:
        remedy = "name a Python file, such as configs/pretrain.py:spanbert_base"
    raise UserError(f"there is no {what} {file} (seen from {Path.cwd()}); {remedy}")


def load_module(file: Path) -> ModuleType:
    """Execute a config file; it may import its neighbours, as a script does."""
    module_name = f"spanbert_config_{file.stem}"
    spec = importlib.util.spec_from_file_location(module_name, file)
    if spec is None or spec.loader is None:
        raise UserError(f"{file} is no Python file; a config is a function in a file that ends .py")
    module = importlib.util.module_from_spec(spec)
    # Where dataclasses look up the names that a file with deferred annotations writes as text.
    sys.modules[module_name] = module
    sys.path.insert(0, str(file.parent.resolve()))
    # Compiled files are not left beside a config: its folder may be a run's, or not ours.
    writes_none, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        spec.loader.exec_module(module)
    except UserError:
        raise
    except Exception as error:
        raise _mistake_in(str(file), error) from error
    finally:
        sys.dont_write_bytecode = writes_none
        sys.path.pop(0)
    return module


def _choose(
    functions: dict[str, Callable[[], Any]], function: str, file: Path
) -> Callable[[], Any]:
    if function in functions:
        return functions[function]
    if not functions:
        raise UserError(
            f"{file} defines no config function; write one that takes no arguments and returns a "
            "PretrainConfig"
        )
    if not function and len(functions) == 1:
        return next(iter(functions.values()))
    names = ", ".join(functions)
    if not function:
        raise UserError(
            f"{file} defines {len(functions)} configs; name one, such as "
            f"{file}:{next(iter(functions))}, of {names}"
        )
    close = nearest(function, list(functions))
    meant = f"the nearest one is {file}:{close}; " if close else ""
    raise UserError(f"{file} has no config {function}; {meant}it defines {names}")


def _call(function: Callable[[], Any], name: str) -> Any:
    try:
        return function()
    except UserError as error:
        raise type(error)(f"{name}: {error}") from error
    except Exception as error:
        raise _mistake_in(name, error) from error


def _mistake_in(name: str, error: Exception) -> UserError:
    """The line of the config file, in place of a traceback through our own."""
    frames = traceback.extract_tb(error.__traceback__)
    line = error.lineno if isinstance(error, SyntaxError) else frames[-1].lineno if frames else None
    file = error.filename if isinstance(error, SyntaxError) else frames[-1].filename
    return UserError(f"{name}: {type(error).__name__} at {file}:{line}: {error}")
