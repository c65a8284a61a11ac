"""The files of a task on the command line. In: paths as typed. Out: errors before time is spent."""

from spanbert_jax.config.tasks import TaskConfig
from spanbert_jax.corpus.files import as_path
from spanbert_jax.errors import UserError


def check_files(config: TaskConfig) -> None:
    """Raise `UserError` for a file that is not there, before weights are read."""
    for flag, path in (("--task.train", config.train), ("--task.dev", config.dev)):
        check_file(flag, path)


def check_file(flag: str, path: str) -> None:
    """Raise `UserError` for a file that is not there; what TFDS has is looked for later."""
    if not path:
        raise UserError(f"{flag} is missing; name a file of the form that the task reads")
    if not path.startswith("tfds:") and not as_path(path).exists():
        raise UserError(f"{flag} {path}: there is no such file; check the path")
