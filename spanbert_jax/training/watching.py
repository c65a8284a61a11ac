"""Where the loop's figures go: the console for people, files for tools."""

from dataclasses import dataclass

from spanbert_jax.training.console import Console
from spanbert_jax.training.metrics import MetricsWriter


@dataclass(frozen=True)
class RunWatcher:
    """Shows every figure and writes it down."""

    console: Console
    writer: MetricsWriter

    def message(self, text: str) -> None:
        """What the loop has to say."""
        self.console.message(text)

    def train(self, step: int, metrics: dict[str, float]) -> None:
        """Means over the steps of a log window that ended with `step`."""
        self.console.train(step, metrics)
        self.writer.write(step, metrics)

    def evaluation(self, step: int, metrics: dict[str, float]) -> None:
        """Means over the held-out batches after `step` steps."""
        self.console.evaluation(step, metrics)
        self.writer.write(step, metrics)
