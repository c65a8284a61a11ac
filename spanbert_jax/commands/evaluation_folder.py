"""The folder of an evaluation: which one, and what may be in it. In: what is asked. Out: files, all
of them or none.
"""

import dataclasses
import json
import os
import re
from collections.abc import Mapping
from typing import Any

from etils import epath

from spanbert_jax.config.addresses import is_address
from spanbert_jax.config.evaluate import EvaluateConfig
from spanbert_jax.config.tasks import TaskConfig
from spanbert_jax.corpus.files import as_path, write_texts
from spanbert_jax.errors import UserError
from spanbert_jax.weights.new_folder import check_new, new_folder

EVALUATIONS_FOLDER = "evaluations"
SUBMISSION_FOLDER = "submission"
SCORES_FILE = "scores.json"


def default_folder(run_dir: epath.Path, config: EvaluateConfig) -> epath.Path:
    """Where an evaluation goes that names no --out.

    --task.dev data/dev.json --step 70 -> evaluations/dev-step70
    --task.dev tfds:glue/rte@validation --tune -> evaluations/tfds_glue_rte_validation-tuned
    --task.dev NewsQA.jsonl.gz --task.half test -> evaluations/NewsQA-half_test
    """
    parts = [_stem(config.task.dev), *_part_of_dev(config.task)]
    parts += [_stem(config.predictions)] if config.predictions else []
    parts += [f"step{config.step}"] if config.step is not None else []
    parts += ["tuned"] if config.tune else []
    return run_dir / EVALUATIONS_FOLDER / "-".join(parts)


def _part_of_dev(task: TaskConfig) -> list[str]:
    """MrqaConfig(half="test") -> ["half_test"]; nothing of fields that are left as they are."""
    values = {
        field.name: getattr(task, field.name)
        for field in dataclasses.fields(task)
        if getattr(task, field.name) != field.default
    }
    return [f"{name}_{values[name]}" for name in task.part_of_dev if name in values]


def _stem(path: str) -> str:
    """_stem("a/dev.v2.json.gz") -> "dev.v2"; _stem("tfds:glue/rte@dev") -> "tfds_glue_rte_dev"."""
    if path.startswith("tfds:"):
        return re.sub(r"\W+", "_", path)
    name = path.rstrip("/").rpartition("/")[2]
    return re.sub(r"(\.(json|jsonl|tsv|csv|txt|conll|gz|bz2))+$", "", name) or "file"


def what_is_asked(config: EvaluateConfig) -> dict[str, Any]:
    """What the scores are a function of: two evaluations that differ in it are not the same."""
    task = {"name": config.task.name} | dataclasses.asdict(config.task)
    task["dev"] = _absolute(config.task.dev)
    del task["train"]
    asked = {
        "checkpoint": _absolute(config.checkpoint) if config.out else "the folder's run",
        "task": task,
        "predictions": _absolute(config.predictions) if config.predictions else "",
        "step": config.step,
        "tune": config.tune,
    }
    # As it is read back: lists where there were tuples.
    return json.loads(json.dumps(asked))


def _absolute(path: str) -> str:
    is_elsewhere = is_address(path) or path.startswith("tfds:")
    return path if is_elsewhere else os.path.abspath(os.fspath(as_path(path)))


def check_free(out: epath.Path, asked: Mapping[str, Any]) -> None:
    """Raise `UserError` where a folder holds something else than the same evaluation."""
    scores = out / SCORES_FILE
    if not scores.exists():
        return check_new(out)
    try:
        before = json.loads(scores.read_text())["asked"]
    except (ValueError, KeyError, TypeError):
        before = {}
    changes = _changes(before, asked)
    if changes:
        raise UserError(
            f"--out {out}: must be a new folder or hold the same evaluation, found one that "
            f"differs in {', '.join(changes)}; choose another --out, or remove the folder"
        )


def _changes(before: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """What differs, as it is typed: {"task": {"dev": "a"}}, {"task": {"dev": "b"}} -> task.dev."""
    if not before:
        return ["its form"]
    before, now = ({**each, **_dotted(each.get("task", {}))} for each in (before, asked))
    names = [name for name in now if name != "task"]
    return [
        f"--{name.replace('_', '-')} ({before.get(name)!r}, now {now[name]!r})"
        for name in names
        if before.get(name) != now[name]
    ]


def _dotted(task: Mapping[str, Any]) -> dict[str, Any]:
    return {f"task.{name}": value for name, value in task.items()}


def write_evaluation(out: epath.Path, files: Mapping[str, str]) -> None:
    """Fill a new folder, which appears whole; or write the same evaluation anew, file by file."""
    if (out / SCORES_FILE).exists():
        write_texts(out, files)
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    with new_folder(out) as filling:
        write_texts(filling, files)
