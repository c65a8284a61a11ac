"""Any model by its path, as whoever asks it wants it. In: a run, a grid, an exported or a Hugging
Face folder, a file of weights. Out: a model at hand.
"""

from typing import Literal

import jax
from etils import epath

from spanbert_jax.config import FinetuneConfig
from spanbert_jax.config.files import load_task_file
from spanbert_jax.config.tasks import TaskConfig, check_fixed
from spanbert_jax.corpus.files import as_path
from spanbert_jax.errors import UserError, require
from spanbert_jax.inference.fine_tuned_model import FineTunedModel
from spanbert_jax.inference.pretrained_model import PretrainedModel
from spanbert_jax.model.layer_stack import unstack_layers
from spanbert_jax.tasks.task import load_task
from spanbert_jax.training.run_folder import CHECKPOINT_FOLDER, best_of_grid, read_config
from spanbert_jax.weights.loaded_model import BATCH_TOKENS
from spanbert_jax.weights.loading import at_hand, read_pretrained, read_run

Dtype = Literal["float32", "bfloat16", "auto"]


def load(
    path: epath.PathLike,
    *,
    step: int | None = None,
    dtype: Dtype = "float32",
    task_file: epath.PathLike | None = None,
) -> FineTunedModel | PretrainedModel:
    """Load a model for downstream use.

    Args:
        path: a run's folder (its --workdir), of pretraining or of fine-tuning; the folder of a grid
            (its best run); a folder that `spanbert import` or `spanbert export` wrote, a Hugging
            Face folder, or a file of weights with its config and vocabulary beside it; local or
            gs://. Heads that it lacks, the model lacks too.
        step: of a run's checkpoint; by default the best on dev of fine-tuning, the newest of
            pretraining.
        dtype: of matrix products; auto is bfloat16 on TPU and GPU.
        task_file: the Python file that defines the task of the run, where it is one of your own.

    Raises:
        UserError: there is no model at `path`, or it does not fit its config or its vocabulary.
    """
    if task_file is not None:
        load_task_file(task_file)
    if is_fine_tuned(path):
        return load_fine_tuned(path, step=step, dtype=dtype)
    return load_pretrained(path, step=step, dtype=dtype)


def load_pretrained(
    path: epath.PathLike, *, step: int | None = None, dtype: Dtype = "float32"
) -> PretrainedModel:
    """Load a model that no task was taught; see `load`."""
    loaded = at_hand(read_pretrained(path, step=step), dtype=dtype)
    return PretrainedModel(loaded.config, loaded.params, loaded.tokenizer, loaded.dtype)


def is_fine_tuned(path: epath.PathLike) -> bool:
    """Whether a folder is that of a fine-tuning run, or of a grid of them."""
    folder = best_of_grid(as_path(path))
    # A Hugging Face folder has a config.json too, of another kind, but no checkpoints.
    return (folder / CHECKPOINT_FOLDER).is_dir() and isinstance(read_config(folder), FinetuneConfig)


def load_fine_tuned(
    path: epath.PathLike,
    *,
    step: int | None = None,
    dtype: Dtype | None = "float32",
    task: TaskConfig | None = None,
    batch_tokens: int = BATCH_TOKENS,
) -> FineTunedModel:
    """Load the model of a fine-tuning run; see `load`.

    dtype: None for that of the run. task: a config in place of the one it was trained with, equal
        in all that the model depends on.

    Raises:
        UserError: the run is none of fine-tuning, or the config does not fit its parameters.
    """
    saved = read_run(best_of_grid(as_path(path)), step=step)
    run, trained = saved.run, saved.run.config
    if not isinstance(trained, FinetuneConfig):
        raise UserError(
            f"{path}: must be a run of fine-tuning, found one of pretraining; teach it a task "
            "first: spanbert finetune CONFIG --init-from"
        )
    task = task or trained.task
    check_fixed(trained.task, task)
    positions = run.model.max_positions
    require(
        task.max_length <= positions, "--task.max-length", task.max_length,
        f"is longer than the {positions} positions of {path}", f"use at most {positions}",
    )  # fmt: skip
    return FineTunedModel(
        task=load_task(task),
        config=run.model,
        params=jax.device_put(unstack_layers(run.params)),
        tokenizer=saved.tokenizer,
        tables=run.tables,
        settings=run.settings,
        step=run.step,
        dtype=dtype or trained.compute.dtype,
        batch_tokens=batch_tokens,
    )
