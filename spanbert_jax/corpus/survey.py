"""What must be known of the whole corpus before it is encoded: global figures."""

from collections import Counter
from collections.abc import Container
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Survey:
    """Figures of the whole corpus, and the documents that they leave out."""

    held_out_limit: int
    """Documents with a key below it are held out."""
    left_out: Container[int] = ()
    """Places of documents that are left out for what others hold."""
    counts: Counter[str] = field(default_factory=Counter)
    """How many these are, by reason."""
