"""Span-aware text encoders with JAX. Importing the package imports no jax, no tensorflow.

import spanbert_jax

model = spanbert_jax.load("runs/quickstart")
encoded = model.encode(["The capital of France is Paris.", "Two rivers meet there."])
encoded.hidden_states[encoded.mask]  # one row for every token

model = spanbert_jax.load("runs/squad2")  # fine-tuned
model.answer("Where was Ada born?", "Ada was born in London.")["answer"]
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spanbert_jax.inference.loading import load as load

__version__ = "0.1.0"
__all__ = ["load"]


def __getattr__(name: str) -> Any:
    if name != "load":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # Imported when it is asked for: whoever only wants the version or --help waits for no jax.
    from spanbert_jax.inference.loading import load

    return load
