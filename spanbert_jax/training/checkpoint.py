"""Checkpoints of a run, by Orbax: written in the background, the newest and the best kept.

In: a train state and the position in the data. Out: a folder of steps, restored onto any mesh.
"""

import contextlib
import math
from typing import Any, NamedTuple, Self

import jax
import orbax.checkpoint as ocp
from etils import epath
from orbax.checkpoint import checkpoint_managers

from spanbert_jax.config import CheckpointConfig, PretrainConfig
from spanbert_jax.errors import UserError
from spanbert_jax.training.run_folder import CHECKPOINT_FOLDER, CONFIG_FILE, read_config


class DataPosition(NamedTuple):
    """Where the next batch begins: a number of examples, whatever batch size or hosts."""

    next_example: int


class Checkpoints:
    """The checkpoints of one run; a context manager that waits for the last one to be written."""

    def __init__(self, run_dir: epath.PathLike, config: CheckpointConfig) -> None:
        policies = [checkpoint_managers.LatestN(config.keep_latest)]
        if config.keep_best:
            policies.append(
                checkpoint_managers.BestN(
                    # Orbax keeps the end of the order: descending, so that the lowest is last.
                    get_metric_fn=_rank,
                    reverse=True,
                    n=config.keep_best,
                    keep_checkpoints_without_metrics=False,
                )
            )
        self._run_dir = run_dir
        self._manager = ocp.CheckpointManager(
            _folder(run_dir),
            options=ocp.CheckpointManagerOptions(
                # Only with it does Orbax write the metrics, by which a resumed run knows its best.
                best_fn=_rank,
                preservation_policy=checkpoint_managers.AnyPreservationPolicy(policies),
            ),
        )

    def latest_step(self) -> int | None:
        """Step of the newest complete checkpoint."""
        return newest_step(self._run_dir)

    def save(
        self, step: int, state: Any, *, position: DataPosition, held_out_loss: float | None
    ) -> None:
        """Copy the state from the devices and write it in the background."""
        self._manager.save(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(state),
                data=ocp.args.JsonSave(position._asdict()),
            ),
            metrics={"held_out_loss": held_out_loss},
            force=True,
        )

    def restore(self, step: int, abstract_state: Any) -> tuple[Any, DataPosition]:
        """Read a state onto the shardings of `abstract_state`, bit for bit as it was saved."""
        restored = self._manager.restore(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardRestore(abstract_state), data=ocp.args.JsonRestore()
            ),
        )
        return restored.state, DataPosition(**restored.data)

    def wait(self) -> None:
        """Return when everything is written."""
        self._manager.wait_until_finished()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._manager.close()


def saved_steps(run_dir: epath.PathLike) -> list[int]:
    """Steps of the complete checkpoints of a run, ascending; makes no folder."""
    folder = _folder(run_dir)
    names = ocp.path.step.standard_name_format()
    return sorted(each.step for each in names.find_all(folder)) if folder.exists() else []


def newest_step(run_dir: epath.PathLike) -> int | None:
    """Step of the newest complete checkpoint of a run, None where it has saved none."""
    return max(saved_steps(run_dir), default=None)


def _folder(run_dir: epath.PathLike) -> epath.Path:
    return epath.Path(run_dir).resolve() / CHECKPOINT_FOLDER


def _rank(metrics: dict[str, float | None]) -> float:
    """The held-out loss; infinite where it was not measured or is NaN, which has no order.

    {"held_out_loss": 2.5} -> 2.5; {"held_out_loss": None} -> inf; {"held_out_loss": nan} -> inf
    """
    loss = metrics["held_out_loss"]
    return math.inf if loss is None or math.isnan(loss) else loss


def restore_params(run_dir: epath.PathLike) -> tuple[Any, int]:
    """Read the newest parameters alone, as arrays on the default device, and their step.

    Raises:
        UserError: the folder holds no complete checkpoint.
    """
    newest = newest_step(run_dir)
    if newest is None:
        raise UserError(
            f"{run_dir}: a run must hold a complete checkpoint in {CHECKPOINT_FOLDER}/, found "
            "none; name the --workdir of a run that has saved one"
        )
    path = _folder(run_dir) / str(newest) / "state"
    # The handler itself: a Checkpointer warns that one item of a checkpoint has no metadata file.
    with contextlib.closing(ocp.PyTreeCheckpointHandler()) as handler:
        saved = handler.metadata(path).tree["params"]
        device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
        params = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), saved)
        arguments = jax.tree.map(lambda _: ocp.ArrayRestoreArgs(sharding=device), params)
        restored = handler.restore(
            path,
            args=ocp.args.PyTreeRestore(
                {"params": params}, restore_args={"params": arguments}, partial_restore=True
            ),
        )
    return restored["params"], newest


class LoadedRun(NamedTuple):
    """A pretrained model as a run left it."""

    config: PretrainConfig
    params: Any
    step: int


def load_run(run_dir: epath.PathLike) -> LoadedRun:
    """Read config and newest parameters of a run; its tokenizer lies in `tokenizer/`.

    Raises:
        UserError: `run_dir` is no run, or has saved no checkpoint yet.
    """
    config = read_config(run_dir)
    if config is None:
        raise UserError(
            f"{run_dir}: a run must hold {CONFIG_FILE}, found none; name the --workdir of a run"
        )
    params, step = restore_params(run_dir)
    return LoadedRun(config, params, step)
