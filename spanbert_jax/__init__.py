"""Pretraining of span-aware text encoders with JAX. Importing it imports no jax, no tensorflow."""

__version__ = "0.1.0"
