"""Figures of a run on Weights & Biases, beside those on disk. In: step and numbers."""

import hashlib
import math
from collections.abc import Mapping
from typing import Any

from etils import epath

from spanbert_jax.errors import UserError


class WeightsAndBiases:
    """A sink of metrics. The same run's folder goes on with the same run there."""

    def __init__(self, project: str, *, run_dir: epath.PathLike, config: dict[str, Any]) -> None:
        """
        Raises:
            UserError: the package is not there.
        """
        check_installed(project)
        import wandb

        folder = epath.Path(run_dir).resolve()
        self._run = wandb.init(
            project=project, name=folder.name, config=config, resume="allow",
            id=hashlib.sha256(str(folder).encode()).hexdigest()[:16],
        )  # fmt: skip

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        self._run.log({name: x for name, x in metrics.items() if math.isfinite(x)}, step=step)

    def close(self) -> None:
        self._run.finish()


def check_installed(project: str) -> None:
    """Raise `UserError` where figures are to go to W&B and its package is missing."""
    import importlib.util

    if project and importlib.util.find_spec("wandb") is None:
        raise UserError(
            f"--metrics.wandb {project}: needs the package wandb, found none; run "
            "pip install 'spanbert_jax[wandb]', and wandb login"
        )
