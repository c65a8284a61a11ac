"""Commands that ask a model: evaluate, and the verbs of predict. In: arguments. Out: a config,
handed to one command.
"""

import os
from collections.abc import Sequence

from spanbert_jax.command_line.arguments import (
    AnswerArguments,
    ClassifyArguments,
    EvaluateArguments,
    FillArguments,
    RelationOfArguments,
    TagArguments,
)
from spanbert_jax.command_line.flags import parse_flags, perhaps, state
from spanbert_jax.command_line.help import (
    ANSWER_HELP,
    CLASSIFY_HELP,
    EVALUATE_HELP,
    FILL_HELP,
    PREDICT_HELP,
    RELATION_HELP,
    TAG_HELP,
)
from spanbert_jax.config import FinetuneConfig
from spanbert_jax.config.files import load_task_file, nearest
from spanbert_jax.config.predict import AskConfig
from spanbert_jax.config.tasks import TaskConfig, check_fixed, of_another_dev
from spanbert_jax.errors import UserError

_VERBS: dict[str, tuple[AskConfig, str]] = {
    "answer": (AnswerArguments(), ANSWER_HELP),
    "classify": (ClassifyArguments(), CLASSIFY_HELP),
    "relation": (RelationOfArguments(), RELATION_HELP),
    "tag": (TagArguments(), TAG_HELP),
}


def evaluate(arguments: list[str]) -> int:
    """The flags of a checkpoint's task are known when its folder is: it stands first."""
    checkpoint = arguments[0] if arguments else ""
    if checkpoint in ("--help", "-h"):
        parse_flags(EvaluateArguments(), arguments, prog="spanbert evaluate", about=EVALUATE_HELP)
    if not checkpoint or checkpoint.startswith("-"):
        raise UserError(
            "spanbert evaluate takes a checkpoint before its flags; name the folder of a "
            "fine-tuning run, such as /runs/squad2"
        )
    if file := _value_of("--task-file", arguments):
        load_task_file(file)
    task = _task_of(checkpoint)
    asked = of_another_dev(task) if _value_of("--task.dev", arguments) else task
    config = parse_flags(
        EvaluateArguments(task=asked), arguments, prog=f"spanbert evaluate {checkpoint}",
        about=EVALUATE_HELP,
    )  # fmt: skip
    check_fixed(task, config.task)
    from spanbert_jax.commands import evaluate

    return evaluate.run(config)


def _task_of(checkpoint: str) -> TaskConfig:
    """The task that the run of a folder was taught.

    Raises:
        UserError: it is no folder of a fine-tuning run.
    """
    # Imported here: --help needs no paths of other file systems.
    from spanbert_jax.training.run_folder import CHECKPOINT_FOLDER, best_of_grid, read_config

    folder = best_of_grid(os.path.expanduser(checkpoint))
    is_run = (folder / CHECKPOINT_FOLDER).is_dir()
    config = read_config(folder) if is_run else None
    if isinstance(config, FinetuneConfig):
        return config.task
    found = "no folder" if not folder.exists() else "one without checkpoints"
    if is_run:
        from spanbert_jax.inference.loading import load_pretrained

        found = f"one of pretraining with {load_pretrained(folder).heads}"
    raise UserError(
        f"{checkpoint}: must be the folder of a fine-tuning run, found {found}; name one, or teach "
        "a model a task first: spanbert finetune CONFIG --init-from"
    )


def _value_of(flag: str, arguments: Sequence[str]) -> str:
    """The value of a flag that must be known before the others are read; "" where it is not there.

    "--task-file", ["a", "--task-file", "b.py"] or ["a", "--task-file=b.py"] -> "b.py"
    """
    for word, following in zip(arguments, [*arguments[1:], ""], strict=True):
        name, equals, value = word.partition("=")
        if name == flag:
            return value if equals else following
    return ""


def predict(arguments: list[str]) -> int:
    """What follows `spanbert predict`: a verb, then its flags."""
    verb, rest = (arguments[0], arguments[1:]) if arguments else ("", [])
    if verb in ("--help", "-h"):
        print(PREDICT_HELP, end="")
        return 0
    if verb == "fill":
        return _fill(rest)
    if verb not in _VERBS:
        verbs = ["fill", *_VERBS]
        found = f", not {verb}; {perhaps(nearest(verb, verbs))}" if verb else "; "
        raise UserError(
            f"spanbert predict takes a verb first, {', '.join(verbs)}{found}"
            "spanbert predict answer --help shows an example"
        )
    default, about = _VERBS[verb]
    config = parse_flags(default, rest, prog=f"spanbert predict {verb}", about=about)
    state("--checkpoint", config.checkpoint, "name the folder of a fine-tuning run, its --workdir")
    from spanbert_jax.commands import ask

    ask.run(config)
    return 0


def _fill(arguments: list[str]) -> int:
    config = parse_flags(FillArguments(), arguments, prog="spanbert predict fill", about=FILL_HELP)
    state("--checkpoint", config.checkpoint, "name the folder of a run, its --workdir")
    from spanbert_jax.commands import predict

    predict.run(config)
    return 0
