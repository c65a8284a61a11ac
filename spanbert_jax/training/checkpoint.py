"""Checkpoints of a run, by Orbax: written in the background, the newest and the best kept.

In: a train state and the position in the data. Out: a folder of steps, restored onto any mesh.
Each holds the config it was made with and the fingerprint of its tokenizer: it tells by itself what
it is, whatever later starts of the run changed.
"""

import contextlib
import errno
import itertools
import math
import os
import shutil
from collections.abc import Collection
from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from etils import epath
from orbax.checkpoint import checkpoint_managers, multihost

from spanbert_jax.config import ModelConfig, PretrainConfig
from spanbert_jax.config.addresses import is_address
from spanbert_jax.config.json import RunConfig, from_tree, to_tree
from spanbert_jax.errors import UserError
from spanbert_jax.model.layer_stack import is_stacked, stack_layers, unstack_layers
from spanbert_jax.training.late_answers import ignore_late_answers, with_daemon_threads
from spanbert_jax.training.run_folder import CHECKPOINT_FOLDER
from spanbert_jax.training.save_barrier import SaveBarrier
from spanbert_jax.training.saved_step import (
    DATA,
    METRICS,
    Agree,
    SavedStep,
    alone,
    form_of,
    with_record,
)

# TensorStore holds a data file in memory until it is full: 2 GB of it by default.
_DATA_FILE_BYTES = 1 << 27
_RUNS = itertools.count()
"""Those that this process has begun to save: a grid has many."""
USUAL = "usual_grad_norm"
"""Of a state, where spikes are looked for: a run may begin to on its way, and cease to."""
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
        self.run_dir = run_dir
        self._origin = {
            "config": to_tree(config),
            "tokenizer_fingerprint": tokenizer_fingerprint,
            "text_fingerprint": text_fingerprint,
        }
        if task is not None:
            self._origin |= {"model": to_tree(task.model), "tables": task.tables}
        self._barrier = _barrier()
        self._options = ocp.CheckpointManagerOptions(
            # Only with it does Orbax write the metrics, by which a resumed run knows its best.
            best_fn=ranking.key,
            preservation_policy=checkpoint_managers.AnyPreservationPolicy(policies),
            # Both would make processes wait for each other wherever one of them is opened.
            create=False,
            save_root_metadata=False,
            async_options=ocp.AsyncOptions(barrier_sync_fn=self._barrier),
        )
        self._opened: ocp.CheckpointManager | None = None
        self._may_hold_unfinished = True
        ignore_late_answers()
        checkpoint_folder(run_dir).mkdir(parents=True, exist_ok=True)

    @property
    def _manager(self) -> ocp.CheckpointManager:
        """Opened when it is needed: it reads the scores of all steps, which may be damaged."""
        if self._opened is None:
            self._opened = ocp.CheckpointManager(
                checkpoint_folder(self.run_dir), options=self._options
            )
        return self._opened

    def latest_step(self) -> int | None:
        """Step of the newest complete checkpoint."""
        return newest_step(self.run_dir)

    def check_place(self, state: Any) -> None:
        """Raise `OSError` where the folder is gone, or its local disk has no room for `state`.

        To be asked of all processes before they save: one that finds it out in the middle of a save
        leaves the others waiting for it. Removes what a killed run, or a save that failed, left.
        """
        folder = checkpoint_folder(self.run_dir)
        folder.mkdir(parents=True, exist_ok=True)
        if self._may_hold_unfinished:
            # Threads of a save that failed may have written on after it was given up.
            self._open_again()
            self._delete_unfinished()
            self._may_hold_unfinished = False
        _ = self._manager
        if is_address(self.run_dir):
            return
        size = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
        free = shutil.disk_usage(folder).free
        # Compressed it takes nine tenths, and less where moments are zeros still.
        if free < size / 2:
            why = f"{os.strerror(errno.ENOSPC)}: {size / 1e9:.1f} GB to save, {free / 1e9:.1f} free"
            raise OSError(errno.ENOSPC, why)

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
        metrics = {self.ranking.metric: score, STEP: step}
        items = {"origin": self._origin} | ({} if settings is None else {"settings": settings})
        # Now: the next step takes the memory of the state over.
        data = with_record(position._asdict(), state=state, items={**items, METRICS: metrics})
        args = ocp.args.Composite(
            state=ocp.args.PyTreeSave(state, ocdbt_target_data_file_size=_DATA_FILE_BYTES),
            **{name: ocp.args.JsonSave(item) for name, item in {**items, DATA: data}.items()},
        )
        if self._barrier is not None:
            self._barrier.begin()
        with_daemon_threads(
            lambda: self._manager.save(step, args=args, metrics=metrics, force=True)
        )

    def best_score(self) -> float | None:
        """The best figure of the checkpoints at hand; None where none has one."""
        metrics = (self._manager.metrics(step) for step in self._manager.all_steps())
        measured = [each for each in metrics if each and math.isfinite(self.ranking.key(each))]
        best = min(measured, key=self.ranking.key, default=None)
        return None if best is None else best[self.ranking.metric]

    def restore(
        self, step: int, abstract_state: Any, *, agree: Agree = alone
    ) -> tuple[Any, DataPosition]:
        """Read a state onto the shardings of `abstract_state`, bit for bit as it was saved.

        A state saved with its layers in the other layout is read in that one and converted.

        Raises:
            DamagedCheckpoint: on all processes, where it is not what was saved.
            UserError: it is the state of another optimizer.
        """
        saved = self._saved(step)
        state, config = saved.read_by_all(lambda: self._read(saved, abstract_state), agree)
        saved.verify(state)
        usual = getattr(abstract_state, USUAL, None)
        if usual is not None and getattr(state, USUAL) is None:
            state = state.replace(**{USUAL: jax.device_put(jnp.zeros(()), usual.sharding)})
        saved_stacked = config.compute.scan_layers
        if is_stacked(abstract_state) != saved_stacked:
            shardings = jax.tree.map(lambda leaf: leaf.sharding, abstract_state)
            from_saved = unstack_layers if saved_stacked else stack_layers
            state = jax.jit(from_saved, out_shardings=shardings)(state)
        return state, _position(saved.data, config)

    def _read(self, saved: SavedStep, abstract_state: Any) -> tuple[Any, RunConfig]:
        saved.check_items()
        config = from_tree(saved.item("origin")["config"])
        wanted = (stack_layers if config.compute.scan_layers else unstack_layers)(abstract_state)
        form = saved.form()
        check_layout(saved.path, form)
        usual = getattr(wanted, USUAL, None)
        if form.pop(USUAL, None) is None and usual is not None:
            # It is looked for since this start, and begins anew.
            wanted = wanted.replace(**{USUAL: None})
        asked = {path: leaf for path, leaf in form_of(wanted).items() if path != USUAL}
        _check_form(self.run_dir, saved=form, wanted=asked)
        return saved.arrays(wanted), config

    def is_of_other_text(self, step: int) -> bool:
        """Whether a checkpoint counts examples of other shards than those at hand."""
        # Earlier versions did not write it.
        counted = self._saved(step).item("origin").get("text_fingerprint", "")
        return bool(counted) and counted != self._origin["text_fingerprint"]

    def _saved(self, step: int) -> SavedStep:
        return saved_step(self.run_dir, step)

    @property
    def is_saving(self) -> bool:
        """Whether a checkpoint is being written in the background."""
        return self._opened is not None and self._opened.is_saving_in_progress()

    def wait(self) -> None:
        """Return when everything is written; raise what kept it from being written."""
        if self._opened is not None:
            self._opened.wait_until_finished()

    def give_up_unfinished(self) -> None:
        """Forget a checkpoint that could not be written, and free what it takes on disk."""
        self._may_hold_unfinished = True
        self._open_again()
        # Where it cannot be removed now, it is before the next save.
        with contextlib.suppress(Exception):
            self._delete_unfinished()

    def _delete_unfinished(self) -> None:
        """Here and now: Orbax would do it in the background, and fail in the midst of a save."""
        if jax.process_index() == 0:
            for unfinished in ocp.path.step.all_temporary_paths(checkpoint_folder(self.run_dir)):
                unfinished.get().rmtree()

    def _open_again(self) -> None:
        """Forget what failed, read what is complete; where that fails, so does the next save."""
        manager, self._opened = self._opened, None
        if manager is not None:
            # It would raise once more what it has raised already.
            with contextlib.suppress(Exception):
                manager.close()
        with contextlib.suppress(Exception):
            self._manager.reload()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        if self._opened is None:
            return
        # Where there is an error already, it is the one to tell.
        with contextlib.suppress(Exception) if error else contextlib.nullcontext():
            self._opened.close()


def _barrier() -> SaveBarrier | None:
    """Of several processes; a single one waits for nobody."""
    if jax.process_count() == 1:
        return None
    return SaveBarrier(
        multihost.get_jax_distributed_client(), process=jax.process_index(),
        num_processes=jax.process_count(), run=next(_RUNS),
    )  # fmt: skip


def saved_steps(run_dir: epath.PathLike) -> list[int]:
    """Steps of the complete checkpoints of a run, ascending; makes no folder."""
    folder = checkpoint_folder(run_dir)
    names = ocp.path.step.standard_name_format()
    return sorted(each.step for each in names.find_all(folder)) if folder.exists() else []


def newest_step(run_dir: epath.PathLike) -> int | None:
    """Step of the newest complete checkpoint of a run, None where it has saved none."""
    return max(saved_steps(run_dir), default=None)


def saved_step(run_dir: epath.PathLike, step: int) -> SavedStep:
    """The checkpoint of a step of a run."""
    return SavedStep(checkpoint_folder(run_dir) / str(step))


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


def check_layout(path: epath.Path, form: Collection[str]) -> None:
    """Raise `UserError` for a state that lies as the first versions laid it.

    form: the paths of its arrays.
    """
    if any(name.startswith("params/encoder/layers/layer/") for name in form):
        raise UserError(
            f"{path}: a checkpoint must lay its layers out as this version does, found the "
            "layout of an earlier one; go on with the version that wrote it, or start a new run in "
            "another --workdir"
        )


def _check_form(run_dir: epath.PathLike, *, saved: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Raise `UserError` where a checkpoint is whole, but the state of another optimizer."""
    other = [path for path in saved | wanted if saved.get(path) != wanted.get(path)]
    if other:
        was, now = (
            "none" if leaf is None else f"{leaf[0]} of shape {leaf[1]}"
            for leaf in (saved.get(other[0]), wanted.get(other[0]))
        )
        raise UserError(
            f"{run_dir}: a run goes on with arrays as its checkpoint holds them, found "
            f"{other[0]} asked for as {now} and saved as {was}; put the flags of --optimizer back, "
            "or start a new run in another --workdir"
        )
