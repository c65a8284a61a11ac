"""Where the loop's figures go: the console for people, files for tools, and what reads them from
afar.
"""

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from spanbert_jax.config.json import RunConfig, to_tree
from spanbert_jax.training.activity import Activity
from spanbert_jax.training.console import Console
from spanbert_jax.training.goodput import Ledger, described, goodput
from spanbert_jax.training.host_times import named, slowest
from spanbert_jax.training.meter import Record
from spanbert_jax.training.metrics import MetricsWriter, open_metrics
from spanbert_jax.training.processes import is_first, texts_of_all
from spanbert_jax.training.weights_and_biases import WeightsAndBiases


@dataclass(frozen=True)
class RunWatcher:
    """Shows every figure and writes it down."""

    console: Console
    writer: MetricsWriter
    ledger: Ledger
    hosts: Sequence[str]
    """Of the processes, by their numbers."""

    def message(self, text: str) -> None:
        """What the loop has to say."""
        self.console.message(text)

    def train(self, record: Record) -> None:
        """Means over the steps of a log window."""
        total = self.ledger.update(record.step, named(record.processes, self.hosts))
        metrics = record.metrics | {"goodput": goodput(total)}
        self.console.train(record.step, metrics, slowest=slowest(metrics, self.hosts))
        self.writer.write(record.step, metrics)

    def evaluation(self, step: int, metrics: dict[str, float]) -> None:
        """Means over the held-out batches after `step` steps."""
        self.console.evaluation(step, metrics)
        self.writer.write(step, metrics)


@contextmanager
def watching(
    config: RunConfig, *, start_step: int, console: Console, activity: Activity
) -> Iterator[RunWatcher]:
    """Watch a run that starts or goes on at `start_step`; of several processes one writes."""
    project = config.metrics.wandb

    def wandb() -> WeightsAndBiases:
        return WeightsAndBiases(project, run_dir=config.workdir, config=to_tree(config))

    first, more = is_first(), (wandb,) if project else ()
    hosts = texts_of_all(socket.gethostname())
    with open_metrics(
        config.workdir, start_step=start_step, writes=first, say=console.message, more=more
    ) as writer:
        ledger = Ledger(config.workdir, activity, from_step=start_step, writes=first)
        # Now, since a start that dies before its first log window is one too.
        ledger.update(start_step)
        try:
            yield RunWatcher(console, writer, ledger, hosts)
        finally:
            # With what came after the last log window: an evaluation, a save.
            total = ledger.update(activity.step or start_step, is_last=True)
            if activity.step:
                console.message(described(total))
