"""What the words after `spanbert` mean. In: arguments. Out: a config, handed to one command.

A command, and with it jax or tensorflow, is imported after its config stands: help and mistakes
answer at once.
"""

import contextlib
import dataclasses
import difflib
import io
import itertools
import re
import typing
from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar, get_origin, get_type_hints

import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from spanbert_jax import __version__
from spanbert_jax.config import FinetuneConfig, LengthPhase, PrepareConfig, PretrainConfig
from spanbert_jax.config.files import load_config, nearest
from spanbert_jax.config.inspect import InspectConfig
from spanbert_jax.config.json import flag_of
from spanbert_jax.config.phases import TYPED
from spanbert_jax.config.predict import FillConfig
from spanbert_jax.config.prepare_flags import prepare_flags_behind_pretrain
from spanbert_jax.config.weights import ExportConfig, ImportConfig
from spanbert_jax.errors import UserError

ConfigT = TypeVar("ConfigT")
RunT = TypeVar("RunT", PretrainConfig, FinetuneConfig)

HELP = f"""\
spanbert {__version__}: pretrain span-aware text encoders on TPUs, GPUs and CPUs.

usage: spanbert COMMAND ...

  prepare         turn raw text into shards of token ids
  pretrain        pretrain a model by a config; run it again and it goes on
  finetune        teach a pretrained model a task by a config, or try a grid of settings
  inspect shards  say what shards hold, or measure and show what masks hide in them
  predict fill    fill in the [MASK] tokens of sentences with a pretrained model
  import          turn released weights of BERT, SpanBERT or RoBERTa into a checkpoint
  export          write a checkpoint as a folder that Hugging Face Transformers loads

examples:
  spanbert pretrain configs/quickstart.py

  spanbert prepare --source 'text:/data/*.txt' --vocab-size 32000 --out /data/shards
  spanbert pretrain configs/pretrain.py:spanbert_base --data.shards /data/shards --workdir /runs/a
  spanbert inspect shards /data/shards --mask geometric_span --out masks.html
  spanbert finetune configs/squad.py:squad2 --init-from /runs/a --task.train train.json \\
      --task.dev dev.json --workdir /runs/squad2
  spanbert predict fill --checkpoint /runs/a "The capital of France is [MASK] [MASK] ."
  spanbert import /models/spanbert-base-cased --out /runs/imported
  spanbert export /runs/a --out /models/a

Every value of a config is a flag: --optimizer.learning-rate 2e-4, --training.num-steps 1000.
`spanbert COMMAND --help` lists the flags of a command, each with its default and its reason.
"""

PREPARE_HELP = """\
Turn raw text into shards of token ids, with a tokenizer trained on it or your own.

spanbert prepare --source 'text:/data/*.txt' --tokenizer sentencepiece --out /data/shards
"""

PRETRAIN_HELP = """\
Pretrain a model by a config, a function in a Python file: spanbert pretrain FILE.py[:FUNCTION].
Run again with the same --workdir, it goes on where it stopped.

spanbert pretrain configs/pretrain.py:spanbert_base --data.shards /data/shards --workdir /runs/a
"""

FINETUNE_HELP = """\
Teach a pretrained model a task by a config: spanbert finetune FILE.py[:FUNCTION]. The checkpoint
that is best on dev is kept. Run again with the same --workdir, it goes on where it stopped.
--grid paper tries the paper's learning rates and batch sizes, --seeds 5 each of them five times.

spanbert finetune configs/squad.py:squad2 --init-from /runs/a --task.train train.json \\
    --task.dev dev.json --workdir /runs/squad2
"""

INSPECT_HELP = """\
Say what a folder of shards holds; with --mask, measure what a masking scheme hides in it, in rows
as training is fed them. --out writes a page with lines of text whose masked spans are coloured.

spanbert inspect shards /data/shards --mask geometric_span --out masks.html
"""

FILL_HELP = """\
Fill in the [MASK] tokens of sentences: candidates of the masked language model, of the
span-boundary objective, and of both combined.

spanbert predict fill --checkpoint /runs/a "The capital of France is [MASK] [MASK] ."
"""

IMPORT_HELP = """\
Turn released weights of BERT, SpanBERT or RoBERTa (of Hugging Face, fairseq or TensorFlow) into a
checkpoint: a folder in the layout of a run.

spanbert import /models/spanbert-base-cased --out /runs/imported
"""

EXPORT_HELP = """\
Write a checkpoint as a folder that Hugging Face Transformers loads, and check what was written.

spanbert export /runs/a --out /models/a
"""


@dataclasses.dataclass(frozen=True)
class FillArguments(FillConfig):
    """`FillConfig` as typed: the texts need no flag."""

    texts: tyro.conf.Positional[tuple[str, ...]] = ()
    """Sentences with [MASK] tokens; none reads one a line from standard input."""


@dataclasses.dataclass(frozen=True)
class InspectArguments(InspectConfig):
    """`InspectConfig` as typed: the folder needs no flag."""

    shards: tyro.conf.Positional[str] = ""
    """Folder written by `spanbert prepare` (local or gs://)."""


@dataclasses.dataclass(frozen=True)
class ImportArguments(ImportConfig):
    """`ImportConfig` as typed: the source needs no flag."""

    source: tyro.conf.Positional[str] = ""
    """Folder or file of the weights (local or gs://): of Hugging Face, fairseq or TensorFlow."""


@dataclasses.dataclass(frozen=True)
class ExportArguments(ExportConfig):
    """`ExportConfig` as typed: the checkpoint needs no flag."""

    checkpoint: tyro.conf.Positional[str] = ""
    """Folder of a run (its --workdir; local or gs://)."""


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
        "pretrain": _pretrain,
        "finetune": _finetune,
        "inspect": _inspect,
        "predict": _predict,
        "import": _import,
        "export": _export,
    }
    if first not in commands:
        raise UserError(
            f"there is no command {first}; {_perhaps(nearest(first, list(commands)))}"
            f"the commands are {', '.join(commands)}"
        )
    return commands[first](rest)


def _prepare(arguments: list[str]) -> int:
    config = parse_flags(PrepareConfig(), arguments, prog="spanbert prepare", about=PREPARE_HELP)
    _state("--source", config.source, "say where text comes from, such as 'text:/data/*.txt'")
    _state("--out", config.out, "say where the shards go, such as /data/shards")
    from spanbert_jax.commands import prepare

    prepare.run(config)
    return 0


def _pretrain(arguments: list[str]) -> int:
    with prepare_flags_behind_pretrain():
        config = _config_file(
            arguments, PretrainConfig, command="pretrain", about=PRETRAIN_HELP,
            example="configs/pretrain.py:spanbert_base, or configs/quickstart.py",
        )  # fmt: skip
    _state("--workdir", config.workdir, "say where the run goes, such as /runs/base")
    from spanbert_jax.commands import pretrain

    return pretrain.run(config) or 0


def _finetune(arguments: list[str]) -> int:
    config = _config_file(
        arguments, FinetuneConfig, command="finetune", about=FINETUNE_HELP,
        example="configs/squad.py:squad2, or configs/glue.py:sst2",
    )  # fmt: skip
    _state("--workdir", config.workdir, "say where the run goes, such as /runs/squad2")
    _state("--init-from", config.init_from, "name the pretrained model, such as /runs/base")
    from spanbert_jax.commands import finetune

    return finetune.run(config)


def _config_file(
    arguments: list[str], kind: type[RunT], *, command: str, about: str, example: str
) -> RunT:
    """The config that a file of experiments gives, with the values typed behind its name."""
    name = arguments[0] if arguments else ""
    if name in ("--help", "-h"):
        parse_flags(kind(), arguments, prog=f"spanbert {command}", about=about)
    if not name or name.startswith("-"):
        raise UserError(
            f"spanbert {command} takes a config before its flags; name one, such as {example}"
        )
    prog = f"spanbert {command} {name}"
    return parse_flags(load_config(name, kind), arguments[1:], prog=prog, about=about)


def _inspect(arguments: list[str]) -> int:
    arguments = _after_noun(arguments, command="inspect", noun="shards", what="what to inspect")
    config = parse_flags(
        InspectArguments(), arguments, prog="spanbert inspect shards", about=INSPECT_HELP
    )
    _state("SHARDS", config.shards, "name the folder that `spanbert prepare` wrote")
    from spanbert_jax.commands import inspect

    inspect.run(config)
    return 0


def _predict(arguments: list[str]) -> int:
    arguments = _after_noun(arguments, command="predict", noun="fill", what="the task")
    config = parse_flags(FillArguments(), arguments, prog="spanbert predict fill", about=FILL_HELP)
    _state("--checkpoint", config.checkpoint, "name the folder of a run, its --workdir")
    from spanbert_jax.commands import predict

    predict.run(config)
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
    _state("SOURCE", config.source, "name the folder or file of the weights, before the flags")
    _state("--out", config.out, "say where the checkpoint goes, such as /runs/imported")
    from spanbert_jax.commands import import_weights

    import_weights.run(config)
    return 0


def _export(arguments: list[str]) -> int:
    config = parse_flags(ExportArguments(), arguments, prog="spanbert export", about=EXPORT_HELP)
    _state("CHECKPOINT", config.checkpoint, "name the folder of a run, before the flags")
    _state("--out", config.out, "say where the model goes, such as /models/a")
    from spanbert_jax.commands import export_weights

    export_weights.run(config)
    return 0


def _state(flag: str, value: object, remedy: str) -> None:
    if not value:
        raise UserError(f"{flag} is missing; {remedy}")


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
    return f"there is no flag {flag}; {_perhaps(close)}{prog} --help lists all flags"


def _perhaps(close: str) -> str:
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
