"""A run as its folder holds it. In: the folder. Out: config, parameters, what a task learnt."""

import math
from typing import Any, NamedTuple

import jax
from etils import epath

from spanbert_jax.config import ModelConfig, PretrainConfig
from spanbert_jax.config.json import RunConfig, from_tree, has_task, model_from_tree
from spanbert_jax.errors import UserError
from spanbert_jax.training.checkpoint import STEP, check_layout, saved_step, saved_steps
from spanbert_jax.training.run_folder import CHECKPOINT_FOLDER, TOKENIZER_FOLDER
from spanbert_jax.training.saved_step import METRICS, SavedStep


class LoadedRun(NamedTuple):
    """A model as a run left it."""

    config_tree: dict[str, Any]
    """That the checkpoint was made with, as JSON keeps it."""
    params: Any
    step: int
    tokenizer_fingerprint: str
    model: ModelConfig
    tables: dict[str, Any] = {}
    """Of a fine-tuned model: what its task learnt from its training data."""
    settings: dict[str, Any] = {}
    """Of a fine-tuned model: what its evaluation tuned."""

    @property
    def config(self) -> RunConfig:
        """That the checkpoint was made with.

        Raises:
            UserError: it is of a task that nobody has defined here. The model needs no task.
        """
        return from_tree(self.config_tree)

    @property
    def pretrain_config(self) -> PretrainConfig:
        """The config of a run of pretraining.

        Raises:
            UserError: the run is one of fine-tuning, whose model has the head of its task alone.
        """
        config = self.config
        if isinstance(config, PretrainConfig):
            return config
        raise UserError(
            f"{config.workdir}: must hold a pretrained model with its heads, found one that was "
            f"fine-tuned for the task {config.task.name}; name the run it began with, "
            f"{config.init_from}, or ask this one with spanbert evaluate and spanbert predict"
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
        DamagedCheckpoint: it is not what was saved. No other one is read in its place.
    """
    kept = _kept_steps(run_dir, step)
    if step is None:
        step = _step_to_use(run_dir, kept)
    saved = saved_step(run_dir, step)
    origin = saved.item("origin")
    is_of_task = has_task(origin["config"])
    return LoadedRun(
        origin["config"],
        _restore_params(saved),
        step,
        origin["tokenizer_fingerprint"],
        model=model_from_tree((origin if is_of_task else origin["config"])["model"]),
        tables=origin.get("tables", {}),
        settings=saved.item("settings") if is_of_task else {},
    )


def load_tables(run_dir: epath.PathLike) -> dict[str, Any]:
    """What the task of a run learnt from its training data, the same at every step; no parameters
    are read. {} where nothing was saved yet.
    """
    kept = saved_steps(run_dir)
    return saved_step(run_dir, kept[-1]).item("origin").get("tables", {}) if kept else {}


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


def _step_to_use(run_dir: epath.PathLike, kept: list[int]) -> int:
    """The newest of pretraining; of fine-tuning the one with the highest score on dev, of equal
    ones the first, and the newest without any.
    """
    newest = saved_step(run_dir, kept[-1])
    if not has_task(newest.item("origin")["config"]):
        return kept[-1]
    scores = {step: _score(saved_step(run_dir, step)) for step in kept}
    measured = [step for step in kept if not math.isnan(scores[step])]
    return max(measured, key=lambda step: (scores[step], -step), default=kept[-1])


def _score(saved: SavedStep) -> float:
    """The one figure that a checkpoint was saved with; NaN where it was not measured."""
    (value,) = (value for name, value in saved.item(METRICS).items() if name != STEP)
    return math.nan if value is None else value


def _restore_params(saved: SavedStep) -> Any:
    """Read the parameters alone out of a saved train state, onto the default device."""
    check_layout(saved.path, saved.form())
    device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    params = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=device),
        saved.tree()["params"],
    )
    restored = saved.arrays({"params": params})
    saved.verify(restored)
    return restored["params"]
