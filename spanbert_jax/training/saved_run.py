"""A run as its folder holds it. In: the folder. Out: config, parameters, what a task learnt."""

import contextlib
import json
import math
from typing import Any, NamedTuple

import jax
import orbax.checkpoint as ocp
from etils import epath

from spanbert_jax.config import ModelConfig, PretrainConfig
from spanbert_jax.config.json import RunConfig, from_tree, model_from_tree
from spanbert_jax.errors import UserError
from spanbert_jax.training.checkpoint import STEP, checkpoint_folder, saved_params, saved_steps
from spanbert_jax.training.run_folder import CHECKPOINT_FOLDER, TOKENIZER_FOLDER


class LoadedRun(NamedTuple):
    """A model as a run left it."""

    config: RunConfig
    """That the checkpoint was made with."""
    params: Any
    step: int
    tokenizer_fingerprint: str
    model: ModelConfig
    tables: dict[str, Any] = {}
    """Of a fine-tuned model: what its task learnt from its training data."""
    settings: dict[str, Any] = {}
    """Of a fine-tuned model: what its evaluation tuned."""

    @property
    def pretrain_config(self) -> PretrainConfig:
        """The config of a run of pretraining.

        Raises:
            UserError: the run is one of fine-tuning, whose model has the head of its task alone.
        """
        if isinstance(self.config, PretrainConfig):
            return self.config
        raise UserError(
            f"{self.config.workdir}: must hold a pretrained model with its heads, found one that "
            f"was fine-tuned for the task {self.config.task.name}; name the run it began with, "
            f"{self.config.init_from}, or ask this one with spanbert evaluate and spanbert predict"
        )

    def check_tokenizer(self, fingerprint: str) -> None:
        """Raise `UserError` where the run's folder holds another tokenizer than it began with."""
        if fingerprint != self.tokenizer_fingerprint:
            raise UserError(
                f"{TOKENIZER_FOLDER}/ of the run must hold the tokenizer that its checkpoint of "
                f"step {self.step} was made with (fingerprint {self.tokenizer_fingerprint[:12]}), "
                f"found another one ({fingerprint[:12]}); copy that one back, such as from the "
                "shards of the run"
            )


def load_run(run_dir: epath.PathLike, *, step: int | None = None) -> LoadedRun:
    """Read config and parameters of a run's checkpoint.

    By default that is the newest of pretraining, and the best on dev of fine-tuning. The parameters
    are arrays on the default device. The tokenizer lies in `tokenizer/` of the run; whoever loads
    it hands its fingerprint to `check_tokenizer`.

    Raises:
        UserError: `run_dir` is no run that has saved a checkpoint, or not at `step`.
    """
    kept = _kept_steps(run_dir, step)
    origin = _read_json(
        checkpoint_folder(run_dir) / str(kept[-1] if step is None else step) / "origin"
    )
    is_pretraining = isinstance(config := from_tree(origin["config"]), PretrainConfig)
    if step is None:
        step = kept[-1] if is_pretraining else _best_step(run_dir, kept)
    path = checkpoint_folder(run_dir) / str(step)
    return LoadedRun(
        config,
        _restore_params(path / "state"),
        step,
        origin["tokenizer_fingerprint"],
        model=config.model
        if isinstance(config, PretrainConfig)
        else model_from_tree(origin["model"]),
        tables=origin.get("tables", {}),
        settings={} if is_pretraining else _read_json(path / "settings"),
    )


def _read_json(path: epath.Path) -> dict[str, Any]:
    with contextlib.closing(ocp.JsonCheckpointHandler()) as handler:
        return handler.restore(path)


def _kept_steps(run_dir: epath.PathLike, step: int | None) -> list[int]:
    """The steps whose checkpoints a run keeps, `step` among them."""
    kept = saved_steps(run_dir)
    if not kept:
        raise UserError(
            f"{run_dir}: a run must hold a complete checkpoint in {CHECKPOINT_FOLDER}/, found "
            "none; name the --workdir of a run that has saved one"
        )
    if step is not None and step not in kept:
        listed = ", ".join(map(str, kept))
        raise UserError(
            f"--step {step}: must be a checkpoint that {run_dir} keeps, found those of {listed}; "
            "use one of them, or leave it out for the newest, or the best of fine-tuning"
        )
    return kept


def _best_step(run_dir: epath.PathLike, kept: list[int]) -> int:
    """The step with the highest score on dev: the first of equal ones; the newest without any."""
    scores = {step: _score(checkpoint_folder(run_dir) / str(step)) for step in kept}
    measured = [step for step in kept if not math.isnan(scores[step])]
    return max(measured, key=lambda step: (scores[step], -step), default=kept[-1])


def _score(path: epath.Path) -> float:
    """The one figure that a checkpoint was saved with; NaN where it was not measured."""
    metrics = json.loads((path / "metrics" / "metrics").read_text())
    (value,) = (value for name, value in metrics.items() if name != STEP)
    return math.nan if value is None else value


def _restore_params(path: epath.Path) -> Any:
    """Read the parameters alone out of a saved train state, onto the default device."""
    # The handler itself: a Checkpointer warns that one item of a checkpoint has no metadata file.
    with contextlib.closing(ocp.PyTreeCheckpointHandler()) as handler:
        saved = saved_params(handler, path)
        device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
        params = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), saved)
        arguments = jax.tree.map(lambda _: ocp.ArrayRestoreArgs(sharding=device), params)
        restored = handler.restore(
            path,
            args=ocp.args.PyTreeRestore(
                {"params": params}, restore_args={"params": arguments}, partial_restore=True
            ),
        )
    return restored["params"]
