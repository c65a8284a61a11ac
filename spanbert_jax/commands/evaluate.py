"""`spanbert evaluate`: a fine-tuned model, or a file of predictions, scored on a file of its task.

predictions in official formats, submission/, scores.json
"""

import dataclasses
import json
from collections.abc import Callable
from typing import Any, NamedTuple

from etils import epath

from spanbert_jax.commands.evaluation_folder import (
    SCORES_FILE,
    SUBMISSION_FOLDER,
    check_free,
    default_folder,
    what_is_asked,
    write_evaluation,
)
from spanbert_jax.commands.task_files import check_file
from spanbert_jax.config.evaluate import EvaluateConfig
from spanbert_jax.corpus.files import as_path
from spanbert_jax.training.console import SEPARATOR, open_console
from spanbert_jax.training.run_folder import best_of_grid


class Evaluation(NamedTuple):
    """What came out."""

    num_examples: int
    scores: dict[str, float]
    """Empty where no answers are known."""
    settings: dict[str, Any]
    """What the predictions were made with."""
    files: dict[str, str]
    """Contents by name."""
    step: int | None = None
    """Of the checkpoint; None where no model was run."""


def run(config: EvaluateConfig) -> int:
    """Score, write predictions and scores, and say what came out."""
    for flag, path in config.task.files.items():
        if flag != "--task.train":
            check_file(flag, path)
    if config.predictions:
        check_file("--predictions", config.predictions)
    folder = best_of_grid(as_path(config.checkpoint))
    out = as_path(config.out) if config.out else default_folder(folder, config)
    asked = what_is_asked(config)
    check_free(out, asked)
    if not config.predictions and (out / SUBMISSION_FOLDER).exists():
        # Of another checkpoint, perhaps, than the scores that will lie beside it: written anew too.
        config = dataclasses.replace(config, submission=True)
    if config.submission:
        _check_submission(config)
    with open_console(0) as console:
        judge = _of_predictions if config.predictions else _of_model
        found = judge(config, folder, console.message)
    summary = {
        "asked": asked, "step": found.step, "num_examples": found.num_examples,
        "scores": found.scores, "settings": found.settings,
    }  # fmt: skip
    scores = json.dumps(summary, indent=2, ensure_ascii=False) + "\n"
    write_evaluation(out, {**found.files, SCORES_FILE: scores})
    print(json.dumps(summary, ensure_ascii=False) if config.json else _report(config, found, out))
    return 0


def _check_submission(config: EvaluateConfig) -> None:
    """Raise `UserError` where the benchmark has no server, before anything is predicted."""
    from spanbert_jax.tasks.task import Verdict, load_task

    load_task(config.task).submission_files([], Verdict([], {}, {}), tables={})


def _of_model(config: EvaluateConfig, folder: epath.Path, say: Callable[[str], None]) -> Evaluation:
    """Ask the model of a checkpoint."""
    # Imported here: the checks before this answer while JAX is still down.
    from spanbert_jax.commands.row_progress import RowProgress
    from spanbert_jax.inference.loading import load_fine_tuned
    from spanbert_jax.training.compilation_cache import keep_compiled

    keep_compiled(say=say)
    model = load_fine_tuned(
        folder, step=config.step, dtype=config.dtype, task=config.task,
        batch_tokens=config.batch_tokens,
    )  # fmt: skip
    split = model.read(config.task.dev, say=say)
    verdict = model.judge(split, tune=config.tune, watch=RowProgress(say).update)
    files = model.task.prediction_files(split.examples, verdict, tables=model.tables)
    if config.submission:
        submission = model.task.submission_files(split.examples, verdict, tables=model.tables)
        files |= {f"{SUBMISSION_FOLDER}/{name}": text for name, text in submission.items()}
    return Evaluation(len(split.examples), verdict.scores, verdict.settings, files, model.step)


def _of_predictions(
    config: EvaluateConfig, folder: epath.Path, say: Callable[[str], None]
) -> Evaluation:
    """Score what somebody predicted for the examples; no model is read."""
    from spanbert_jax.tasks.splits import read_examples
    from spanbert_jax.tasks.task import load_task
    from spanbert_jax.training.saved_run import load_tables

    task = load_task(config.task)
    examples = read_examples(config.task.dev, task, say=say)
    verdict = task.read_predictions(config.predictions, examples, tables=load_tables(folder))
    return Evaluation(len(examples), verdict.scores, verdict.settings, {})


def _report(config: EvaluateConfig, found: Evaluation, out: epath.Path) -> str:
    """-> "dev.json: exact 71.20 · f1 74.35 (11,873 examples)", and where the rest is."""
    scores = SEPARATOR.join(f"{name} {value:.2f}" for name, value in found.scores.items())
    examples = "1 example" if found.num_examples == 1 else f"{found.num_examples:,} examples"
    lines = [
        f"{config.task.dev}: {scores or 'no answers are known, predictions only'} ({examples})"
    ]
    if found.settings:
        of = "tuned on this file" if config.tune else "tuned on dev, of the checkpoint"
        if config.predictions:
            of = "best for this file"
        settings = ", ".join(f"{name} {value:.6g}" for name, value in found.settings.items())
        lines.append(f"with {settings} ({of})")
    names = sorted({name.split("/")[0] for name in found.files} | {SCORES_FILE})
    lines.append(f"written to {out}: {', '.join(names)}")
    return "\n".join(lines)
