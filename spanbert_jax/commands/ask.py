"""`spanbert predict answer`, `classify`, `relation` and `tag`: a fine-tuned model asked about one
example, or about any number of JSON lines.
"""

import dataclasses
import json
import sys
from collections.abc import Iterator
from typing import Any

from spanbert_jax.commands.asked_lines import Asked, asked_lines, chunks
from spanbert_jax.config.files import load_task_file
from spanbert_jax.config.predict import AnswerConfig, AskConfig
from spanbert_jax.corpus.files import as_path
from spanbert_jax.errors import UserError, reworded


def run(config: AskConfig) -> None:
    """Ask and print the answers, of many examples as they are computed."""
    if config.task_file:
        load_task_file(config.task_file)
    config = _with_context(config)
    lines = None if config.is_given else _lines(config)
    model = _model(config)
    if lines is None:
        with reworded(lambda message: f"spanbert predict {config.verb}: {message}"):
            example = model.example(config.example())
        _show(model.described([example], top=config.top)[0], config)
        return
    for chunk in chunks(_located(lines, model), size=config.at_once):
        for described in model.described(chunk, top=config.top):
            print(as_line(described))
        sys.stdout.flush()


def _with_context(config: AskConfig) -> AskConfig:
    """The config with the context that its file holds.

    Raises:
        UserError: there is no such file, or it is no text.
    """
    if not isinstance(config, AnswerConfig) or not config.context_file:
        return config
    from spanbert_jax.tasks.text_files import read_text

    context = read_text(config.context_file)
    if not context.strip():
        raise UserError(
            f"--context-file {config.context_file}: must hold text, found none; name another file"
        )
    return dataclasses.replace(config, context=context, context_file="")


def _lines(config: AskConfig) -> Iterator[Asked]:
    """The examples to read; that there are any to read is checked before the model is loaded."""
    if config.file:
        if not as_path(config.file).exists():
            raise UserError(f"--file {config.file}: there is no such file; check the path")
    elif sys.stdin.isatty():
        raise UserError(
            f"there is nothing to {config.verb}; write it behind the flags, name JSON lines with "
            f"--file, or pipe them; spanbert predict {config.verb} --help shows examples"
        )
    return asked_lines(config.file)


def _model(config: AskConfig) -> Any:
    """The model, if it can be asked so.

    Raises:
        UserError: it has no head for the verb, and which it has.
    """
    # Imported here: what is missing above is said while JAX is still down.
    from spanbert_jax.inference.loading import is_fine_tuned, load, load_fine_tuned
    from spanbert_jax.inference.verbs import check_verb
    from spanbert_jax.tasks.task import load_task
    from spanbert_jax.training.compilation_cache import keep_compiled
    from spanbert_jax.training.run_folder import best_of_grid, read_config

    with reworded(lambda message: f"--checkpoint {config.checkpoint}: {message}"):
        if not is_fine_tuned(config.checkpoint):
            pretrained: Any = load(config.checkpoint, step=config.step)
            pretrained.refuse(config.verb)
        trained: Any = read_config(best_of_grid(as_path(config.checkpoint)))
        own = load_task(trained.task).verb
        check_verb(config.verb, own=own, found=f"one of the task {trained.task.name}")
    keep_compiled()
    return load_fine_tuned(
        config.checkpoint, step=config.step, dtype=config.dtype, batch_tokens=config.batch_tokens
    )


def _located(lines: Iterator[Asked], model: Any) -> Iterator[Any]:
    """Examples of the model's task; errors say which line they are of."""
    for where, fields in lines:
        with reworded(lambda message, place=where: f"{place}: {message}"):  # type: ignore[misc]
            yield model.example(fields)


def _show(described: dict[str, Any], config: AskConfig) -> None:
    """A JSON line where asked for; a table in a terminal; plain columns elsewhere."""
    if config.json:
        print(as_line(described))
        return
    from spanbert_jax.commands.answer_tables import print_answer

    print_answer(described)


def as_line(described: dict[str, Any]) -> str:
    """One line of JSON; numbers of numpy, which a task of one's own may predict, are numbers."""
    return json.dumps(described, ensure_ascii=False, default=lambda value: value.tolist())
