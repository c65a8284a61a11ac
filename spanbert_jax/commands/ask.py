"""`spanbert predict answer`, `classify`, `relation` and `tag`: a fine-tuned model asked about one
example, or about any number of JSON lines.
"""

import dataclasses
import json
import sys
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from spanbert_jax.commands.asked_lines import Asked, asked_lines, chunks
from spanbert_jax.commands.remarks import Remarks
from spanbert_jax.config.files import load_task_file
from spanbert_jax.config.predict import AnswerConfig, AskConfig
from spanbert_jax.corpus.files import as_path
from spanbert_jax.errors import UserError, reworded


class Located(NamedTuple):
    """An example of the task."""

    where: str
    """The line that it is of."""
    example: Any


def run(config: AskConfig) -> None:
    """Ask and print the answers, of many examples as they are computed; what befell their rows is
    said at the end, on standard error.
    """
    if config.task_file:
        load_task_file(config.task_file)
    config = _with_context(config)
    lines = None if config.is_given else _lines(config)
    model, remarks = _model(config), Remarks()
    try:
        if lines is None:
            _show(_answer_one(config, model, remarks), config)
            return
        for chunk in chunks(_located(lines, model), size=config.at_once):
            _answer_chunk(chunk, config, model, remarks)
    finally:
        # Also of those that were answered before an error.
        if remarks.said:
            place = "the example" if lines is None else config.file or "standard input"
            print("\n  ".join((f"{place}: of its rows", *remarks.said)), file=sys.stderr)


def _answer_one(config: AskConfig, model: Any, remarks: Remarks) -> dict[str, Any]:
    """The answer to the example behind the flags."""
    with reworded(lambda message: f"spanbert predict {config.verb}: {message}"):
        example = model.example(config.example())
        return model.described([example], top=config.top, remark=remarks.add)[0]


def _answer_chunk(
    chunk: Sequence[Located], config: AskConfig, model: Any, remarks: Remarks
) -> None:
    """Print the answers of a chunk; of one that holds what cannot be answered, those before it.

    Raises:
        UserError: an example cannot be a row; says which line it is of.
    """
    from spanbert_jax.inference.fine_tuned_model import RefusedExample

    examples = [example for _, example in chunk]
    try:
        answers = model.described(examples, top=config.top, remark=remarks.add)
    except RefusedExample as error:
        _answer_chunk(chunk[: error.number], config, model, remarks)
        raise UserError(f"{chunk[error.number].where}: {error}") from error
    for described in answers:
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

    with reworded(lambda message: f"--context-file {message}"):
        context = read_text(config.context_file, holds="text")
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
    from spanbert_jax.inference.loading import is_fine_tuned, load_fine_tuned, load_pretrained
    from spanbert_jax.inference.verbs import check_verb
    from spanbert_jax.tasks.task import load_task
    from spanbert_jax.training.compilation_cache import keep_compiled
    from spanbert_jax.training.run_folder import best_of_grid, read_config

    with reworded(lambda message: f"--checkpoint {config.checkpoint}: {message}"):
        if not is_fine_tuned(config.checkpoint):
            load_pretrained(config.checkpoint, step=config.step).refuse(config.verb)
        trained: Any = read_config(best_of_grid(as_path(config.checkpoint)))
        own = load_task(trained.task).verb
        check_verb(config.verb, own=own, found=f"one of the task {trained.task.name}")
    keep_compiled()
    return load_fine_tuned(
        config.checkpoint, step=config.step, dtype=config.dtype, batch_tokens=config.batch_tokens
    )


def _located(lines: Iterator[Asked], model: Any) -> Iterator[Located]:
    """Examples of the model's task; errors say which line they are of."""
    for where, fields in lines:
        with reworded(lambda message, place=where: f"{place}: {message}"):  # type: ignore[misc]
            example = model.example(fields)
        yield Located(where, example)


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
