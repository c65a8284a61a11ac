"""A run on a slice, reckoned before it is paid for. In: a config, a topology, what the compiler
says. Out: memory, time, cost.
"""

import dataclasses
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from spanbert_jax.config import ModelConfig, PretrainConfig
from spanbert_jax.config.topologies import Topology
from spanbert_jax.model.flops import train_step_flops
from spanbert_jax.planning.chips import Chip, chip_of
from spanbert_jax.planning.figures import Answer, StepFigures, at_depth
from spanbert_jax.planning.jobs import Job

Compile = Callable[[Job], Answer]
"""Asks the compiler, or what it said before."""


@dataclass(frozen=True)
class Plan:
    """What a run on a slice would be, by the compiler's own estimate."""

    config: PretrainConfig
    topology: Topology
    answer: Answer
    depths: tuple[int, ...]
    """Layers of what was compiled: those of the model, or two depths it was reckoned from."""
    whole: bool = False
    """Whether all layers were to be compiled."""
    price_per_chip_hour: float = 0.0

    @property
    def chip(self) -> Chip:
        return chip_of(self.topology)

    @property
    def mesh(self) -> dict[str, int]:
        """Size of every axis."""
        return self.config.mesh.resolve(self.topology.num_chips)

    @property
    def rows_per_chip(self) -> float:
        """Rows of a microbatch that a chip computes at a time; less than 1 where several share."""
        parts = self.config.training.num_microbatches
        return self.config.data.batch_size / self.topology.num_chips / parts

    @property
    def figures(self) -> StepFigures:
        """Of a step that fits."""
        assert isinstance(self.answer, StepFigures)
        return self.answer

    @property
    def needed_bytes(self) -> float:
        """Of HBM, on each chip."""
        return self.answer.needed_bytes

    @property
    def fits(self) -> bool:
        is_answer = isinstance(self.answer, StepFigures)
        return is_answer and self.needed_bytes <= self.chip.hbm_bytes

    @property
    def model_flops(self) -> int:
        """Of a step, on all chips together; see `model.flops`."""
        data = self.config.data
        return train_step_flops(
            self.config.model, batch_size=data.batch_size, sequence_length=data.sequence_length,
            num_predictions=self.config.num_predictions,
        )  # fmt: skip

    @property
    def mfu(self) -> float:
        """Model FLOPs per second over the peak of all chips."""
        peak = self.chip.flops_per_second * self.topology.num_chips
        return self.model_flops / self.figures.seconds / peak

    @property
    def rows_per_second(self) -> float:
        """On all chips together."""
        return self.config.data.batch_size / self.figures.seconds

    @property
    def tokens_per_second(self) -> float:
        return self.rows_per_second * self.config.data.sequence_length

    @property
    def hours(self) -> float:
        """To the last step, were nothing lost to saves, evaluations and restarts."""
        return self.figures.seconds * self.config.training.num_steps / 3_600

    @property
    def chip_hours(self) -> float:
        return self.hours * self.topology.num_chips

    @property
    def cost(self) -> float:
        return self.chip_hours * self.price_per_chip_hour


def plan_step(
    config: PretrainConfig,
    topology: Topology,
    *,
    compile_: Compile,
    whole: bool = False,
    price_per_chip_hour: float = 0.0,
) -> Plan:
    """Plan one experiment as it is.

    whole: compile all layers, in place of two depths. Scanned layers are compiled once anyway.
    """
    depth = config.model.num_layers
    depths: tuple[int, ...] = (depth,)
    shallow = shallow_depths(config.model)
    if whole or config.compute.scan_layers or depth <= max(shallow):
        answer = compile_(Job(config, topology))
    else:
        depths = shallow
        answer = _reckoned(config, topology, compile_)
    return Plan(config, topology, answer, depths, whole, price_per_chip_hour)


def shallow_depths(model: ModelConfig) -> tuple[int, int]:
    """Layers that are compiled to reckon those of a deeper model: a line through them has as many
    of every kind as it has.

    (2, 4) of the published encoder; (4, 7) of a modern one of 22 layers of which every third sees
    the whole row: 2 such and 3, of 22 layers 8.
    """
    if model.encoder == "bert":
        return (2, 4)
    rest = model.num_layers % model.global_every
    return rest + model.global_every, rest + 2 * model.global_every


def _reckoned(config: PretrainConfig, topology: Topology, compile_: Compile) -> Answer:
    """From two depths, compiled side by side."""
    depths = shallow_depths(config.model)
    jobs = [Job(of_depth(config, depth), topology) for depth in depths]
    with ThreadPoolExecutor(len(jobs)) as compilers:
        low, high = compilers.map(compile_, jobs)
    return at_depth(low, high, depths=depths, depth=config.model.num_layers)


def of_depth(config: PretrainConfig, num_layers: int) -> PretrainConfig:
    model = dataclasses.replace(config.model, num_layers=num_layers)
    return dataclasses.replace(config, model=model)
