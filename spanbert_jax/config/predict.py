"""What `spanbert predict` is asked."""

from dataclasses import dataclass

from spanbert_jax.errors import require_positive


@dataclass(frozen=True)
class FillConfig:
    """Fill in the [MASK] tokens of sentences with a pretrained model."""

    checkpoint: str = ""
    """Folder of a run (its --workdir; local or gs://)."""
    step: int | None = None
    """Step of the checkpoint to ask, such as the best one; none takes the newest."""
    texts: tuple[str, ...] = ()
    """Sentences with [MASK] tokens; none reads one a line from standard input."""
    top: int = 5
    """Candidates shown for each masked token and span."""
    json: bool = False
    """Print one JSON object a text in place of tables."""

    def __post_init__(self) -> None:
        require_positive("--top", self.top, "5")
