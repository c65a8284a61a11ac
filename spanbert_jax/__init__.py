"""Pretraining of span-aware text encoders with JAX. Importing it imports no jax, no tensorflow.

import spanbert_jax

model = spanbert_jax.load("runs/quickstart")
encoded = model.encode(["The capital of France is Paris.", "Two rivers meet there."])
encoded.hidden_states[encoded.mask]  # one row for every token
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spanbert_jax.weights.loading import load as load

__version__ = "0.1.0"
__all__ = ["load"]


def __getattr__(name: str) -> Any:
    if name != "load":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # Imported when it is asked for: whoever only wants the version or --help waits for no jax.
    from spanbert_jax.weights.loading import load

    return load
