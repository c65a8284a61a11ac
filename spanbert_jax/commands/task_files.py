"""The files of a task on the command line. In: paths as typed. Out: errors before time is spent."""

from spanbert_jax.config.tasks import TaskConfig
from spanbert_jax.corpus.files import as_path
from spanbert_jax.errors import UserError


def check_files(config: TaskConfig) -> None:
    """Raise `UserError` for a file that is not there, before weights are read."""
    for flag, path in config.files.items():
        check_file(flag, path)


def check_file(flag: str, path: str) -> None:
    """Raise `UserError` for a file that is not there; what TFDS or a pattern has comes later."""
    if not path:
        raise UserError(f"{flag} is missing; name a file of the form that the task reads")
    if path.startswith("tfds:") or any(each in path for each in "*?["):
        return
    if not as_path(path).exists():
        raise UserError(f"{flag} {path}: there is no such file; check the path")
