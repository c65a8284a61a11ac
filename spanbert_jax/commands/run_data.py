"""What a run reads, from phase to phase. In: its config and a position. Out: batches on devices.

A phase ends at its step, whatever was read; the next one has rows of another shape, in an order of
their own, and goes on in it where an earlier phase of the same length left it.
"""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

from spanbert_jax.config import PretrainConfig, RunPhase
from spanbert_jax.corpus.progress import show_progress
from spanbert_jax.corpus.shards import SPLITS
from spanbert_jax.data.batch import PretrainBatch
from spanbert_jax.data.cutting import BlockRule
from spanbert_jax.data.pipeline import held_out_batches, pretrain_dataset
from spanbert_jax.data.token_shards import TokenShards, open_split
from spanbert_jax.training.checkpoint import DataPosition
from spanbert_jax.training.placement import BatchPlacement
from spanbert_jax.training.read_ahead import ReadAhead


class RunShards:
    """The shards of a run, both splits, cut into rows of every length that it has."""

    def __init__(self, config: PretrainConfig) -> None:
        """Open them and count their rows: later the run would wait for that, and say nothing.

        Raises:
            UserError: the folder holds no shards, or too few documents for any phase.
        """
        self._opened: dict[tuple[str, int], TokenShards] = {}
        data, mask_ratio = config.data, config.masking.mask_ratio
        lengths = sorted({phase.sequence_length for phase in config.phases})
        with show_progress() as progress:
            # The small split first: where it lacks documents, nothing is counted.
            for split in reversed(SPLITS):
                text = open_split(data.shards, split, blocks=data.blocks)
                for length in lengths:
                    rule = BlockRule(data.blocks, length, data.over_long_sentences, mask_ratio)
                    self._opened[split, length] = text.in_rows(rule, progress=progress)

    @property
    def summary(self) -> str:
        """What cutting the text that is trained on into rows made of it, a line for each length."""
        trained = [self._opened[key].summary for key in self._opened if key[0] == "train"]
        return "\n      ".join(map(str, trained))

    @property
    def fingerprint(self) -> str:
        """Of the text that is trained on."""
        return next(
            shards.pieces.fingerprint
            for (split, _), shards in self._opened.items()
            if split == "train"
        )

    def of(self, split: str, phase: RunPhase) -> TokenShards:
        """One split in rows of `phase`."""
        return self._opened[split, phase.sequence_length]


def phase_after(config: PretrainConfig, step: int) -> RunPhase:
    """The phase of the step after `step`; the last one where there is none."""
    return next((phase for phase in config.phases if step < phase.end_step), config.phases[-1])


def phase_of(config: PretrainConfig, step: int) -> RunPhase:
    """The phase of the step that leads to `step`; the first one before any."""
    return phase_after(config, max(step - 1, 0))


class RunData:
    """The batches of a run from a step on, and where in the data it stands."""

    def __init__(
        self,
        config: PretrainConfig,
        shards: RunShards,
        *,
        start_step: int,
        position: DataPosition,
        placement: BatchPlacement,
    ) -> None:
        self._config = config
        self._shards = shards
        self._start_step = start_step
        self._start_position = position
        self._placement = placement
        self._num_blocks: dict[int, int] = {}
        self._held_out: dict[RunPhase, Any] = {}

    def position(self, step: int) -> DataPosition:
        """Where the batch of the step after `step` begins, in the order of the rows before it."""
        position = self._start_position
        for phase in self._config.phases:
            first = max(self._start_step, phase.first_step)
            if first < min(step, phase.end_step):
                num_examples = (min(step, phase.end_step) - first) * phase.batch_size
                position = position.of_length(phase.sequence_length).after(num_examples)
        return position

    def epoch(self, step: int) -> float:
        """How often the text was read in rows of the length at hand, after a step of this start."""
        position = self.position(step)
        assert position.sequence_length is not None, "no step is taken yet"
        return position.next_example / self._num_blocks[position.sequence_length]

    def batches(self) -> Iterator[PretrainBatch]:
        """The batch of every step to the end of the run, on the devices."""
        for phase in self._config.phases:
            first = max(self._start_step, phase.first_step)
            if first < phase.end_step:
                yield from self._batches_of(phase, first_step=first)

    def _batches_of(self, phase: RunPhase, *, first_step: int) -> Iterator[PretrainBatch]:
        shards = self._shards.of("train", phase)
        self._num_blocks[phase.sequence_length] = shards.num_blocks
        position = self.position(first_step).of_length(phase.sequence_length)
        dataset = pretrain_dataset(
            shards,
            seed=self._config.training.seed,
            first_example=position.next_example,
            **self._rows(phase),
        )
        num_steps = phase.end_step - first_step
        batches = itertools.islice(dataset.as_numpy_iterator(), num_steps)
        return self._placement.on_devices(batches, batch_size=phase.batch_size)

    def held_out(self, step: int) -> ReadAhead[PretrainBatch]:
        """The held-out batches after a step: of the rows that led to it. To be closed."""
        phase = phase_of(self._config, step)
        if phase not in self._held_out:
            shards = self._shards.of("held_out", phase)
            num_batches = self._config.training.eval_batches
            # One at a time, and the same for every evaluation: its graph is built once.
            self._held_out = {
                phase: held_out_batches(shards, num_batches=num_batches, **self._rows(phase))
            }
        batches = self._held_out[phase].as_numpy_iterator()
        return ReadAhead(self._placement.on_devices(batches, batch_size=phase.batch_size))

    def _rows(self, phase: RunPhase) -> dict[str, Any]:
        return {
            "masking": self._config.masking,
            "batch_size": phase.batch_size,
            "max_boundary_offsets": self._config.model.max_boundary_offsets,
            "share": self._placement.share(phase.batch_size),
        }


def announced(
    batches: Iterator[PretrainBatch],
    config: PretrainConfig,
    *,
    start_step: int,
    say: Callable[[str], None],
) -> Iterator[PretrainBatch]:
    """The batches of the steps after `start_step`, each phase with a word where it begins."""
    begins = {phase.first_step: phase for phase in config.phases[1:]}

    def announce(step: int, batch: PretrainBatch) -> PretrainBatch:
        if (phase := begins.get(step)) is not None:
            say(
                f"step {step:,}: rows of {phase.sequence_length} tokens, {phase.batch_size} a "
                "batch; this step compiles"
            )
        return batch

    return map(announce, itertools.count(start_step), batches)
