"""The newest checkpoint that is what was saved. In: the checkpoints of a run. Out: a state; those
that are damaged are out of the way, in `damaged/` of the run's folder, and nothing is deleted.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
from etils import epath

from spanbert_jax.errors import UserError
from spanbert_jax.training.checkpoint import (
    Checkpoints,
    DataPosition,
    checkpoint_folder,
    saved_step,
    saved_steps,
)
from spanbert_jax.training.run_folder import CHECKPOINT_FOLDER, DAMAGED_FOLDER
from spanbert_jax.training.saved_step import Agree, DamagedCheckpoint, alone


class Recovered(NamedTuple):
    """Where a run goes on."""

    step: int
    state: Any
    position: DataPosition


def restore_newest(
    checkpoints: Checkpoints,
    abstract_state: Any,
    *,
    say: Callable[[str], None],
    agree: Agree = alone,
) -> Recovered | None:
    """Read the newest checkpoint that is not damaged; None where there is none at all.

    Damaged ones are said. They are moved once another one is read: before, the same command would
    find no checkpoint the next time, and begin anew.

    Raises:
        UserError: all of them are damaged.
    """
    damaged: dict[int, str] = {}
    run_dir, steps = checkpoints.run_dir, saved_steps(checkpoints.run_dir)
    for step in reversed(steps):
        found = _restore(checkpoints, step, abstract_state, agree)
        if isinstance(found, Recovered):
            damaged |= _damaged_items(run_dir, [each for each in steps if each < step], agree)
            for each, how in damaged.items():
                kept = _set_aside(run_dir, each)
                say(f"the checkpoint of step {each:,} is damaged ({how}); it is kept in {kept}")
            # Nobody lists the folder before all of them are out of it.
            agree(False)
            return found
        damaged[step] = found
    if damaged:
        raise _all_damaged(run_dir, damaged)
    return None


def _restore(
    checkpoints: Checkpoints, step: int, abstract_state: Any, agree: Agree
) -> Recovered | str:
    """What is there at a step, or how it is damaged: as text, since the error holds the arrays."""
    try:
        return Recovered(step, *checkpoints.restore(step, abstract_state, agree=agree))
    except DamagedCheckpoint as damage:
        return damage.found


def _damaged_items(run_dir: epath.PathLike, steps: list[int], agree: Agree) -> dict[int, str]:
    """Which of older checkpoints are damaged beside their arrays, such as in the score by which
    the best are kept. Their arrays are read when they are needed.
    """

    def damage(step: int) -> str:
        try:
            saved_step(run_dir, step).check_items()
        except DamagedCheckpoint as error:
            return error.found
        return ""

    with ThreadPoolExecutor() as threads:
        found = list(threads.map(damage, steps))
    # Of every process the same number of questions, whatever it found.
    agreed = [agree(bool(how)) for how in found]
    return {
        step: how or "another process cannot read it"
        for step, how, is_damaged in zip(steps, found, agreed, strict=True)
        if is_damaged
    }


def _set_aside(run_dir: epath.PathLike, step: int) -> epath.Path:
    """Move a checkpoint to where nobody looks for one; return where that is."""
    folder = epath.Path(run_dir) / DAMAGED_FOLDER
    number, place = 1, folder / str(step)
    while place.exists():
        # Of the same step, which the run has come to again since.
        number += 1
        place = folder / f"{step}_{number}"
    if jax.process_index() == 0:
        folder.mkdir(exist_ok=True)
        (checkpoint_folder(run_dir) / str(step)).rename(place)
    return place


def _all_damaged(run_dir: epath.PathLike, damaged: dict[int, str]) -> UserError:
    listed = "; ".join(f"step {step}: {how}" for step, how in damaged.items())
    return UserError(
        f"--workdir {run_dir}: a run goes on from a checkpoint as it was saved, found all of them "
        f"damaged ({listed}); copy one back to {CHECKPOINT_FOLDER}/ from elsewhere, or start a new "
        "run in another --workdir"
    )
