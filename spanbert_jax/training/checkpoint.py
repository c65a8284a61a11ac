"""Checkpoints of a run, by Orbax: written in the background, the newest and the best kept.

In: a train state and the position in the data. Out: a folder of steps, restored onto any mesh.
Each holds the config it was made with and the fingerprint of its tokenizer: it tells by itself what
it is, whatever later starts of the run changed.
"""

import contextlib
import math
from typing import Any, NamedTuple, Self

import jax
import orbax.checkpoint as ocp
from etils import epath
from orbax.checkpoint import checkpoint_managers

from spanbert_jax.config import ModelConfig, PretrainConfig
from spanbert_jax.config.json import RunConfig, from_tree, to_tree
from spanbert_jax.errors import UserError
from spanbert_jax.model.layer_stack import is_stacked, stack_layers, unstack_layers
from spanbert_jax.training.run_folder import CHECKPOINT_FOLDER

# TensorStore holds a data file in memory until it is full: 2 GB of it by default.
_DATA_FILE_BYTES = 1 << 27
STEP = "step"
"""In the metrics of a checkpoint beside its score: which of equal ones came first."""


class DataPosition(NamedTuple):
    """Where the next batch begins: numbers of examples, whatever batch size or hosts."""

    next_example: int
    """Of the order of the rows at hand."""
    sequence_length: int | None = None
    """Of those rows: rows of another length have another order. None before the first one."""
    other_lengths: tuple[tuple[int, int], ...] = ()
    """Of every other length that the run has had rows of: it, and the next example of its order."""

    def of_length(self, sequence_length: int) -> "DataPosition":
        """The position in the order of rows of `sequence_length`, where the run left it.

        DataPosition(80, 128).of_length(512) -> DataPosition(0, 512, ((128, 80),))
        DataPosition(8, 512, ((128, 80),)).of_length(128) -> DataPosition(80, 128, ((512, 8),))
        """
        examples = dict(self.other_lengths)
        if self.sequence_length is not None:
            examples[self.sequence_length] = self.next_example
        next_example = examples.pop(sequence_length, 0)
        return DataPosition(next_example, sequence_length, tuple(sorted(examples.items())))

    def after(self, num_examples: int) -> "DataPosition":
        return self._replace(next_example=self.next_example + num_examples)


class Ranking(NamedTuple):
    """By which figure of its evaluation a checkpoint is the best."""

    metric: str
    higher_is_better: bool

    def key(self, metrics: dict[str, float | None]) -> float:
        """Lower is better; infinite where it was not measured or is NaN, which has no order.

        Of Ranking("held_out_loss", False): {"held_out_loss": 2.5} -> 2.5,
        {"held_out_loss": None} -> inf, {"held_out_loss": nan} -> inf
        """
        value = metrics[self.metric]
        if value is None or math.isnan(value):
            return math.inf
        return -value if self.higher_is_better else value

    def is_better(self, score: float, best: float | None) -> bool:
        """Whether `score` is the best so far; `best` is None before any."""
        key = self.key({self.metric: score})
        return key < self.key({self.metric: best}) if best is not None else math.isfinite(key)


def _order(ranking: Ranking, metrics: dict[str, float | None]) -> tuple[float, float]:
    """Of what a checkpoint was saved with, the best lowest, of equal ones the first.

    Where nothing was measured all are equal, and the newest may stay.
    """
    key = ranking.key(metrics)
    # Earlier versions did not write the step.
    return key, (metrics.get(STEP) or 0) if math.isfinite(key) else 0


HELD_OUT_LOSS = Ranking("held_out_loss", higher_is_better=False)


class TaskOrigin(NamedTuple):
    """What the checkpoints of a fine-tuned model say of it beside its config."""

    model: ModelConfig
    """Of the weights that it began with."""
    tables: dict[str, Any]
    """What the task learnt from its training data: labels, markers."""


class Checkpoints:
    """The checkpoints of one run; a context manager that waits for the last one to be written."""

    def __init__(
        self,
        run_dir: epath.PathLike,
        config: RunConfig,
        *,
        tokenizer_fingerprint: str,
        text_fingerprint: str = "",
        task: TaskOrigin | None = None,
        ranking: Ranking = HELD_OUT_LOSS,
    ) -> None:
        """text_fingerprint: of what is trained on; "" where there is nothing. task: of a
        fine-tuning run."""
        keep = config.checkpoint
        self.ranking = ranking
        policies = [checkpoint_managers.LatestN(keep.keep_latest)]
        if keep.keep_best:
            policies.append(
                checkpoint_managers.BestN(
                    # Orbax keeps the end of the order: descending, so that the lowest is last.
                    get_metric_fn=lambda metrics: _order(ranking, metrics),
                    reverse=True,
                    n=keep.keep_best,
                    keep_checkpoints_without_metrics=False,
                )
            )
        if keep.keep_every_steps:
            policies.append(checkpoint_managers.EveryNSteps(keep.keep_every_steps))
        self._run_dir = run_dir
        self._origin = {
            "config": to_tree(config),
            "tokenizer_fingerprint": tokenizer_fingerprint,
            "text_fingerprint": text_fingerprint,
        }
        if task is not None:
            self._origin |= {"model": to_tree(task.model), "tables": task.tables}
        self._manager = ocp.CheckpointManager(
            checkpoint_folder(run_dir),
            options=ocp.CheckpointManagerOptions(
                # Only with it does Orbax write the metrics, by which a resumed run knows its best.
                best_fn=ranking.key,
                preservation_policy=checkpoint_managers.AnyPreservationPolicy(policies),
            ),
        )

    def latest_step(self) -> int | None:
        """Step of the newest complete checkpoint."""
        return newest_step(self._run_dir)

    def save(
        self,
        step: int,
        state: Any,
        *,
        position: DataPosition,
        score: float | None,
        settings: dict[str, Any] | None = None,
    ) -> None:
        """Copy the state from the devices and write it in the background.

        score: the figure of the ranking, None where it was not measured. settings: what an
            evaluation tuned for the use of this state, such as a threshold.
        """
        items = {
            "state": ocp.args.PyTreeSave(state, ocdbt_target_data_file_size=_DATA_FILE_BYTES),
            "data": ocp.args.JsonSave(position._asdict()),
            "origin": ocp.args.JsonSave(self._origin),
        }
        if settings is not None:
            items["settings"] = ocp.args.JsonSave(settings)
        self._manager.save(
            step,
            args=ocp.args.Composite(**items),
            metrics={self.ranking.metric: score, STEP: step},
            force=True,
        )

    def best_score(self) -> float | None:
        """The best figure of the checkpoints at hand; None where none has one."""
        metrics = (self._manager.metrics(step) for step in self._manager.all_steps())
        measured = [each for each in metrics if each and math.isfinite(self.ranking.key(each))]
        best = min(measured, key=self.ranking.key, default=None)
        return None if best is None else best[self.ranking.metric]

    def restore(self, step: int, abstract_state: Any) -> tuple[Any, DataPosition]:
        """Read a state onto the shardings of `abstract_state`, bit for bit as it was saved.

        A state saved with its layers in the other layout is read in that one and converted.
        """
        with contextlib.closing(ocp.PyTreeCheckpointHandler()) as handler:
            saved_params(handler, checkpoint_folder(self._run_dir) / str(step) / "state")
        config = self._config_of(step)
        saved_stacked = config.compute.scan_layers
        to_saved = stack_layers if saved_stacked else unstack_layers
        wanted = to_saved(abstract_state)
        restored = self._manager.restore(
            step,
            args=ocp.args.Composite(
                state=ocp.args.PyTreeRestore(
                    wanted, restore_args=ocp.checkpoint_utils.construct_restore_args(wanted)
                ),
                data=ocp.args.JsonRestore(),
            ),
        )
        state = restored.state
        if is_stacked(abstract_state) != saved_stacked:
            shardings = jax.tree.map(lambda leaf: leaf.sharding, abstract_state)
            from_saved = unstack_layers if saved_stacked else stack_layers
            state = jax.jit(from_saved, out_shardings=shardings)(state)
        return state, _position(restored.data, config)

    def is_of_other_text(self, step: int) -> bool:
        """Whether a checkpoint counts examples of other shards than those at hand."""
        # Earlier versions did not write it.
        counted = self._origin_of(step).get("text_fingerprint", "")
        return bool(counted) and counted != self._origin["text_fingerprint"]

    def _config_of(self, step: int) -> RunConfig:
        return from_tree(self._origin_of(step)["config"])

    def _origin_of(self, step: int) -> dict[str, Any]:
        origin = ocp.args.Composite(origin=ocp.args.JsonRestore())
        return self._manager.restore(step, args=origin).origin

    def wait(self) -> None:
        """Return when everything is written."""
        self._manager.wait_until_finished()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._manager.close()


def saved_steps(run_dir: epath.PathLike) -> list[int]:
    """Steps of the complete checkpoints of a run, ascending; makes no folder."""
    folder = checkpoint_folder(run_dir)
    names = ocp.path.step.standard_name_format()
    return sorted(each.step for each in names.find_all(folder)) if folder.exists() else []


def newest_step(run_dir: epath.PathLike) -> int | None:
    """Step of the newest complete checkpoint of a run, None where it has saved none."""
    return max(saved_steps(run_dir), default=None)


def delete_checkpoints(run_dir: epath.PathLike) -> None:
    """Free what the checkpoints of a run take; its config, metrics and scores stay."""
    folder = checkpoint_folder(run_dir)
    if folder.exists():
        folder.rmtree()


def checkpoint_folder(run_dir: epath.PathLike) -> epath.Path:
    """Where a run keeps its checkpoints, a folder for each step."""
    return epath.Path(run_dir).resolve() / CHECKPOINT_FOLDER


def _position(saved: dict[str, Any], config: RunConfig) -> DataPosition:
    """The position of a checkpoint; earlier versions wrote no length, and had that of the config.

    {"next_example": 80}, a config of 128 tokens -> DataPosition(80, 128)
    """
    length = saved.get("sequence_length")
    if length is None and isinstance(config, PretrainConfig):
        length = config.data.sequence_length
    others = tuple((length, example) for length, example in saved.get("other_lengths", ()))
    return DataPosition(saved["next_example"], length, others)


def saved_params(handler: ocp.PyTreeCheckpointHandler, path: epath.Path) -> Any:
    """What a saved state says of its parameters, without reading them.

    Raises:
        UserError: they lie as the first versions laid them, in `encoder/layers/layer`.
    """
    saved = handler.metadata(path).tree["params"]
    paths = (
        jax.tree_util.keystr(path, simple=True, separator="/")
        for path, _ in jax.tree_util.tree_leaves_with_path(saved)
    )
    if any(path.startswith("encoder/layers/layer/") for path in paths):
        raise UserError(
            f"{path.parent}: a checkpoint must lay its layers out as this version does, found the "
            "layout of an earlier one; go on with the version that wrote it, or start a new run in "
            "another --workdir"
        )
    return saved
