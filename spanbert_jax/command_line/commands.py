"""What the words after `spanbert` mean. In: arguments. Out: a config, handed to one command.

A command, and with it jax or tensorflow, is imported after its config stands: help and mistakes
answer at once.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

from spanbert_jax import __version__
from spanbert_jax.command_line.arguments import (
    ExportArguments,
    ImportArguments,
    InspectArguments,
)
from spanbert_jax.command_line.asking import evaluate, predict
from spanbert_jax.command_line.flags import parse_flags, perhaps, state
from spanbert_jax.command_line.help import (
    EXPORT_HELP,
    FINETUNE_HELP,
    HELP,
    IMPORT_HELP,
    INSPECT_HELP,
    PLAN_HELP,
    PREPARE_HELP,
    PRETRAIN_HELP,
)
from spanbert_jax.config import FinetuneConfig, PrepareConfig, PretrainConfig
from spanbert_jax.config.files import load_config, nearest
from spanbert_jax.config.plan import PlanConfig, plan_of
from spanbert_jax.config.prepare_flags import prepare_flags_behind_pretrain
from spanbert_jax.errors import UserError

RunT = TypeVar("RunT", PretrainConfig, FinetuneConfig)


def run_command(arguments: Sequence[str]) -> int:
    """Run the command that `arguments` name and return the exit code of the program."""
    first, rest = (arguments[0], list(arguments[1:])) if arguments else ("--help", [])
    if first in ("--help", "-h", "help"):
        print(HELP, end="")
        return 0
    if first == "--version":
        print(f"spanbert {__version__}")
        return 0
    commands: dict[str, Callable[[list[str]], int]] = {
        "prepare": _prepare,
        "plan": _plan,
        "pretrain": _pretrain,
        "finetune": _finetune,
        "inspect": _inspect,
        "evaluate": evaluate,
        "predict": predict,
        "import": _import,
        "export": _export,
    }
    if first not in commands:
        raise UserError(
            f"there is no command {first}; {perhaps(nearest(first, list(commands)))}"
            f"the commands are {', '.join(commands)}"
        )
    return commands[first](rest)


def _prepare(arguments: list[str]) -> int:
    config = parse_flags(PrepareConfig(), arguments, prog="spanbert prepare", about=PREPARE_HELP)
    state("--source", config.source, "say where text comes from, such as 'text:/data/*.txt'")
    state("--out", config.out, "say where the shards go, such as /data/shards")
    from spanbert_jax.commands import prepare

    prepare.run(config)
    return 0


def _pretrain(arguments: list[str]) -> int:
    with prepare_flags_behind_pretrain():
        config = _config_file(
            arguments, PretrainConfig, command="pretrain", about=PRETRAIN_HELP,
            example="configs/pretrain.py:spanbert_base, or configs/quickstart.py",
        )  # fmt: skip
    state("--workdir", config.workdir, "say where the run goes, such as /runs/base")
    from spanbert_jax.commands import pretrain

    return pretrain.run(config) or 0


def _plan(arguments: list[str]) -> int:
    """A plan is of a config of pretraining, and takes all of its flags beside its own."""
    config = _config_file(
        arguments, PretrainConfig, command="plan", about=PLAN_HELP,
        example="configs/pretrain.py:spanbert_base", asked=plan_of,
    )  # fmt: skip
    assert isinstance(config, PlanConfig)
    state("--topology", config.topology, "name a slice of chips, such as v5e:4x8 or v5e-32")
    from spanbert_jax.commands import plan

    return plan.run(config)


def _finetune(arguments: list[str]) -> int:
    config = _config_file(
        arguments, FinetuneConfig, command="finetune", about=FINETUNE_HELP,
        example="configs/squad.py:squad2, or configs/glue.py:sst2",
    )  # fmt: skip
    state("--workdir", config.workdir, "say where the run goes, such as /runs/squad2")
    state("--init-from", config.init_from, "name the pretrained model, such as /runs/base")
    from spanbert_jax.commands import finetune

    return finetune.run(config)


def _config_file(
    arguments: list[str],
    kind: type[RunT],
    *,
    command: str,
    about: str,
    example: str,
    asked: Callable[[RunT], RunT] = lambda experiment: experiment,
) -> RunT:
    """The config that a file of experiments gives, with the values typed behind its name.

    asked: what is made of the experiment before its flags are read.
    """
    name = arguments[0] if arguments else ""
    if name in ("--help", "-h"):
        parse_flags(asked(kind()), arguments, prog=f"spanbert {command}", about=about)
    if not name or name.startswith("-"):
        raise UserError(
            f"spanbert {command} takes a config before its flags; name one, such as {example}"
        )
    prog = f"spanbert {command} {name}"
    return parse_flags(asked(load_config(name, kind)), arguments[1:], prog=prog, about=about)


def _inspect(arguments: list[str]) -> int:
    arguments = _after_noun(arguments, command="inspect", noun="shards", what="what to inspect")
    config = parse_flags(
        InspectArguments(), arguments, prog="spanbert inspect shards", about=INSPECT_HELP
    )
    state("SHARDS", config.shards, "name the folder that `spanbert prepare` wrote")
    from spanbert_jax.commands import inspect

    inspect.run(config)
    return 0


def _after_noun(arguments: list[str], *, command: str, noun: str, what: str) -> list[str]:
    """What follows the word that stands between a command and its flags; --help needs none."""
    if arguments and arguments[0] in ("--help", "-h"):
        return arguments
    if not arguments or arguments[0] != noun:
        found = f", not {arguments[0]}" if arguments else ""
        raise UserError(f"spanbert {command} takes {what} {noun} first{found}; "
                        f"spanbert {command} {noun} --help shows an example")  # fmt: skip
    return arguments[1:]


def _import(arguments: list[str]) -> int:
    config = parse_flags(ImportArguments(), arguments, prog="spanbert import", about=IMPORT_HELP)
    state("SOURCE", config.source, "name the folder or file of the weights, before the flags")
    state("--out", config.out, "say where the checkpoint goes, such as /runs/imported")
    from spanbert_jax.commands import import_weights

    import_weights.run(config)
    return 0


def _export(arguments: list[str]) -> int:
    config = parse_flags(ExportArguments(), arguments, prog="spanbert export", about=EXPORT_HELP)
    state("CHECKPOINT", config.checkpoint, "name the folder of a run, before the flags")
    state("--out", config.out, "say where the model goes, such as /models/a")
    from spanbert_jax.commands import export_weights

    export_weights.run(config)
    return 0
