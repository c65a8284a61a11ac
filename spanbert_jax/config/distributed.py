"""The processes of a run: how they find each other, and how long they wait for one another."""

from dataclasses import dataclass

from spanbert_jax.errors import require, require_positive


@dataclass(frozen=True)
class DistributedConfig:
    """On Cloud TPU and under Slurm processes find each other; elsewhere each one is told."""

    coordinator: str = ""
    """HOST:PORT of the first process, for all of them the same. Not needed on Cloud TPU, under
    Slurm, and by a single process."""
    num_processes: int | None = None
    """Processes of the run, one for each host with accelerators."""
    process_id: int | None = None
    """Number of this one, from 0."""
    connect_seconds: int = 300
    """How long processes wait for each other at the start."""
    silence_seconds: int = 60
    """Without a sign of life for so long, a process counts as lost; all others name it, and end
    within 1.75 times as long."""
    standstill_seconds: int = 1_800
    """Without a step for so long, the process that the others wait for is named, and all stop.
    Before the first step, where data are opened and programs compiled, four times as long."""

    def __post_init__(self) -> None:
        told = (self.coordinator or None, self.num_processes, self.process_id)
        require(
            told.count(None) in (0, 3),
            "--distributed.coordinator --distributed.num-processes --distributed.process-id",
            " ".join(map(str, told)), "belong together: all of them, or none",
            "tell every process, such as --distributed.coordinator 10.0.0.1:1234 "
            "--distributed.num-processes 4 --distributed.process-id 0",
        )  # fmt: skip
        for name in ("connect_seconds", "silence_seconds", "standstill_seconds"):
            require_positive(f"--distributed.{name.replace('_', '-')}", getattr(self, name), "300")
        if not self.is_explicit:
            return
        host, _, port = self.coordinator.rpartition(":")
        require(
            bool(host) and port.isdecimal() and 0 < int(port) < 1 << 16,
            "--distributed.coordinator", self.coordinator,
            "must be a host and a port of it that is free", "use for instance 10.0.0.1:1234",
        )  # fmt: skip
        assert self.num_processes is not None and self.process_id is not None
        require_positive("--distributed.num-processes", self.num_processes, "4")
        require(
            0 <= self.process_id < self.num_processes,
            "--distributed.process-id", self.process_id,
            f"must be in [0, {self.num_processes}), by --distributed.num-processes",
            "give every process a number of its own, from 0",
        )  # fmt: skip

    @property
    def is_explicit(self) -> bool:
        """Whether this process is told where it belongs."""
        return bool(self.coordinator)
