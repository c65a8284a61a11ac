"""Asking fine-tuned models, and any model by its path."""
