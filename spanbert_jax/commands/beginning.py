"""Where a run of `spanbert pretrain` begins: at its newest checkpoint, at somebody's weights, or at
random. In: the config and the run's folder. Out: progress and the position in the data.
"""

import dataclasses
from collections.abc import Callable

from spanbert_jax.config import PretrainConfig
from spanbert_jax.errors import UserError
from spanbert_jax.training.assembly import Assembly
from spanbert_jax.training.checkpoint import Checkpoints, DataPosition
from spanbert_jax.training.loop import Progress
from spanbert_jax.training.objective import Params
from spanbert_jax.training.recovery import restore_newest
from spanbert_jax.training.run_folder import read_config
from spanbert_jax.training.saved_step import Agree, alone
from spanbert_jax.weights.loading import Pretrained
from spanbert_jax.weights.starting import read_start, with_start


def with_origin_of_run(config: PretrainConfig, *, taken: int | None) -> PretrainConfig:
    """The config with the `init_from` that its run began with, where it has taken a step.

    taken: step of the run's newest checkpoint, None for a new run.

    Raises:
        UserError: the config names other weights.
    """
    begun = None if taken is None else read_config(config.workdir)
    if begun is None:
        return config
    if config.init_from not in ("", begun.init_from):
        raise UserError(
            f"--init-from {config.init_from}: {config.workdir} goes on from its own checkpoint, "
            f"and began with {begun.init_from or 'random parameters'}; leave --init-from out, or "
            "start a new run in another --workdir"
        )
    return dataclasses.replace(config, init_from=begun.init_from)


class Beginning:
    """The weights a new run begins with, kept only until its state holds them."""

    def __init__(
        self, config: PretrainConfig, *, taken: int | None, tokenizer_fingerprint: str
    ) -> None:
        """Read the weights that the config names; none for a run that has `taken` a step.

        Raises:
            UserError: they do not fit the model or the shards.
        """
        self._origin = config.init_from
        self._weights: Pretrained | None = None
        if config.init_from and taken is None:
            self._weights = read_start(
                config.init_from, model=config.model, tokenizer_fingerprint=tokenizer_fingerprint
            )

    @property
    def weights(self) -> Params | None:
        """That a new run begins with; None where it begins at random, or goes on."""
        return None if self._weights is None else self._weights.params

    def state(
        self,
        pretraining: Assembly,
        checkpoints: Checkpoints,
        *,
        say: Callable[[str], None],
        agree: Agree = alone,
    ) -> tuple[Progress, DataPosition]:
        """Restore, or initialise and put the weights in their place.

        Raises:
            UserError: the run has checkpoints, and all of them are damaged.
        """
        found = restore_newest(checkpoints, pretraining.abstract_state, say=say, agree=agree)
        if found is not None:
            step, state, position = found
            say(f"going on from the checkpoint of step {step:,}")
            if checkpoints.is_of_other_text(step):
                say(
                    "the shards hold other text than those that the run went on with so far: their "
                    "order begins at its first example"
                )
                position = DataPosition(0)
            return Progress(step, state), position
        say(f"starting from {self._origin or 'random parameters'}; the first step compiles")
        state, weights, self._weights = pretraining.init(), self._weights, None
        if weights is not None:
            params, summary = with_start(state.params, weights)
            state = state.replace(params=params)
            say(summary)
        return Progress(0, state), DataPosition(0)
